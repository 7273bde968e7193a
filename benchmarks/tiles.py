"""What tiles add to a cut-out: modes global and tiled on the same pictures, also on their thin parts alone.

    python tools/data/make_thin.py -o work_dirs/thin
    python benchmarks/tiles.py work_dirs/thin --times 2 4 8 --json work_dirs/bench_tiles.json
    python benchmarks/tiles.py data/cutouts/DIS-VD --times 0

FOLDER holds pictures and masks (im/ and gt/). They are shrunk, by area, until their long side is so many times the
network's as --times says; 0 leaves them as they are, and none is enlarged. Thin are the parts of the truth that an
opening with a disc takes away whose radius is 1/128 of the long side (thinner than about three pixels of a network
that is fed 192); their IoU and MAE count them and what is within one radius of them. Differences are per picture,
their 95 % intervals from a bootstrap over the pictures. Seconds are the process's own (one thread), the whole way from
pixels to alpha. Deterministic but for them.
"""
from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from _common import report, table

from dense import Inferencer
from dense.errors import DenseError
from dense.evaluation import boundary_iou, human_correction_efforts, iou, mae, max_f, precision_recall
from dense.io import find_pairs, read_image, read_mask, split_folders
from dense.progress import Meter

MODES = ("global", "tiled")
NAMES = {"maxF": True, "MAE": False, "IoU": True, "BIoU": True, "HCE": False, "thin IoU": True, "thin recall": True,
         "thin MAE": False}
"""Measures, and whether more is better."""


def thin_parts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """bool (H, W) twice: the thin parts of a mask uint8 (H, W), and all within one radius of them."""
    radius = max(1, round(max(mask.shape) / 128))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    truth = (mask > 128).view(np.uint8)
    # beyond the frame objects go on: their cut is no thin end
    wide = cv2.copyMakeBorder(truth, *[2 * radius] * 4, cv2.BORDER_REPLICATE)
    opened = cv2.morphologyEx(wide, cv2.MORPH_OPEN, disc)[2 * radius:-2 * radius, 2 * radius:-2 * radius]
    thin = truth & (1 - opened)
    return thin > 0, cv2.dilate(thin, disc) > 0


def measure(alpha: np.ndarray, mask: np.ndarray) -> dict:
    """Figures of one alpha float (H, W) against its truth uint8 (H, W); those of thin parts NaN where there is none."""
    pred = np.rint(alpha * 255).astype(np.uint8)
    counts = precision_recall(pred, mask)
    figures = {"maxF": max_f([counts]), "MAE": mae(pred, mask), "IoU": iou(pred, mask),
               "BIoU": boundary_iou(pred, mask), "HCE": human_correction_efforts(pred, mask).total, "counts": counts}
    thin, near = thin_parts(mask)
    found, truth = pred[near] > 127, mask[near] > 128
    if thin.any():
        figures |= {"thin IoU": np.count_nonzero(found & truth) / np.count_nonzero(found | truth),
                    "thin recall": float(np.mean(pred[thin] > 127)),
                    "thin MAE": float(np.abs(pred[near] / 255.0 - mask[near] / 255.0).mean())}
    else:
        figures |= dict.fromkeys(("thin IoU", "thin recall", "thin MAE"), float("nan"))
    return figures


def compare(rows: dict[str, list[dict]], name: str, draws: int = 2000) -> dict:
    """Both figures of the set, their difference with its interval, and how many pictures got better and worse."""
    single = [np.array([row[name] for row in rows[mode]], float) for mode in MODES]
    kept = np.flatnonzero(np.isfinite(single[0]))
    if not len(kept):
        return {}
    counts = [[rows[mode][i]["counts"] for i in kept] for mode in MODES] if name == "maxF" else None

    def figure(side: int, which: np.ndarray) -> float:
        return max_f([counts[side][i] for i in which]) if counts else float(single[side][kept][which].mean())

    everything = np.arange(len(kept))
    values = [figure(side, everything) for side in (0, 1)]
    rng = np.random.default_rng(0)
    samples = [rng.integers(len(kept), size=len(kept)) for _ in range(draws // (10 if counts else 1))]
    low, high = np.percentile([figure(1, s) - figure(0, s) for s in samples], (2.5, 97.5))
    gain = (single[1] - single[0])[kept] * (1 if NAMES[name] else -1)
    return {"global": values[0], "tiled": values[1], "difference": values[1] - values[0], "low": low, "high": high,
            "better": int((gain > 0).sum()), "worse": int((gain < 0).sum()), "pictures": len(kept)}


def shrunk(image: np.ndarray, mask: np.ndarray, long: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask with a long side of at most ``long`` pixels; 0 leaves them."""
    share = long / max(mask.shape)
    if not 0 < share < 1:
        return image, mask
    size = tuple(max(1, round(s * share)) for s in mask.shape[::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.resize(mask, size, interpolation=cv2.INTER_AREA)


def run(models: dict[str, Inferencer], pairs: list, long: int, meter: Meter) -> dict[str, list[dict]]:
    rows: dict[str, list[dict]] = {mode: [] for mode in MODES}
    for i, pair in enumerate(pairs):
        image, mask = shrunk(read_image(pair.image), read_mask(pair.mask), long)
        for mode in MODES[::-1 if i % 2 else 1]:
            begin = time.process_time()
            alpha = models[mode](image).alpha
            rows[mode].append({"seconds": time.process_time() - begin, "name": pair.name, **measure(alpha, mask)})
        meter.step(i + 1, pair.name)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default="isnet@cutouts", help="name, config or bundle (default isnet@cutouts)")
    parser.add_argument("-w", "--weights", help="of a name or config")
    parser.add_argument("--times", type=int, nargs="+", default=[2, 4, 8], help="long side, as times the network's")
    parser.add_argument("--limit", type=int, help="the first so many pictures only")
    parser.add_argument("--json")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        pairs = find_pairs(*split_folders(args.folder, None)).pairs[:args.limit]
        models = {mode: Inferencer(args.model, weights=args.weights, mode=mode, threads=1, jobs=1) for mode in MODES}
        side = max(models["global"].task.size)
        texts, values = [], {}
        for times in args.times:
            with Meter("measured", len(pairs)) as meter:
                rows = run(models, pairs, times * side, meter)
            results = {name: compare(rows, name) for name in NAMES}
            seconds = {mode: float(np.median([row["seconds"] for row in rows[mode]])) for mode in MODES}
            title = f"{times} times the network's {side} pixels" if times else "as they are"
            values[str(times)] = {
                "measures": results, "seconds": seconds,
                "pictures": {mode: [{k: v for k, v in row.items() if k != "counts"} for row in rows[mode]]
                             for mode in MODES}}
            lines = [[name, *(f"{r[k]:.{0 if name == 'HCE' else 3}f}" for k in MODES),
                      "{difference:+.{n}f} ({low:+.{n}f} to {high:+.{n}f})".format(**r, n=1 if name == "HCE" else 3),
                      f"{r['better']} / {r['worse']}"] for name, r in results.items() if r]
            lines.append(["seconds", *(f"{seconds[k]:.2f}" for k in MODES),
                          f"x {seconds['tiled'] / seconds['global']:.1f}", ""])
            texts.append(f"## {title}\n\n" + table(
                ("measure", *MODES, "difference (95 %)", "pictures better / worse"), lines))
    except DenseError as error:
        sys.exit(f"error: {error}")
    report(f"Tiles, {len(pairs)} pictures of {args.folder}, {models['global'].name}", "\n\n".join(texts), values,
           args.json)


if __name__ == "__main__":
    main()
