"""Train a config. Trains its prerequisite first, resumes, tests the best weights and says where all is.

    dense train configs/isnet_cutouts.py
    dense train isnet_dis5k --data-root /data/DIS5K --amp
    dense train isnet_dis5k --weights isnet.pth --learning-rate 1e-4   fine-tune published weights
    dense train isnet_dis5k --overfit 1 --max-iters 200                are the data sound?
"""
from argparse import ArgumentParser, Namespace

HELP = "train a config"


def add_shared(parser: ArgumentParser) -> None:
    """Arguments that train and test share."""
    parser.add_argument("--work-dir", help="where everything is written (default work_dirs/CONFIG)")
    parser.add_argument("--data-root", help="folder of the data set")
    parser.add_argument("--size", type=int, help="side of the square that the network is fed")
    parser.add_argument("--workers", type=int, help="processes that load data; 0 loads in the main process")
    parser.add_argument("--seed", type=int, help="of weights, order and augmentation")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", dest="options",
                        help="change any setting, for example model.feature_loss=kl")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", help="config file, or the name of a shipped one")
    add_shared(parser)
    run = parser.add_mutually_exclusive_group()
    run.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    run.add_argument("--fresh", action="store_true", help="move an earlier run aside and begin anew")
    parser.add_argument("--weights", help="begin from these weights (fine-tuning)")
    parser.add_argument("--overfit", type=int, metavar="N", help="train and validate on the first N pictures")
    parser.add_argument("--batch-size", type=int, help="pictures a batch and process")
    parser.add_argument("--max-iters", type=int, help="iterations at most")
    parser.add_argument("--minutes", type=float, help="train this long at most, the prerequisite not counted")
    parser.add_argument("--val-interval", type=int, help="iterations between validations and checkpoints")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--amp", nargs="?", const=True, choices=[True, "bf16", "fp16"],
                        help="mixed precision: bf16 on CPU, bf16 or fp16 on CUDA")
    parser.add_argument("--ema", type=float, metavar="MOMENTUM", help="average the weights, for example 0.001")
    parser.add_argument("--accumulate", type=int, metavar="N", help="add the gradients of N batches")
    parser.add_argument("--patience", type=int, help="validations without improvement before stopping")
    parser.add_argument("--gt-encoder", metavar="FILE", help="weights of a trained ground-truth encoder")
    parser.add_argument("--no-feature-supervision", dest="feature_supervision", action="store_false", default=None,
                        help="train without the ground-truth encoder")


def settings_of(args: Namespace):
    """``Settings`` from the arguments that it knows."""
    from dataclasses import fields

    from dense.engine.settings import Settings

    return Settings(**{f.name: getattr(args, f.name) for f in fields(Settings) if hasattr(args, f.name)})


def run(args: Namespace) -> int:
    from dense.compat.distributed import end_processes
    from dense.engine.train import train_and_report

    train_and_report(args.config, settings_of(args), args.resume, args.fresh)
    end_processes()
    return 0
