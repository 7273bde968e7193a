"""Test weights: metrics per picture and of the data set, worst cases as pictures.

    dense test isnet_cutouts work_dirs/isnet_cutouts/best.safetensors
    dense test isnet_dis5k isnet.pth --data-root /data/DIS5K --splits DIS-VD DIS-TE1 DIS-TE2 DIS-TE3 DIS-TE4
"""
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

HELP = "test weights on a data set"


def add_arguments(parser: ArgumentParser) -> None:
    from dense.commands.train import add_shared

    parser.add_argument("config", help="config file, or the name of a shipped one")
    parser.add_argument("checkpoint", help="weights: .safetensors, .pth or .onnx")
    add_shared(parser)
    parser.add_argument("--splits", nargs="+", default=[], help="splits of the data set, a row each")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="all, fast, dis (the DIS paper's), or names with "
                        "spaces or commas; default: the config's")
    parser.add_argument("--masks", action="store_true", help="write every predicted alpha as PNG (--report does too)")
    parser.add_argument("--report", action=BooleanOptionalAction, default=True, help="also leave what dense eval does: "
                        "LaTeX, curves, figures of each picture, corrections drawn on the worst ones")
    parser.add_argument("--baselines", nargs="+", default=[], choices=["untrained", "grabcut", "majority", "intensity"],
                        help="rows to compare with, on the same splits")


def run(args: Namespace) -> int:
    from mmengine.dist import is_main_process

    from dense.commands.train import settings_of
    from dense.compat.distributed import end_processes
    from dense.engine.test import print_table, test

    settings = settings_of(args)
    if settings.work_dir is None:
        settings.work_dir = str(Path("work_dirs") / f"{Path(args.config).stem}-test")
    metrics = ",".join(args.metrics) if args.metrics else None
    rows = test(args.config, args.checkpoint, settings, args.splits, args.baselines, args.masks, metrics, args.report)
    if is_main_process():
        print_table(rows)
        splits = list(dict.fromkeys(args.splits))
        inner = f"{{{','.join(splits)}}}" if len(splits) > 1 else "".join(splits)
        each = f"{settings.work_dir}/{inner}" if inner else settings.work_dir
        print(f"\nfigures {settings.work_dir}/test.json and .md, per picture {each}/test.csv, "
              f"worst cases {each}/pictures/test_worst.png")
        folders = [Path(settings.work_dir, split) for split in splits or ("",)]
        if args.report and all((folder / "report").is_dir() for folder in folders):
            print(f"report {each}/report: summary.md, .tex, .json, curves and corrections; masks {each}/masks")
        elif all((folder / "masks").is_dir() for folder in folders):
            print(f"masks {each}/masks")
    end_processes()
    return 0
