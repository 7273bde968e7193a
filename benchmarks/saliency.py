"""The saliency measures of an image, ours against PySODMetrics 1.6.2, in one process on one core.

    sh tests/oracles/sod_env.sh
    .peers/sod/bin/python benchmarks/saliency.py --json work_dirs/bench_saliency.json

Ours needs no more than NumPy and OpenCV, so both run in the environment that was made for PySODMetrics, with the
same versions. Per measure: ours, theirs, ours ... on the same made pair of masks; processor seconds (one thread, so
that a busy machine disturbs little); the ratio of each pair. Ours starts from the 8-bit prediction, theirs from the
floats it asks for (``normalize=False``), whose making is not counted. The results are compared: to 1e-9.
"E" and "F" are curve and adaptive value, as one step of theirs yields them. Boundary IoU has no peer there.
"""
from __future__ import annotations

import argparse
import sys
import time
import warnings

import cv2
import numpy as np
from _common import paired, report, table
from _masks import KINDS, ground_truth, prediction

from dense import evaluation as ours

try:
    import py_sod_metrics as theirs
except ImportError:
    sys.exit("error: PySODMetrics is not installed here. Remedy: sh tests/oracles/sod_env.sh, "
             "then run this with .peers/sod/bin/python")


def our_f(pred: np.ndarray, gt: np.ndarray) -> list:
    return [ours.f_curve(ours.precision_recall(pred, gt), average="image"), ours.adaptive_f(pred, gt)]


def our_e(pred: np.ndarray, gt: np.ndarray) -> list:
    return [ours.e_curve(pred, gt), ours.e_adaptive(pred, gt)]


def iou_of_theirs():
    return theirs.FmeasureV2({"iou": theirs.IOUHandler(with_dynamic=False, with_adaptive=False, with_binary=True)})


MEASURES = {
    "MAE": (lambda pred, gt: [ours.mae(pred, gt)], theirs.MAE, lambda r: [r["mae"]]),
    "S": (lambda pred, gt: [ours.s_measure(pred, gt)], theirs.Smeasure, lambda r: [r["sm"]]),
    "E": (our_e, theirs.Emeasure, lambda r: [r["em"]["curve"][::-1], r["em"]["adp"]]),
    "F": (our_f, theirs.Fmeasure, lambda r: [r["fm"]["curve"][::-1], r["fm"]["adp"]]),
    "weighted F": (lambda pred, gt: [ours.weighted_f(pred, gt)], theirs.WeightedFmeasure, lambda r: [r["wfm"]]),
    "IoU": (lambda pred, gt: [ours.iou(pred, gt)], iou_of_theirs, lambda r: [r["iou"]["binary"]]),
}


def timed(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def compare(name: str, pred: np.ndarray, gt: np.ndarray, pairs: int) -> dict:
    ours_of, make, pick = MEASURES[name]
    floats, mask = pred / 255.0, gt > 128

    def step():
        measure = make()
        measure.step(floats, mask, normalize=False)
        return pick(measure.get_results())

    times = []
    for _ in range(pairs + 1):
        (a, mine), (b, other) = timed(ours_of, pred, gt), timed(step)
        times.append((b, a))  # ratio: how many times faster ours is
        difference = max(float(np.abs(x - y).max()) for x, y in zip(mine, other, strict=True))
        if difference > 1e-9:
            sys.exit(f"error: {name} differs by {difference:g}")
    slow, fast = zip(*times[1:], strict=True)  # the first pair warms up
    return paired(slow, fast) | {"difference": difference}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048], help="sides of square masks")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--measures", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--json")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)

    rows, values = [], {}
    for size in args.sizes:
        for kind in KINDS:
            gt = ground_truth(kind, size, size)
            pred = prediction(gt)
            for name in args.measures:
                result = compare(name, pred, gt, args.pairs)
                values[f"{name}, {kind}, {size}"] = result
                rows.append([name, kind, f"{size} x {size}", f"{1000 * result['other']:.1f}",
                             f"{1000 * result['ours']:.1f}",
                             f"{result['ratio']:.1f} ({result['low']:.1f} to {result['high']:.1f})"])
    header = ("measure", "masks", "size", "dense, ms", "PySODMetrics, ms", "times faster (95 %)")
    report("Saliency measures", table(header, rows) + f"\n\n{args.pairs} pairs each, processor time",
           {"results": values}, args.json)


if __name__ == "__main__":
    main()
