"""Make tests/data/sod.npz: the saliency measures of PySODMetrics 1.6.2 on small pairs of masks.

    sh tests/oracles/sod_env.sh
    .peers/sod/bin/python tests/oracles/make_sod_reference.py

Keys, for the pair NAME (see ``pairs``) and KIND = "off" or "on", the library's ``normalize``:
    NAME/pred (H, W) uint8, float32 or float64 in 0..1; NAME/gt (H, W) uint8
    NAME/KIND/scalars float64, in the order of the array "names"
    NAME/KIND/curves float64 (5, 256): F, E, precision, recall and IoU ("dynamic") at the thresholds 255 down to 0
Predictions of floats have no "on": the library takes uint8 only there.
"names" holds MAE, S, weighted F, adaptive F and E, and IoU with the handler's "binary" (> 0.5).
"""

import warnings
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import py_sod_metrics as sod

TARGET = Path(__file__).resolve().parents[1] / "data" / "sod.npz"
NAMES = ("mae", "s", "weighted_f", "adaptive_f", "adaptive_e", "iou")


def blob(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    for _ in range(3):
        center = int(rng.integers(width // 4, 3 * width // 4)), int(rng.integers(height // 4, 3 * height // 4))
        cv2.circle(mask, center, int(rng.integers(3, min(height, width) // 4)), 255, -1)
    return mask


def blurred(mask: np.ndarray, sigma: float, rng: np.random.Generator, noise: float = 0.05) -> np.ndarray:
    soft = cv2.GaussianBlur(mask / 255.0, (0, 0), sigma) + noise * rng.standard_normal(mask.shape)
    return np.clip(soft, 0, 1)


def quantised(soft: np.ndarray) -> np.ndarray:
    return np.rint(soft * 255).astype(np.uint8)


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Prediction and ground truth by name."""
    rng = np.random.default_rng(3)
    gt = blob(64, 48, rng)
    odd = blob(53, 71, rng)
    soft, soft_odd = blurred(gt, 2, rng), blurred(odd, 3, rng)
    empty, full = np.zeros_like(gt), np.full_like(gt, 255)
    dot = empty.copy()
    dot[20, 31] = 255
    moved = np.roll(gt, (3, -2), (0, 1))
    lines, lines_pred = np.zeros((24, 95), np.uint8), np.zeros((24, 95), np.uint8)
    for k in range(6):
        cv2.line(lines, (15 * k, 1), (15 * k + 9, 21), 255, 1 + k // 2)
        cv2.line(lines_pred, (15 * k + 1, 1), (15 * k + 7, 23), 255, 1 + k // 3)
    frame, frame_pred = np.full((33, 41), 255, np.uint8), np.full((33, 41), 255, np.uint8)
    frame[4:-4, 4:-6] = 0
    frame_pred[6:-2, 5:-5] = 0
    noise = rng.integers(0, 256, (37, 53), np.uint8)
    near = np.clip(noise.astype(int) + rng.integers(-70, 71, noise.shape), 0, 255).astype(np.uint8)
    corner = np.zeros((30, 30), np.uint8)
    corner[:9, :12] = 255
    small = (1 / (1 + np.exp(-rng.normal(0, 3, (40, 30)))), blob(40, 30, rng))
    return {
        "binary": (moved, gt),
        "perfect": (gt, gt),
        "quantised": (quantised(soft), gt),
        "quantised_odd": (quantised(soft_odd), odd),
        "soft_float64": small,
        "soft_float32": (soft_odd[:30].astype(np.float32), odd[:30]),
        "faint": (quantised(soft * 0.15), gt),
        "raised": (quantised(0.3 + soft * 0.5), gt),
        "empty_pred": (empty, gt),
        "empty_gt": (quantised(soft), empty),
        "full_pred": (full, gt),
        "full_gt": (quantised(soft), full),
        "both_empty": (empty, empty),
        "both_full": (full, full),
        "inverted": (255 - gt, gt),
        "one_pixel_gt": (quantised(soft), dot),
        "one_pixel_pred": (dot, gt),
        "thin": (lines_pred, lines),
        "thin_soft": (quantised(blurred(lines_pred, 0.8, rng, 0)), lines),
        "frame": (quantised(blurred(frame_pred, 1.5, rng)), frame),
        "corner": (quantised(blurred(corner, 2.5, rng, 0)), corner),
        "noise": (near, noise),
    }


def measure(pred: np.ndarray, gt: np.ndarray, normalize: bool) -> tuple[np.ndarray, np.ndarray]:
    iou = sod.IOUHandler(with_dynamic=True, with_adaptive=False, with_binary=True)
    measures = {
        "mae": sod.MAE(),
        "s": sod.Smeasure(),
        "wf": sod.WeightedFmeasure(),
        "f": sod.Fmeasure(),
        "e": sod.Emeasure(),
        "iou": sod.FmeasureV2({"iou": iou}),
    }
    if not normalize:
        pred = pred / 255.0 if pred.dtype == np.uint8 else pred
        gt = gt > 128
    for measure in measures.values():
        measure.step(pred, gt, normalize=normalize)
    mae, s, wf, f, e, iou = (measure.get_results() for measure in measures.values())
    scalars = [mae["mae"], s["sm"], wf["wfm"], f["fm"]["adp"], e["em"]["adp"], iou["iou"]["binary"]]
    curves = [f["fm"]["curve"], e["em"]["curve"], f["pr"]["p"], f["pr"]["r"], iou["iou"]["dynamic"]]
    return np.array(scalars, np.float64), np.array(curves, np.float64)


def main() -> None:
    if version("pysodmetrics") != "1.6.2":
        raise SystemExit(f"pysodmetrics {version('pysodmetrics')}, but the reference is that of 1.6.2")
    warnings.simplefilter("ignore")
    store = {"names": np.array(NAMES)}
    for name, (pred, gt) in pairs().items():
        store |= {f"{name}/pred": pred, f"{name}/gt": gt}
        for kind in ("off", "on") if pred.dtype == np.uint8 else ("off",):
            scalars, curves = measure(pred, gt, kind == "on")
            if not (np.isfinite(scalars).all() and np.isfinite(curves).all()):
                raise SystemExit(f"{name}, normalize {kind}: not finite, {scalars}")
            store |= {f"{name}/{kind}/scalars": scalars, f"{name}/{kind}/curves": curves}
    np.savez_compressed(TARGET, **store)
    print(f"{TARGET.name}: {len(pairs())} pairs, {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
