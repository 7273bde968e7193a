"""Human correction efforts of an image: ours against PySODMetrics 1.6.2 and a plain transcription, on one core.

    sh tests/oracles/sod_env.sh
    .peers/sod/bin/python benchmarks/hce.py --json work_dirs/bench_hce.json
    .peers/sod/bin/python benchmarks/hce.py --against transcription --sizes 1024x1024 --pairs 3

All in one process of the environment that was made for PySODMetrics, with the same versions of NumPy, OpenCV and
scikit-image: ours, the other, ours ... on the same made pair of binary masks; processor seconds; the ratio of each
pair. PySODMetrics goes the published code's way, with a loop over contour points. It always makes the skeleton;
where "given" is compared, its call of skeletonize is replaced by one that returns the known result. The transcription
(tests/evaluation/slow_hce.py) does in Python what others leave to OpenCV: a yardstick for the counts more than for
time. The counts are compared: they must be equal.
"""
from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from unittest import mock

import cv2
import numpy as np
from _common import ROOT, paired, report, table
from _masks import KINDS, ground_truth, prediction

from dense.evaluation import human_correction_efforts, skeleton

sys.path.insert(0, str(ROOT / "tests" / "evaluation"))


def timed(function: Callable, *arguments) -> tuple[float, object]:
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def ours(pred: np.ndarray, gt: np.ndarray, known: np.ndarray | None) -> int:
    return human_correction_efforts(pred, gt, known).total


def of_transcription() -> Callable:
    from slow_hce import slow_hce

    def transcription(pred: np.ndarray, gt: np.ndarray, known: np.ndarray | None) -> int:
        return int(sum(slow_hce(pred, gt, None if known is None else known * np.uint8(255))))

    return transcription


def of_pysodmetrics() -> Callable:
    try:
        from py_sod_metrics import HumanCorrectionEffortMeasure, sod_metrics
    except ImportError:
        sys.exit("error: PySODMetrics is not installed here. Remedy: sh tests/oracles/sod_env.sh, "
                 "then run this with .peers/sod/bin/python")

    def step(pred: np.ndarray, gt: np.ndarray, known: np.ndarray | None) -> int:
        measure = HumanCorrectionEffortMeasure()
        if known is None:
            measure.step(pred / 255.0, gt > 128, normalize=False)
        else:
            with mock.patch.object(sod_metrics.morphology, "skeletonize", lambda _: known):
                measure.step(pred / 255.0, gt > 128, normalize=False)
        return int(measure.get_results()["hce"])

    return step


OTHERS = {"pysodmetrics": of_pysodmetrics, "transcription": of_transcription}


def compare(other: Callable, pred: np.ndarray, gt: np.ndarray, known: np.ndarray | None, pairs: int) -> dict:
    times = []
    for k in range(pairs + 1):
        (a, mine), (b, theirs) = timed(ours, pred, gt, known), timed(other, pred, gt, known)
        if mine != theirs:
            sys.exit(f"error: HCE is {mine}, the other's {theirs}")
        if k:  # the first pair warms up
            times.append((b, a))  # ratio: how many times faster ours is
    slow, fast = zip(*times, strict=True)
    return paired(slow, fast) | {"hce": mine}


def size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT, like 3000x2000") from None
    return height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=size, nargs="+", default=[(1024, 1024), (2048, 2048), (2000, 3000)],
                        metavar="WIDTHxHEIGHT")
    parser.add_argument("--against", choices=list(OTHERS), default="pysodmetrics")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)

    other = OTHERS[args.against]()
    rows, values = [], {}
    for height, width in args.sizes:
        for kind in KINDS:
            gt = ground_truth(kind, height, width)
            pred = np.where(prediction(gt) > 128, 255, 0).astype(np.uint8)
            for word, known in (("computed", None), ("given", skeleton(gt))):
                result = compare(other, pred, gt, known, args.pairs)
                values[f"{kind}, {width}x{height}, {word}"] = result
                rows.append([kind, f"{width} x {height}", word, result["hce"], f"{1000 * result['other']:.0f}",
                             f"{1000 * result['ours']:.0f}",
                             f"{result['ratio']:.1f} ({result['low']:.1f} to {result['high']:.1f})"])
    header = ("masks", "size", "skeleton", "HCE", "dense, ms", f"{args.against}, ms", "times faster (95 %)")
    report("Human correction efforts", table(header, rows) + f"\n\n{args.pairs} pairs each, processor time",
           {"results": values}, args.json)


if __name__ == "__main__":
    main()
