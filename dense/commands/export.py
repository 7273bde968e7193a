"""Export a model as a bundle: a folder with the network as ONNX and all that is needed to run it; then verify it.

    dense export isnet@cutouts -o bundles/cutouts
    dense export isnet -w isnet-general-use.pth -o bundles/general
    dense export isnet_cutouts -w work_dirs/isnet_cutouts/best.safetensors --dynamic none

Sizes and the batch may vary unless --dynamic says otherwise. Exit code 1 if a backend's output differs from
PyTorch's by more than the tolerance; the bundle is kept then, and its verify.html shows where.
"""
from argparse import ArgumentParser, Namespace

HELP = "export a model as a bundle (ONNX and its task)"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("model", help="name (isnet, isnet@cutouts), config file, or name of a shipped config")
    parser.add_argument("-w", "--weights", metavar="FILE", help=".safetensors, .pth or .onnx")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder of the bundle (default bundles/NAME)")
    parser.add_argument("--name", help="of the bundle (default: model and weights)")
    parser.add_argument("--size", type=int, nargs="+", metavar="N",
                        help="usual height and width; of volumes depth, height and width (default: the task's)")
    parser.add_argument("--batch", type=int, nargs=3, default=(1, 1, 64), metavar=("MIN", "USUAL", "MAX"),
                        help="(default 1 1 64)")
    parser.add_argument("--dynamic", nargs="+", metavar="AXIS", help="batch, height, width, or none: what may vary "
                        "(default: all that the network allows)")
    parser.add_argument("--opset", type=int, default=18, help="of ONNX (default %(default)s)")
    parser.add_argument("--untrained", action="store_true", help="export initial weights, to measure speed")
    parser.add_argument("--force", action="store_true", help="replace a bundle that is there")
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="do not run it afterwards")
    parser.add_argument("--limit", type=int, default=4, metavar="N",
                        help="pictures of the bundled data to verify with (default %(default)s)")


def run(args: Namespace) -> int:
    import os
    from pathlib import Path

    from dense.deployment.export import ExportSettings, export, say_to_terminal
    from dense.deployment.source import Source
    from dense.errors import ConfigError

    if args.limit < 1:
        raise ConfigError(f"--limit {args.limit}: must be at least 1; --no-verify leaves verification out")
    if args.dynamic and "none" in args.dynamic and len(args.dynamic) > 1:
        raise ConfigError("--dynamic none fixes all sizes; leave out the others")
    if args.name and Path(args.name).name != args.name:
        raise ConfigError(f"--name {args.name}: is a name, not a path. Remedy: -o FOLDER says where the bundle goes")
    source = Source(args.model, args.weights, args.untrained)
    dynamic = None if args.dynamic is None else tuple(d for d in args.dynamic if d != "none")
    settings = ExportSettings(args.size and tuple(args.size), tuple(args.batch), dynamic, args.opset)
    name = args.name or source.default_name
    folder = Path(os.path.realpath(args.output)) if args.output else Path("bundles") / name
    bundle = export(source, folder, settings, name, args.force, say_to_terminal)
    print(f"bundle {bundle.folder}: {bundle.name}, {bundle.precision}, opset {bundle.opset}")
    if not args.verify:
        return 0
    from dense.commands.verify import verify_and_print

    return verify_and_print(bundle.folder, limit=args.limit, weights=args.weights)
