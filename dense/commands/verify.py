"""Verify a bundle: its files, then its output on every backend against PyTorch's, in tensors and in the task's metric.

    dense verify bundles/cutouts
    dense verify bundles/general --backend onnxruntime --data /data/DIS5K --limit 100 -w isnet-general-use.pth

Writes verify.json and verify.html into the bundle's folder. Exit code 1 beyond the bundle's tolerance; the first
diverging layer is named then. Pictures that cannot be read are listed, the others compared, and the exit code is 1 too.
"""
from argparse import ArgumentParser, Namespace

HELP = "check a bundle on every backend"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("bundle", help="folder that dense export wrote")
    parser.add_argument("--backend", nargs="+", default=["all"], metavar="NAME",
                        help="openvino, onnxruntime; all that are installed by default")
    parser.add_argument("--data", metavar="DIR", help="DIS5K, a folder of pictures and masks or label pictures, "
                        "nnU-Net's data sets (default: the bundled ones, where they are and fit)")
    parser.add_argument("--limit", type=int, default=12, metavar="N",
                        help="pictures or volumes at most (default %(default)s)")
    parser.add_argument("-w", "--weights", metavar="FILE",
                        help="the weights that were exported, where they are not found where they were")
    parser.add_argument("--golden-only", dest="use_data", action="store_false", help="leave the pictures out")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for the report (default: the bundle's)")


def run(args: Namespace) -> int:
    return verify_and_print(args.bundle, args.backend, args.data, args.limit, args.weights, args.use_data, args.output)


def verify_and_print(bundle, backends=("all",), data=None, limit=12, weights=None, use_data=True, output=None) -> int:
    """Verify, write the report, print it; 1 beyond tolerance, and where pictures could not be read."""
    import sys

    from dense.deployment.report import to_lines, write_report
    from dense.deployment.verify import verify
    from dense.errors import ConfigError

    if data is not None and not use_data:
        raise ConfigError("--golden-only leaves the pictures out, --data names some; leave one out")
    if "all" in backends and len(backends) > 1:
        raise ConfigError("--backend all is every one; leave out the others")
    if limit < 1:
        raise ConfigError(f"--limit {limit}: must be at least 1; --golden-only leaves the pictures out")
    report = verify(bundle, backends, data, limit, weights, use_data,
                    say=lambda text: print(text, file=sys.stderr, flush=True))
    paths = write_report(report, output or report.bundle.folder)
    print("\n".join(to_lines(report)))
    print(f"{'equal within the tolerance' if report.passed else 'BEYOND THE TOLERANCE'}; report {paths[1]}, {paths[0]}")
    return 0 if report.passed and not report.unread else 1
