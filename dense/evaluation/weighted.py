"""Weighted F-measure: errors count by where they are.

"How to Evaluate Foreground Maps?" (Margolin et al., CVPR 2014). An error inside the object counts less where
its neighbourhood is right, and an error outside of it counts more the farther away it is. Equal to
PySODMetrics up to rounding errors, on the part of the image that matters and without its index transform.
"""

import cv2
import numpy as np

from dense.evaluation._inputs import as_levels, pair

RADIUS = 3
SIGMA = 5.0
HALF = 5.0  # pixels over which the weight of a false positive gets halfway from 1 to 2

_EPS = 2.0**-52
# A pixel in the window of a foreground pixel has one at a distance of at most RADIUS * sqrt(2).
_REACH = int(RADIUS * 2**0.5)
_DENSE = 0.05  # share of the pixels above which going through all of them is faster than picking


def weighted_f(pred: np.ndarray, gt: np.ndarray, beta2: float = 1.0) -> float:
    """Weighted F-measure, 0 to 1.

    Args:
        pred: (H, W), uint8 0..255, float 0..1 or bool.
        gt: (H, W), uint8 (foreground is > 128) or bool.
        beta2: beta squared, > 0; published results use 1.

    Returns:
        The measure; 0.0 if the ground truth is empty (whatever was predicted, so leave such images out of the
        mean) or the prediction is. A full ground truth has no false positives and is scored as any other.

    Raises:
        ValueError: shapes that differ or are not (H, W), no pixel, another dtype, values out of range, a
            ``gt`` of 0/1 labels in uint8, or beta2 out of range.
    """
    if not 0 < beta2 < np.inf:
        raise ValueError(f"beta2 must be a finite number > 0, got {beta2!r}")
    pred, gt = pair(pred, gt)
    positives = np.count_nonzero(gt)
    if positives == 0:
        return 0.0
    if pred.dtype in (np.uint8, np.bool_):
        pred, scale = as_levels(pred), 255
        error = cv2.absdiff(pred, as_levels(gt))
    else:
        pred, scale = pred.astype(np.float64, copy=False), 1
        error = np.abs(pred - gt)
    # Where both are 0 nothing counts, and the error there is seen by foreground in the window only.
    window = _bounds((pred > 0) | gt)
    pred, gt, error = pred[window], np.ascontiguousarray(gt[window]), error[window]
    missed = _missed(error, gt) / scale
    false = _false(pred, gt) / scale
    hits = positives - missed
    recall = 1 - missed / positives
    precision = hits / (hits + false + _EPS)
    return float(max(0.0, (1 + beta2) * recall * precision / (recall + beta2 * precision + _EPS)))


def _bounds(mask: np.ndarray) -> tuple[slice, slice]:
    """Bounding box of a bool array that is not empty, with a margin as wide as the window."""
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    return slice(max(0, y - RADIUS), y + h + RADIUS), slice(max(0, x - RADIUS), x + w + RADIUS)


def _missed(error: np.ndarray, gt: np.ndarray) -> float:
    """Sum of the errors in the foreground, each at most the weighted mean of the errors around it."""
    partly = gt & (error > 0)
    if not partly.any():
        return 0.0
    # For that mean, background takes over the error of the nearest foreground; beyond the frame it is 0.
    square = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
    around = cv2.dilate(partly.view(np.uint8), square).view(bool) & ~gt
    spread = _spread(error, gt, around)
    kernel = cv2.getGaussianKernel(2 * RADIUS + 1, SIGMA, cv2.CV_64F)
    mean = cv2.sepFilter2D(spread, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return float(np.minimum(error[partly], mean[_REACH:-_REACH, _REACH:-_REACH][partly]).sum())


def _spread(error: np.ndarray, gt: np.ndarray, around: np.ndarray) -> np.ndarray:
    """The errors, those of the pixels ``around`` replaced by that of their nearest foreground pixel.

    Of equally near ones it is the leftmost, and of those the topmost: the choice of scipy's distance
    transform, and so of PySODMetrics.

    Args:
        error: (h, w).
        gt: bool (h, w).
        around: bool (h, w), background at most ``_REACH`` rows and columns away from its nearest foreground.

    Returns:
        As ``error``, with ``_REACH`` rows and columns of zeros on each side.
    """
    spread, foreground = (
        cv2.copyMakeBorder(a, *[_REACH] * 4, cv2.BORDER_CONSTANT, value=0) for a in (error, gt.view(np.uint8))
    )
    (height, width), stride = gt.shape, spread.shape[1]
    span = range(-_REACH, _REACH + 1)
    steps = sorted((dx * dx + dy * dy, dx, dy) for dx in span for dy in span if dx or dy)
    left = around.view(np.uint8)
    dense = 0
    while dense < len(steps) and cv2.countNonZero(left) > _DENSE * left.size:  # whole images at a time
        _, dx, dy = steps[dense]
        moved = (slice(_REACH + dy, _REACH + dy + height), slice(_REACH + dx, _REACH + dx + width))
        hit = left & foreground[moved]
        cv2.copyTo(spread[moved], hit, spread[_REACH : _REACH + height, _REACH : _REACH + width])
        left = left ^ hit
        dense += 1

    y, x = np.divmod(np.flatnonzero(left), width)
    left = (y + _REACH) * stride + x + _REACH
    values, foreground = spread.reshape(-1), foreground.reshape(-1).view(bool)
    for _, dx, dy in steps[dense:]:
        if not left.size:
            break
        step = dy * stride + dx
        hit = foreground[left + step]
        here = left[hit]
        values[here] = values[here + step]
        left = left[~hit]
    return spread


def _false(pred: np.ndarray, gt: np.ndarray) -> float:
    """Sum of the prediction outside of the foreground, each pixel weighted by 2 - 0.5 ** (distance / HALF)."""
    where = np.flatnonzero((pred > 0) & ~gt)
    if not where.size:
        return 0.0
    distance = cv2.distanceTransform((~gt).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).reshape(-1)[where]
    squared = np.rint(distance * distance).astype(np.intp)  # whole numbers again
    far = int(squared.max()) + 1
    if far <= where.size:
        weight = (2 - np.exp2(np.sqrt(np.arange(far)) / -HALF))[squared]
    else:
        weight = 2 - np.exp2(np.sqrt(squared) / -HALF)
    return float(pred.reshape(-1)[where] @ weight)
