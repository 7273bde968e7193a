"""Checks that every per-image measure makes on its arrays, and the counts that several of them start from."""

from typing import Literal

import cv2
import numpy as np

LEVELS = 256

Rounding = Literal["nearest", "down"]

_TOLERANCE = 1e-6
_EXACT = 1 << 24  # OpenCV returns its histograms as float32, which holds whole numbers up to here


def binarise(mask: np.ndarray, name: str, *, refuse_labels: bool = False) -> np.ndarray:
    """Foreground of a mask.

    Args:
        mask: bool, or uint8 in 0..255 (foreground is > 128); any shape.
        name: how the message calls the array.
        refuse_labels: raise for a uint8 mask whose largest value is 1. Such a mask holds class labels (0 and
            1), and thresholding it at 128 would silently call it empty. Not for predictions: a faint one may
            well have the maximum 1.

    Returns:
        bool array of the same shape (the array itself if it is bool already).

    Raises:
        ValueError: another dtype, or 0/1 labels where they are refused.
    """
    if mask.dtype == np.bool_:
        return mask
    if np.issubdtype(mask.dtype, np.floating):
        raise ValueError(
            f"{name} has dtype {mask.dtype}: scale it to 0..255 and convert it to uint8, "
            "for values in 0..1 np.rint(x * 255).astype(np.uint8)"
        )
    if mask.dtype != np.uint8:
        raise ValueError(f"{name} has dtype {mask.dtype}: expected uint8 (0..255) or bool")
    if refuse_labels and mask.size and mask.max() == 1:
        raise ValueError(
            f"{name} is uint8 with the values 0 and 1, but the foreground is > 128: "
            f"convert it to bool ({name} > 0) or multiply it by 255"
        )
    return mask > 128


def pair(pred: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked prediction (bool, uint8, or float32/64 in 0..1) and ground truth (bool), both (H, W)."""
    pred, gt = np.asarray(pred), np.asarray(gt)
    if pred.shape != gt.shape:
        raise ValueError(f"pred has the shape {pred.shape}, but gt {gt.shape}: resize pred first")
    if gt.ndim != 2:
        raise ValueError(f"pred and gt have the shape {gt.shape}: expected (H, W)")
    if gt.size == 0:
        raise ValueError(f"pred and gt have the shape {gt.shape}, which holds no pixel")
    gt = binarise(gt, "gt", refuse_labels=True)
    return prediction(pred), gt


def prediction(pred: np.ndarray) -> np.ndarray:
    """A checked prediction of any shape with pixels: bool, uint8, or float32/64, clipped to 0..1."""
    if np.issubdtype(pred.dtype, np.floating):
        low, high = float(pred.min()), float(pred.max())
        if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # NaN fails both
            raise ValueError(
                f"pred has dtype {pred.dtype} and values from {low:g} to {high:g}: expected 0..1 "
                "(divide 0..255 by 255, apply the sigmoid to logits)"
            )
        return np.clip(pred.astype(np.promote_types(pred.dtype, np.float32), copy=False), 0, 1)
    if pred.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"pred has dtype {pred.dtype}: expected uint8 (0..255), float (0..1) or bool")
    return pred


def as_levels(pred: np.ndarray, rounding: Rounding = "nearest") -> np.ndarray:
    """The 256 levels of a checked prediction, uint8; floats go to the nearest level or to the one below."""
    if rounding not in ("nearest", "down"):
        raise ValueError(f'rounding must be "nearest" or "down", got {rounding!r}')
    if pred.dtype == np.uint8:
        return pred
    if pred.dtype == np.bool_:
        return pred.astype(np.uint8) * np.uint8(255)
    scaled = pred * 255
    return (np.rint(scaled) if rounding == "nearest" else scaled).astype(np.uint8)


def as_selected(pred: np.ndarray, threshold: float) -> np.ndarray:
    """bool: where a checked prediction is at least ``threshold``, in (0, 1]; a uint8 stands for x / 255."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, got {threshold!r}")
    if pred.dtype == np.bool_:
        return pred
    if pred.dtype == np.uint8:
        return pred >= np.argmax(np.arange(LEVELS) / 255.0 >= threshold)
    return pred >= threshold


def histogram(levels: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """int64 (256,): how many pixels of a uint8 (h, w), which may be empty, have each level, where ``mask`` is True."""
    total = np.zeros(LEVELS, np.int64)
    if levels.size == 0:
        return total
    rows = max(1, _EXACT // levels.shape[1])
    for top in range(0, len(levels), rows):
        part = slice(top, top + rows)
        chosen = None if mask is None else mask[part].view(np.uint8)
        total += cv2.calcHist([levels[part]], [0], chosen, [LEVELS], [0, LEVELS])[:, 0].astype(np.int64)
    return total
