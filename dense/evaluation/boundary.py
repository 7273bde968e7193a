"""Boundary IoU: intersection over union of thin bands along the outlines.

"Boundary IoU: Improving Object-Centric Image Segmentation Evaluation" (Cheng et al., CVPR 2021).
"""

from math import hypot

import cv2
import numpy as np

from dense.evaluation._inputs import as_selected, pair


def boundary_iou(pred: np.ndarray, gt: np.ndarray, dilation_ratio: float = 0.02) -> float:
    """Boundary IoU of the prediction, thresholded at 0.5, and the ground truth, 0 to 1 (equal bands).

    A mask's band is what d erosions by a 3x3 square take from it, d being ``dilation_ratio`` times the
    diagonal of the image, rounded, and at least 1. Outside the frame there is background, so that the frame
    is part of the outline of a mask that touches it.

    Args:
        pred: (H, W), uint8 0..255 (foreground is >= 128), float 0..1 (>= 0.5) or bool.
        gt: (H, W), uint8 (foreground is > 128) or bool.
        dilation_ratio: > 0; the paper uses 0.02.

    Returns:
        The ratio; 1.0 if both masks are empty, and 0.0 if one is.

    Raises:
        ValueError: shapes that differ or are not (H, W), no pixel, another dtype, values out of range, a
            ``gt`` of 0/1 labels in uint8, or dilation_ratio out of range.
    """
    pred, gt = pair(pred, gt)
    common, union = band_overlap(as_selected(pred, 0.5), gt, reach(dilation_ratio, gt.shape))
    return float(common / union) if union else 1.0


def reach(dilation_ratio: float, shape: tuple[int, ...]) -> int:
    """Width of the bands in pixels of an image of ``shape`` (H, W); ValueError for a ratio out of range."""
    if not 0 < dilation_ratio < np.inf:
        raise ValueError(f"dilation_ratio must be a finite number > 0, got {dilation_ratio!r}")
    return max(1, round(dilation_ratio * hypot(*shape)))


def band_overlap(a: np.ndarray, b: np.ndarray, d: int) -> tuple[int, int]:
    """Pixels in the intersection and in the union of two masks' bands; both bool (H, W), d as ``reach`` gives it."""
    a, b = _band(a, d), _band(b, d)
    return np.count_nonzero(a & b), np.count_nonzero(a | b)


def _band(mask: np.ndarray, d: int) -> np.ndarray:
    """bool (H, W): pixels of the mask at most ``d`` rows and columns away from background or the frame's outside."""
    band = np.zeros_like(mask)
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    if w == 0 or h == 0:
        return band
    part = np.ascontiguousarray(mask[y : y + h, x : x + w])
    reach = min(d, max(w, h))  # nothing outlives that
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)  # d erosions by 3x3, in one and separable
    kept = cv2.erode(part.view(np.uint8), square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    band[y : y + h, x : x + w] = part & (kept == 0)
    return band
