"""Weighted F-measure: errors count by where they are.

"How to Evaluate Foreground Maps?" (Margolin et al., CVPR 2014). An error inside the object counts less where
its neighbourhood is right, and an error outside of it counts more the farther away it is. Equal to
PySODMetrics up to rounding errors, on the part of the image that matters and without its index transform.
"""

import cv2
import numpy as np

from dense.evaluation._inputs import pair

RADIUS = 3
SIGMA = 5.0
HALF = 5.0  # pixels over which the weight of a false positive gets halfway from 1 to 2

_EPS = 2.0**-52
# A pixel in the window of a foreground pixel has one at a distance of at most RADIUS * sqrt(2).
_REACH = int(RADIUS * 2**0.5)


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
    pred, gt = _cropped(pred, gt)
    outside = (pred > 0) & ~gt
    values = pred / 255.0 if pred.dtype == np.uint8 else pred.astype(np.float64)
    missed = _missed(values, gt)
    hits = positives - missed
    recall = 1 - missed / positives
    precision = hits / (hits + _false(values, gt, outside) + _EPS)
    return float(max(0.0, (1 + beta2) * recall * precision / (recall + beta2 * precision + _EPS)))


def _cropped(pred: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part that holds all foreground and all of the prediction, with a margin as wide as the window."""
    x, y, w, h = cv2.boundingRect(((pred > 0) | gt).view(np.uint8))
    rows, columns = slice(max(0, y - RADIUS), y + h + RADIUS), slice(max(0, x - RADIUS), x + w + RADIUS)
    return np.ascontiguousarray(pred[rows, columns]), np.ascontiguousarray(gt[rows, columns])


def _missed(values: np.ndarray, gt: np.ndarray) -> float:
    """Sum of the errors in the foreground, each at most the weighted mean of the errors around it."""
    partly = gt & (values < 1)
    if not partly.any():
        return 0.0
    # For that mean, background takes over the error of the nearest foreground; beyond the frame it is 0.
    error = cv2.copyMakeBorder(np.abs(values - gt), *[_REACH] * 4, cv2.BORDER_CONSTANT, value=0)
    window = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1), np.uint8)
    around = cv2.dilate(partly.view(np.uint8), window).view(bool) & ~gt
    target, source = _nearest(gt, around)
    flat = error.reshape(-1)
    flat[target] = flat[source]

    kernel = cv2.getGaussianKernel(2 * RADIUS + 1, SIGMA, cv2.CV_64F)
    mean = cv2.sepFilter2D(error, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    inner = (slice(_REACH, -_REACH),) * 2
    return float(np.minimum(error[inner][partly], mean[inner][partly]).sum())


def _nearest(gt: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest foreground of the pixels ``around``, at most ``_REACH`` rows and columns away.

    Of equally near ones, the leftmost, and of those the topmost: the choice of scipy's distance transform,
    and so of PySODMetrics.

    Returns:
        Flat indices of the pixels, in no order, and of their foreground pixels, in arrays that are ``_REACH``
        larger on each side.
    """
    padded = cv2.copyMakeBorder(gt.view(np.uint8), *[_REACH] * 4, cv2.BORDER_CONSTANT, value=0)
    width = padded.shape[1]
    foreground = padded.reshape(-1).view(bool)
    y, x = np.divmod(np.flatnonzero(around), gt.shape[1])
    left = (y + _REACH) * width + x + _REACH
    span = range(-_REACH, _REACH + 1)
    steps = sorted((dx * dx + dy * dy, dx, dy) for dx in span for dy in span)
    targets, sources = [left[:0]], [left[:0]]
    for _, dx, dy in steps:
        if not left.size:
            break
        step = dy * width + dx
        hit = foreground[left + step]
        targets.append(left[hit])
        sources.append(targets[-1] + step)
        left = left[~hit]
    return np.concatenate(targets), np.concatenate(sources)


def _false(values: np.ndarray, gt: np.ndarray, outside: np.ndarray) -> float:
    """Sum of the prediction outside of the foreground, each pixel weighted by 2 - 0.5 ** (distance / HALF)."""
    where = np.flatnonzero(outside)
    if not where.size:
        return 0.0
    distance = cv2.distanceTransform((~gt).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).reshape(-1)[where]
    distance = np.sqrt(np.rint(distance.astype(np.float64) ** 2))  # float32 roots of whole numbers
    return float(values.reshape(-1)[where] @ (2 - np.exp2(distance / -HALF)))
