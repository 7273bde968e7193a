"""Parameters, multiply-accumulates and memory of models: python tools/analysis/flops.py [MODEL ...] [options]

MODEL is a name of `dense models`, or a config; without one, all names. Nothing is computed but shapes.
"""
import argparse
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # works without installing the package

from dense.errors import ConfigError, DenseError

EXPLANATION = """\
GMAC: multiply-accumulates of convolutions and matrix products, in thousands of millions.
inference: activations that live at once, at most, without gradients. training: those kept for the backward pass.
Both in MiB of float32 for this input, weights, gradients and workspaces not counted."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0].partition(":")[0], epilog=EXPLANATION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="a name or a config; all names without")
    parser.add_argument("--size", type=int, nargs="+", metavar="N", help="height and width (those of the model's task)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="inputs at once (1)")
    parser.add_argument("--stages", action="store_true", help="a table of each model's parts too")
    parser.add_argument("--json", metavar="FILE", help="write all figures to this file")
    arguments = parser.parse_args(argv)
    if arguments.batch < 1 or min(arguments.size or [1]) < 1:
        parser.error("--batch and --size must be at least 1")
    return arguments


def measure_model(name: str, size: list[int] | None, batch: int):
    """Figures of a model by name or config."""
    import torch

    from dense.config import find_config
    from dense.models.build import build_model
    from dense.models.complexity import measure
    from dense.models.names import list_models

    source = name
    if name not in list_models():
        with suppress(ConfigError):  # the error about the name is the better one
            source = str(find_config(name))
    with torch.device("meta"):
        model = build_model(source, device="meta")
    network, size = model.network, size or model.task.size
    if len(size) != len(model.task.size):
        raise ConfigError(f"--size has {len(size)} numbers, it takes {len(model.task.size)}")
    return measure(network, (batch, getattr(network, "in_channels", 3), *size))


def show(rows: list[tuple], header: tuple[str, ...]) -> None:
    """A table as text, the first column to the left."""
    cells = [header, *rows]
    widths = [max(len(str(row[i])) for row in cells) for i in range(len(header))]
    for row in cells:
        print("  ".join(str(c).ljust(w) if i == 0 else str(c).rjust(w)
                        for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip())


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    from dataclasses import asdict

    from dense.io import write_json
    from dense.models.names import list_models

    found, failed = {}, 0
    for name in arguments.models or list_models():
        try:
            found[name] = measure_model(name, arguments.size, arguments.batch)
        except DenseError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            failed = 1
        except RuntimeError as error:  # of PyTorch, about shapes
            size = " ".join(map(str, arguments.size or ()))
            print(f"error: {name}: does not take --size {size}: {str(error).splitlines()[0]}", file=sys.stderr)
            failed = 1
    if found:
        show([(name, "x".join(map(str, c.input)), f"{c.parameters / 1e6:.2f}", f"{c.macs / 1e9:.2f}",
               f"{c.inference / 2**20:.0f}", f"{c.training / 2**20:.0f}") for name, c in found.items()],
             ("model", "input", "M parameters", "GMAC", "inference", "training"))
    if arguments.stages:
        for name, c in found.items():
            print()
            show([(s.name, "x".join(map(str, s.output)), f"{s.parameters / 1e6:.3f}", f"{s.macs / 1e9:.3f}",
                   f"{100 * s.macs / c.macs:.1f}", f"{s.saved / 2**20:.1f}") for s in c.stages],
                 (name, "output", "M parameters", "GMAC", "% of it", "training"))
    if found:
        print(f"\n{EXPLANATION}")
    if arguments.json:
        try:
            write_json(arguments.json, {k: asdict(c) for k, c in found.items()})
        except DenseError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
