"""Peak memory of inference on a large volume: 512 x 512 x 1024 voxels, 25 and 105 classes, within a limit.

    python benchmarks/volume_memory.py                                  both, with one convolution as the network
    python benchmarks/volume_memory.py --shape 256 256 256 --classes 25 --max-memory 1.2G
    python benchmarks/volume_memory.py --spacing 1.4 1.4 1.4            with resampling there and back

The network is one convolution of 1^3, because the subject is what is kept beside a network. Each run has a process of
its own. 'network' is what the process takes for PyTorch and a patch; 'beside it' the peak of its anonymous memory above
that, the volume itself (int16) counted; 'mapped' the peak of pages of the temporary file that it had mapped, which the
system can take away at any time. Sampled every 10 ms.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time

import numpy as np
from _common import report, table

SPACING = 1.5


class Watch(threading.Thread):
    """Peaks of this process's anonymous and file-mapped memory, bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.reset()
        self.start()

    def reset(self) -> None:
        self.anonymous = self.mapped = 0

    def run(self) -> None:
        while True:
            anonymous, mapped = memory()
            self.anonymous, self.mapped = max(self.anonymous, anonymous), max(self.mapped, mapped)
            time.sleep(0.01)


def memory() -> tuple[int, int]:
    """Anonymous and file-mapped bytes of this process (Linux)."""
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return tuple(int(lines[key].split()[0]) * 1024 for key in ("RssAnon", "RssFile"))


def size_of(text: str) -> int:
    units = {"K": 10, "M": 20, "G": 30}
    return int(float(text[:-1]) * 2 ** units[text[-1].upper()]) if text[-1].upper() in units else int(text)


def run(shape: list[int], classes: int, patch: int, spacing: list[float], step: float, limit: int, half: bool) -> dict:
    """One volume, in this process."""
    import torch
    from torch.nn import Conv3d

    from dense.tasks import VolumeTask

    torch.manual_seed(0)
    network = Conv3d(1, classes, 1).eval()

    def forward(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(batch)).numpy()

    task = VolumeTask(size=(patch,) * 3, spacing=(SPACING,) * 3, step=step, normalisation=("ct",),
                      intensities=((-900, 900, 0, 400),), classes=tuple(f"class {i}" for i in range(classes)))
    watch = Watch()
    for _ in range(3):
        forward(np.zeros((1, 1, patch, patch, patch), np.float32))
    taken = watch.anonymous
    rng = np.random.default_rng(0)
    values = np.empty((1, *shape), np.int16)  # as CTs are stored
    for plane in values[0]:
        plane[...] = rng.integers(-1000, 1000, plane.shape, np.int16)
    mapped = memory()[1]
    watch.reset()
    begin = time.perf_counter()
    labels = task.segment(values, tuple(spacing), forward, "plain", max_memory=limit, half=half)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "network": taken, "beside": watch.anonymous - taken, "mapped": watch.mapped - mapped,
            "patches": task.plan(shape, "plain").count, "classes seen": len(np.unique(labels))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(1024, 512, 512), help="Z Y X")
    parser.add_argument("--classes", type=int, nargs="+", default=(25, 105))
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--spacing", type=float, nargs=3, default=(SPACING,) * 3, help=f"the network's is {SPACING}")
    parser.add_argument("--step", type=float, default=0.5, help="1: a fifth of the patches, the same memory")
    parser.add_argument("--max-memory", default="6G")
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    limit = size_of(args.max_memory)
    if args.child:
        values = run(args.shape, args.classes[0], args.patch, args.spacing, args.step, limit, args.half)
        with open(args.child, "w") as file:
            json.dump(values, file)
        return
    results, rows = {}, []
    for classes in args.classes:
        command = [sys.executable, __file__, "--shape", *args.shape, "--classes", classes, "--patch", args.patch,
                   "--spacing", *args.spacing, "--step", args.step, "--max-memory", args.max_memory,
                   "--child", "/dev/stdout", *["--half"] * args.half]
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True, check=True)
        values = results[classes] = json.loads(done.stdout)
        gib = {key: f"{values[key] / 2**30:.2f}" for key in ("network", "beside", "mapped")}
        rows.append((classes, args.max_memory, gib["network"], gib["beside"], gib["mapped"],
                     values["patches"], f"{values['seconds']:.0f}"))
        print(f"{classes} classes: {values}", file=sys.stderr, flush=True)  # the next one may take long
    head = ("classes", "limit", "network, GiB", "beside it, GiB", "mapped, GiB", "patches", "seconds")
    shape = " x ".join(map(str, args.shape))
    report(f"Memory of a volume of {shape}, patches of {args.patch}^3", table(head, rows), results, args.json)


if __name__ == "__main__":
    main()
