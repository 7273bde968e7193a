"""Measure folders of predicted masks: per image, per data set, methods side by side.

    dense eval predictions/ DIS5K/DIS-VD/gt
    dense eval isnet/ u2net/ birefnet/ DIS5K --split DIS-VD --metrics dis
    dense eval runs/a/masks runs/b/masks gt/ --names old new -o comparison/

A prediction goes with the ground truth of the same name; the suffix may differ. Run it again to go on after an
interruption: what was computed is kept, and is recognised by the content of the files.
"""
from argparse import ArgumentParser, ArgumentTypeError, Namespace

HELP = "measure folders of predicted masks"
SHOWN = 5


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", metavar="PRED_DIR ... GT_DIR",
                        help="folders of predictions, and last the one of the ground truths, or of a data set")
    parser.add_argument("--metrics", nargs="+", default=["all"], metavar="NAME",
                        help="all, fast (maxF meanF adpF MAE IoU), dis (maxF wF MAE S meanE HCE), or of maxF, "
                        "maxF_image, meanF, adpF, wF, MAE, S, maxE, meanE, adpE, HCE, IoU, BIoU, with spaces or "
                        "commas; default all")
    parser.add_argument("-o", "--output", default="work_dirs/evaluation", metavar="DIR", help="default %(default)s")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the methods; default: of their folders")
    parser.add_argument("--split", help="of a data set with splits, for example DIS-VD")
    parser.add_argument("--normalize", action="store_true",
                        help="stretch every prediction to its own minimum and maximum, as PySODMetrics does")
    parser.add_argument("--resize", action="store_true",
                        help="scale predictions of another size than their ground truth (otherwise: problems)")
    parser.add_argument("--worst", type=_count, default=6, metavar="N", help="images on a sheet; 0: no sheets")
    parser.add_argument("--worst-by", nargs="+", metavar="NAME", help="measures to choose them by; default HCE and MAE")
    parser.add_argument("--jobs", type=_positive, metavar="N", help="processes; default: the cores")
    parser.add_argument("--cache", metavar="DIR", help="where skeletons are kept: a folder, 'beside' the ground "
                        "truths, or 'none'; default: the cache folder of dense")


def run(args: Namespace) -> int:
    import sys
    from pathlib import Path

    from dense.errors import ConfigError
    from dense.evaluation.folder import evaluate_folders
    from dense.evaluation.measures import resolve
    from dense.evaluation.report import write_report
    from dense.evaluation.tables import foot, markdown
    from dense.io import check_folder

    *folders, truths = args.folders
    if not folders:
        raise ConfigError(f"{truths}: one folder only; give those of the predictions, then that of the ground truths")
    names, output = resolve(",".join(args.metrics)), Path(args.output)
    worst_by = resolve(",".join(args.worst_by)) if args.worst_by else None
    if worst_by and (others := set(worst_by) - set(names)):
        raise ConfigError(f"--worst-by {', '.join(sorted(others))}: not among the metrics {', '.join(names)}; add it")
    check_folder(output)
    evaluation = evaluate_folders(
        folders, truths, names, labels=args.names, split=args.split, stretched=args.normalize, resize=args.resize,
        jobs=args.jobs, skeletons=args.cache, journal=output / "journal.jsonl")
    write_report(evaluation, output, args.worst, worst_by)
    whole, left_out = markdown(evaluation), foot(evaluation)
    print(whole[:len(whole) - len(left_out)].rstrip())
    if left_out:
        print("\n" + foot(evaluation, SHOWN).rstrip())
    if evaluation.reused:
        print(f"\n{evaluation.reused} of {evaluation.total} results are those of an earlier run", file=sys.stderr)
    keys = [result.method.key for result in evaluation.results]
    each = f"{{{','.join(keys)}}}" if len(keys) > 1 else keys[0]
    print(f"\ntables {output}/summary.md, .tex, .json, per image {output}/{each}/per_image.csv, .json, "
          f"curves and worst cases as .png beside them")
    return 0 if evaluation.complete else 1


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise ArgumentTypeError(f"{text!r} is no number of images")
    return value


def _positive(text: str) -> int:
    if (value := _count(text)) < 1:
        raise ArgumentTypeError("at least 1")
    return value
