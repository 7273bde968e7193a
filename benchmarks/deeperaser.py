"""DeepEraser's forward pass against a plain transcription of its fact sheet: time and peak memory.

    python benchmarks/deeperaser.py --json work_dirs/bench_deeperaser.json

Time: both in one process, in turn and in changing order, one thread, processor time; the outputs are compared each
time. Arithmetic alone allows 1.2x: the context's part of the GRU's convolutions, once in place of eight times.
Memory: each alone in a fresh process, the peak resident memory above what the imports and the weights take. The
transcription is run as the original is said to be, which holds features it never uses ("keep"), and without that.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import torch
from _common import ROOT, paired, peak_memory, report, table

sys.path.insert(0, str(ROOT / "tests"))

from deeperaser_transcription import PlainDeepEraser
from reference import refill

from dense.models.deeperaser import DeepEraser

SIDES = ("ours", "plain", "keep")
MIB = 2**20


def build(side: str, args) -> torch.nn.Module:
    """A network with filled weights."""
    settings = {"iterations": args.iterations, "width": args.width}
    network = DeepEraser(**settings) if side == "ours" else PlainDeepEraser(**settings, keep=side == "keep")
    return refill(network, gain=1.2).eval()


def run(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The last reconstruction."""
    with torch.inference_mode():
        return network.last(x) if isinstance(network, DeepEraser) else network(x)[-1]


def picture(size: int) -> torch.Tensor:
    x = torch.rand(1, 4, size, size, generator=torch.Generator().manual_seed(0))
    x[:, 3] = (x[:, 3] > 0.5).float()
    return x


def time_both(args) -> dict:
    """Processor seconds of both, pair by pair."""
    networks = {side: build(side, args) for side in ("ours", "plain")}
    x, seconds = picture(args.time_size), {"ours": [], "plain": []}
    outputs = {side: run(network, x) for side, network in networks.items()}
    difference = float((outputs["ours"] - outputs["plain"]).abs().max() / outputs["plain"].abs().max())
    if difference > 1e-4:
        raise SystemExit(f"the outputs differ by {difference:g} of their largest value")
    for index in range(args.pairs):
        for side in ("ours", "plain") if index % 2 else ("plain", "ours"):
            begin = time.process_time()
            run(networks[side], x)
            seconds[side].append(time.process_time() - begin)
    return paired(seconds["ours"], seconds["plain"]) | {"difference": difference}


def measure_memory(side: str, args) -> dict:
    """Peak memory of one side in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", side, "--size", str(args.size), "--width", str(args.width),
               "--iterations", str(args.iterations)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=384, help="side of the picture of the memory's part")
    parser.add_argument("--time-size", type=int, default=192, help="side of the picture of the time's part")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--iterations", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--memory-of", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.memory_of:
        network, x = build(args.memory_of, args), picture(args.size)
        run(network, picture(16))  # what the libraries hold for themselves
        before = peak_memory()
        run(network, x)
        print(json.dumps({"peak": peak_memory(), "above": peak_memory() - before}))
        return
    memory = {side: measure_memory(side, args) for side in SIDES}
    times = time_both(args)
    rows = [(side, f"{memory[side]['peak'] / MIB:.0f}", f"{memory[side]['above'] / MIB:.0f}",
             f"{memory['ours']['above'] / memory[side]['above']:.2f}",
             f"{times['ours' if side == 'ours' else 'other']:.2f}" if side != "keep" else "") for side in SIDES]
    text = table(("", f"peak MiB, {args.size}x{args.size}", "above imports and weights", "ours / this",
                  f"processor s, {args.time_size}x{args.time_size}"), rows)
    speed = [1 / times[k] for k in ("ratio", "high", "low")]
    text += (f"\n\n{speed[0]:.3f}x as fast (95% interval {speed[1]:.3f} to {speed[2]:.3f}, {times['pairs']} pairs); "
             f"largest difference {times['difference']:.1e} of the largest value")
    values = {"memory": memory, "time": times, "speed": speed, "size": args.size, "time_size": args.time_size}
    report("DeepEraser against a plain transcription", text, json.loads(json.dumps(values, default=np.ndarray.tolist)),
           args.json)


if __name__ == "__main__":
    main()
