"""IS-Net on the CPU: PyTorch as it is, against our PyTorch session, ONNX Runtime and OpenVINO, interleaved.

    python benchmarks/backends.py                          full width, 1024 x 1024, batch 1
    python benchmarks/backends.py --width 0.25 --size 256 --runs 3

The network has random weights: the arithmetic is the same. "eager" is what one writes without us: model(inputs) of the
normalised picture in inference mode, all six maps; "eager, finest" computes, as all others do, the one that is used.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import paired, report, table

GOALS = {"torch": 1.25, "onnxruntime": 1.6, "openvino": 1.6}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=float, default=1.0, help="of the network (%(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="side of the input (%(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--runs", type=int, default=15, help="rounds that count (%(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="rounds before (%(default)s)")
    parser.add_argument("--threads", type=int, help="of every side (their own choice)")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    return parser.parse_args()


def make_bundle(model, args, folder: Path):
    """The network's bundle, as ``dense export`` makes it."""
    from dense.deployment.export import ExportSettings, export, say_to_terminal
    from dense.deployment.source import Source

    class Given(Source):
        def build(self):
            return model

    settings = ExportSettings(size=(args.size, args.size), batch=(1, args.batch, max(args.batch, 64)))
    return export(Given("isnet", untrained=True), folder, settings, say=say_to_terminal)


def sides(args, folder: Path) -> dict:
    """Name -> function of the batch (values 0..255) that gives alpha."""
    import torch

    from dense import build_model
    from dense.backends import BACKENDS, open_session
    from dense.backends.torch import TorchSession
    from dense.models.fold import fold_batchnorm

    torch.manual_seed(0)
    model = build_model("isnet", width=args.width)
    if args.threads:
        torch.set_num_threads(args.threads)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.task.mean, model.task.std))
    graph = model.graph()

    @torch.inference_mode()
    def eager(batch: np.ndarray) -> np.ndarray:
        return model((torch.from_numpy(batch) - mean) / std)[0].sigmoid().numpy()

    @torch.inference_mode()
    def finest(batch: np.ndarray) -> np.ndarray:
        return graph(torch.from_numpy(batch)).numpy()

    def folded():
        return fold_batchnorm(graph, *graph.example({"batch": 1, "height": 64, "width": 64}))

    out = {"eager": eager, "eager, finest": finest, "torch": TorchSession(folded(), "cpu", args.threads)}
    if args.compile:
        out["torch, compiled"] = TorchSession(folded(), "cpu", args.threads, compile=True)
    bundle = make_bundle(model, args, folder / "bundle")
    out |= {n: open_session(bundle, n, "cpu", args.threads) for n, b in BACKENDS.items() if b.installed()}
    return out


def main() -> None:
    args = arguments()
    batch = np.random.default_rng(0).uniform(0, 255, (args.batch, 3, args.size, args.size)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        runs = sides(args, Path(folder))
        seconds = {name: [] for name in runs}
        expected, differences = None, {}
        for number in range(args.warmup + args.runs):
            order = list(runs) if number % 2 == 0 else list(runs)[::-1]
            for name in order:
                begun = time.perf_counter()
                alpha = runs[name](batch)
                seconds[name].append(time.perf_counter() - begun)
                if name == "eager" and expected is None:
                    expected = alpha
                elif expected is not None and name not in differences:
                    differences[name] = float(np.abs(alpha - expected).max())
            print(f"round {number + 1}/{args.warmup + args.runs}: "
                  + ", ".join(f"{n} {s[-1]:.2f} s" for n, s in seconds.items()), file=sys.stderr, flush=True)
    if wrong := [name for name, value in differences.items() if not value < 1e-3]:
        sys.exit(f"the outputs of {', '.join(wrong)} are not those of eager: the times mean nothing")
    seconds = {name: s[args.warmup:] for name, s in seconds.items()}
    rows, figures = [], {}
    for name, own in seconds.items():
        figures[name] = result = paired(seconds["eager"], own)  # the ratio is how many times as fast
        goal = f"{GOALS[name]:g}" if name in GOALS and args.width == 1 and args.size == 1024 else ""
        rows.append([name, f"{result['other']:.3f}", f"{result['ratio']:.2f}",
                     f"{result['low']:.2f} to {result['high']:.2f}", goal, f"{differences.get(name, 0):.1e}"])
    text = table(["", "s (median)", "times as fast as eager", "95 % interval", "goal", "largest difference"], rows)
    report(f"IS-Net on the CPU: width {args.width:g}, {args.size} x {args.size}, batch {args.batch}, {args.runs} runs",
           text, {"figures": figures, "differences": differences, "seconds": seconds}, args.json)


if __name__ == "__main__":
    main()
