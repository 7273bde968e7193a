"""E-measure: agreement of a binary map with the ground truth, in its pixels and in its mean.

"Enhanced-alignment Measure for Binary Foreground Map Evaluation" (Fan et al., IJCAI 2018). The enhanced
alignment of a pixel depends only on whether it is selected and whether it is foreground, so four counts stand
for the whole matrix, at every threshold.
"""

import numpy as np

from dense.evaluation._inputs import Rounding
from dense.evaluation.saliency import PRCounts, adaptive_counts, precision_recall

_EPS = 2.0**-52


def e_curve(pred: np.ndarray, gt: np.ndarray, *, rounding: Rounding = "nearest") -> np.ndarray:
    """E-measure of ``pred >= t`` at each of the thresholds t = 0..255.

    Maximum and mean E of a data set are those of the mean of its images' curves. (PySODMetrics stores the
    curve the other way round, from 255 down to 0.)

    Args:
        pred: (H, W), uint8 0..255, float 0..1 or bool.
        gt: (H, W), uint8 (foreground is > 128) or bool.
        rounding: floats go to the "nearest" of the 256 levels, or to the next one "down", as in PySODMetrics.

    Returns:
        float64 (256,), >= 0. The published code divides the sum over the N pixels by N - 1, so that agreement
        in all pixels gives N / (N - 1), a little more than 1; an image of one pixel is divided by 1 (by nearly
        0 in PySODMetrics). An empty ground truth is scored by the share of pixels that are not selected, a
        full one by the share of those that are.

    Raises:
        ValueError: shapes that differ or are not (H, W), no pixel, another dtype, values out of range, a
            ``gt`` of 0/1 labels in uint8, or another rounding.
    """
    return e_curve_of(precision_recall(pred, gt, rounding=rounding))


def e_curve_of(counts: PRCounts) -> np.ndarray:
    """:func:`e_curve` of an image whose counts are known already; float64 (256,)."""
    size = int(counts.predicted[0])
    return _e_measure(counts.true_positives, counts.predicted, counts.positives, size)


def e_adaptive(pred: np.ndarray, gt: np.ndarray) -> float:
    """E-measure at the adaptive threshold, twice the mean of the prediction and at most 1.

    Args:
        pred: (H, W), uint8 0..255, float 0..1 (compared as they are) or bool. An empty one selects everything.
        gt: (H, W), uint8 (foreground is > 128) or bool.

    Returns:
        The measure, see :func:`e_curve`.

    Raises:
        ValueError: as in :func:`e_curve`.
    """
    true_positives, predicted, positives = adaptive_counts(pred, gt)
    return float(_e_measure(np.array(true_positives), np.array(predicted), positives, np.asarray(gt).size))


def _e_measure(true_positives: np.ndarray, predicted: np.ndarray, positives: int, size: int) -> np.ndarray:
    """E-measure from numbers of pixels; the first two may be arrays of equal shape."""
    if positives == 0:
        total = (size - predicted).astype(np.float64)
    elif positives == size:
        total = predicted.astype(np.float64)
    else:
        mean_pred, mean_gt = predicted / size, positives / size
        total = np.zeros(predicted.shape)
        false_positives, false_negatives = predicted - true_positives, positives - true_positives
        true_negatives = size - predicted - false_negatives
        for number, selected, foreground in (
            (true_positives, 1, 1),
            (false_positives, 1, 0),
            (false_negatives, 0, 1),
            (true_negatives, 0, 0),
        ):
            a, b = selected - mean_pred, foreground - mean_gt
            total += number * (2 * a * b / (a * a + b * b + _EPS) + 1) ** 2 / 4
    return total / max(size - 1, 1)
