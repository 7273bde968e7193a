"""S-measure: how well a prediction keeps the structure of the object.

"Structure-measure: A New Way to Evaluate Foreground Maps" (Fan et al., ICCV 2017). 8-bit predictions are
reduced to histograms, so that their sums are exact.
"""

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from dense.evaluation._inputs import LEVELS, as_levels, histogram, pair

_EPS = 2.0**-52  # MATLAB's eps, which the published code adds to denominators


def s_measure(pred: np.ndarray, gt: np.ndarray, alpha: float = 0.5) -> float:
    """S-measure, 0 to 1: alpha times the object-aware similarity plus (1 - alpha) times the region-aware one.

    Args:
        pred: (H, W), uint8 0..255, float 0..1 or bool.
        gt: (H, W), uint8 (foreground is > 128) or bool.
        alpha: weight of the object-aware part, 0..1; published results use 0.5.

    Returns:
        The measure. For an empty ground truth 1 minus the mean of the prediction, for a full one the mean.
        It differs from PySODMetrics in two corner cases. Where the centroid lies in the last row or column,
        two of the four regions are empty: they are left out, there the result is NaN. And a region in which
        both masks are constant scores 1; there it does so only if the mean of its grey values is free of
        rounding errors, and 0 otherwise.

    Raises:
        ValueError: shapes that differ or are not (H, W), no pixel, another dtype, values out of range, a
            ``gt`` of 0/1 labels in uint8, or alpha out of range.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in 0..1, got {alpha!r}")
    pred, gt = pair(pred, gt)
    sums = _histogram_sums if pred.dtype in (np.uint8, np.bool_) else _float_sums
    values = as_levels(pred) if sums is _histogram_sums else pred.astype(np.float64, copy=False)

    positives = np.count_nonzero(gt)
    if positives in (0, gt.size):
        mean = sums(values, gt).mean
        return 1 - mean if positives == 0 else mean

    height, width = gt.shape
    y, x = _centroid(gt, positives)
    regions = []
    for rows in (slice(0, y), slice(y, height)):
        for columns in (slice(0, x), slice(x, width)):
            part = gt[rows, columns]
            if part.size:
                regions.append(sums(values[rows, columns], part))
    region = sum(r.size / gt.size * _similarity(r) for r in regions)

    share = positives / gt.size
    inside, outside = _merged([r.inside for r in regions]), _merged([r.outside for r in regions])
    object_ = share * _object_score(inside.mean, inside.variance)
    object_ += (1 - share) * _object_score(1 - outside.mean, outside.variance)
    return float(max(0.0, alpha * object_ + (1 - alpha) * region))


class _Moments(NamedTuple):
    """Number, mean and sum of squared deviations of some values in 0..1."""

    size: int
    mean: float
    squares: float

    @property
    def variance(self) -> float:
        return self.squares / (self.size - 1) if self.size > 1 else 0.0


class _Region(NamedTuple):
    """Prediction inside and outside of the foreground."""

    inside: _Moments
    outside: _Moments

    @property
    def size(self) -> int:
        return self.inside.size + self.outside.size

    @property
    def mean(self) -> float:
        return _merged(self).mean


def _histogram_sums(levels: np.ndarray, gt: np.ndarray) -> _Region:
    inside = histogram(levels, gt)
    return _Region(_of_histogram(inside), _of_histogram(histogram(levels) - inside))


def _of_histogram(counts: np.ndarray) -> _Moments:
    x = np.arange(LEVELS)
    n, first, second = int(counts.sum()), int(counts @ x), int(counts @ (x * x))
    if n == 0:
        return _Moments(0, 0.0, 0.0)
    return _Moments(n, first / (255 * n), (n * second - first * first) / (255 * 255 * n))


def _float_sums(values: np.ndarray, gt: np.ndarray) -> _Region:
    return _Region(_of_values(values[gt]), _of_values(values[~gt]))


def _of_values(values: np.ndarray) -> _Moments:
    if values.size == 0:
        return _Moments(0, 0.0, 0.0)
    rest = values - values[0]  # zeros where they are constant, and then so is the sum of squares
    mean = float(rest.mean())
    rest -= mean
    return _Moments(values.size, float(values[0]) + mean, float(rest @ rest))


def _merged(parts: Iterable[_Moments]) -> _Moments:
    parts = [part for part in parts if part.size]
    if len(parts) == 1:  # as it is: rounding would give constant values a variance
        return parts[0]
    n = sum(part.size for part in parts)
    mean = sum(part.size * part.mean for part in parts) / n
    squares = sum(part.squares + part.size * (part.mean - mean) ** 2 for part in parts)
    return _Moments(n, mean, squares)


def _centroid(gt: np.ndarray, positives: int) -> tuple[int, int]:
    """Rows and columns left of and above the dividing lines; the centroid's own belong to them."""
    mask = gt.view(np.uint8)
    sums = (cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).reshape(-1).astype(np.int64) for axis in (1, 0))
    y, x = (round(int(s @ np.arange(len(s))) / positives) + 1 for s in sums)  # halves go to the even side
    return y, x


def _object_score(mean: float, variance: float) -> float:
    return 2 * mean / (mean**2 + 1 + variance**0.5 + _EPS)


def _similarity(region: _Region) -> float:
    """SSIM of a prediction and a mask without the constants."""
    n = region.size
    if n == 1:
        return 1.0
    whole = _merged(region)
    x, y = whole.mean, region.inside.size / n
    variances = whole.squares + region.inside.size * region.outside.size / n
    covariance = region.inside.size * (region.inside.mean - x)
    numerator = 4 * x * y * covariance / (n - 1)
    denominator = (x**2 + y**2) * variances / (n - 1)
    if numerator == 0:
        return 1.0 if denominator == 0 else 0.0
    return numerator / (denominator + _EPS)
