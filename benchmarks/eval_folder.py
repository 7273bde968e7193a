"""A folder of masks, all metrics: one process against several, and against PySODMetrics run the same way.

    python benchmarks/eval_folder.py --json work_dirs/bench_eval_folder.json

Every side runs in a fresh process with one thread a process, and in turn: each round gives a ratio. Times are those of
the whole run, start of the interpreter included. Ours has an empty journal and an empty cache of skeletons each time;
it computes all 13 measures, PySODMetrics those that it has (MAE, S, E, F, weighted F, IoU, HCE). Its environment is
made by tests/oracles/sod_env.sh; without it that side is left out.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from _common import ROOT, paired, report, table

PEER = ROOT / ".peers" / "sod" / "bin" / "python"
OURS = """
import sys
from dense.evaluation.folder import evaluate_folders
if __name__ == "__main__":
    folder, jobs = sys.argv[1:]
    evaluate_folders([folder + "/pred"], folder + "/gt", "all", jobs=int(jobs))
"""
THEIRS = """
import sys
from pathlib import Path
import cv2
import py_sod_metrics as sod
cv2.setNumThreads(1)
cv2.ocl.setUseOpenCL(False)
folder = Path(sys.argv[1])
measures = [sod.MAE(), sod.Smeasure(), sod.Emeasure(), sod.Fmeasure(), sod.WeightedFmeasure(),
            sod.HumanCorrectionEffortMeasure(),
            sod.FmeasureV2(metric_handlers={"iou": sod.IOUHandler(with_dynamic=True, with_adaptive=False)})]
for path in sorted((folder / "gt").iterdir()):
    gt = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 128
    pred = cv2.imread(str(folder / "pred" / path.name), cv2.IMREAD_GRAYSCALE) / 255
    for measure in measures:
        measure.step(pred=pred, gt=gt, normalize=False)
for measure in measures:
    measure.get_results()
"""


def make_masks(folder: Path, count: int, size: int) -> None:
    """Blobs with thin lines, and soft predictions that miss some of them."""
    rng = np.random.default_rng(0)
    for name in ("gt", "pred"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        noise = cv2.resize(cv2.GaussianBlur(rng.random((size // 8, size // 8)), (0, 0), 6), (size, size))
        noise = (noise - noise.mean()) / noise.std()
        gt = (noise > 0.4).astype(np.uint8) * 255
        for _ in range(12):
            start, end = rng.integers(0, size, (2, 2)).tolist()
            cv2.line(gt, start, end, 255, int(rng.integers(2, 7)))
        other = cv2.resize(rng.random((size // 16, size // 16)), (size, size), interpolation=cv2.INTER_CUBIC) - 0.5
        pred = np.clip(128 + 300 * (noise - 0.4 + 0.6 * other), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "gt" / f"{number}.png"), gt)
        cv2.imwrite(str(folder / "pred" / f"{number}.png"), pred)


def seconds(command: list[str], folder: Path) -> float:
    """A run in a fresh process, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        (script := folder / "side.py").write_text(command[1])
        environment = os.environ | {"DENSE_CACHE": cache, "PYTHONPATH": str(ROOT)}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        begun = time.perf_counter()
        subprocess.run([command[0], str(script), str(folder), *command[2:]], env=environment, check=True,
                       stderr=subprocess.DEVNULL)
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="masks (%(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="their sides (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes of the second side (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    args = parser.parse_args()
    sides = {"ours, 1 process": [sys.executable, OURS, "1"],
             f"ours, {args.jobs} processes": [sys.executable, OURS, str(args.jobs)]}
    if PEER.exists():
        sides["PySODMetrics, 1 process"] = [str(PEER), THEIRS]
    else:
        print("PySODMetrics is left out: sh tests/oracles/sod_env.sh makes its environment", file=sys.stderr)
    times: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as name:
        make_masks(Path(name), args.count, args.size)
        for number in range(args.rounds):
            for side, command in sides.items():
                times[side].append(seconds(command, Path(name)))
                print(f"round {number + 1}/{args.rounds}: {side} {times[side][-1]:.1f} s", file=sys.stderr, flush=True)
    first, *others = sides
    results = {side: paired(times[side], times[first]) for side in others}
    rows = [[first, f"{np.median(times[first]):.1f}", "1"]]
    rows += [[side, f"{r['ours']:.1f}", f"{r['ratio']:.2f} ({r['low']:.2f} to {r['high']:.2f})"]
             for side, r in results.items()]
    text = table(["side", "s (median)", f"time against {first}"], rows)
    report(f"{args.count} masks of {args.size}x{args.size}, all metrics", text, {"times": times, "ratios": results},
           args.json)


if __name__ == "__main__":
    main()
