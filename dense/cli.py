"""The ``dense`` command. Verbs register themselves by living in ``dense.commands``; nothing heavy is imported
before one is chosen."""
from __future__ import annotations

import argparse
import difflib
import importlib
import os
import pkgutil
import sys
import time
import traceback
from collections.abc import Sequence

from dense import __version__, commands
from dense.errors import DenseError

# packages that verbs import on use, and what brings them
EXTRAS = {"torch": "dense", "mmengine": "dense", "safetensors": "dense", "mmcv": "dense[seg]", "mmseg": "dense[seg]",
          "mmdet": "dense[det]", "onnx": "dense[deploy]", "onnxruntime": "dense[deploy]", "openvino": "dense[deploy]",
          "onnxscript": "dense[deploy]", "av": "dense[video]", "nibabel": "dense[medical]", "skimage": "dense[medical]",
          "SimpleITK": "dense[dicom]", "gradio": "dense[demo]"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; 0 on success, 1 on a problem of the user's files or settings, 2 on wrong usage, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        "dense", description="Dense prediction and image editing that ends in something deployable.")
    parser.add_argument("--version", action="version", version=f"dense {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for info in sorted(pkgutil.iter_modules(commands.__path__), key=lambda i: i.name):
        if info.name.startswith("_"):  # shared by verbs
            continue
        module = importlib.import_module(f"dense.commands.{info.name}")
        verb = verbs.add_parser(info.name, help=module.HELP, description=module.__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse(verbs.choices[args.verb], unknown)
    try:
        return args.run(args) or 0
    except DenseError as error:
        if os.environ.get("DENSE_TRACEBACK"):
            traceback.print_exception(error)
        _report(error)
        return 1
    except ImportError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        _report(DenseError(f"dense {args.verb} needs the package {package}, which cannot be imported ({error}). "
                           f"Remedy: pip install '{EXTRAS[package]}'; dense doctor shows what is missing"))
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _refuse(verb: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
    """End with the verb's own usage, and the option that was probably meant."""
    known = [option for action in verb._actions for option in action.option_strings]
    near = [n for word in unknown if word.startswith("-")
            for n in difflib.get_close_matches(word.split("=")[0], known, 1)]
    verb.error(f"unrecognized arguments: {' '.join(unknown)}" + (f"; did you mean {' '.join(near)}?" if near else ""))


def _report(error: DenseError) -> None:
    """Print an error; of several processes with the same one, only the first does."""
    rank = int(os.environ.get("RANK", "0"))
    if rank:
        time.sleep(3)  # torchrun ends this process meanwhile if process 0 failed as well
    print(f"error{f' (process {rank})' if rank else ''}: {error}", file=sys.stderr, flush=True)
