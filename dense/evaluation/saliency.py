"""Measures of salient object and dichotomous segmentation: precision and recall, F-measure, MAE, IoU.

S-measure, E-measure, weighted F-measure and boundary IoU are beside this file and take the same arrays.

Per image, all of them take a prediction and a ground truth of equal size (H, W):

* the prediction is uint8 0..255, float 0..1 (rounding errors of 1e-6 beyond that are clipped) or bool;
* the ground truth is uint8 0..255 (foreground is > 128) or bool.

Nothing is stretched: PySODMetrics normalises every prediction to its own minimum and maximum by default,
which turns the noise of a prediction without a subject into a full-strength mask. Its results with
``normalize=False`` are the ones to compare with; for the others there is :func:`stretch`. Nothing here
returns NaN; what takes the place of 0 / 0 is said with each function.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import cv2
import numpy as np

from dense.evaluation._inputs import LEVELS, Rounding, as_levels, as_selected, histogram, pair, prediction

BETA2 = 0.3
THRESHOLDS = LEVELS


class PRCounts(NamedTuple):
    """What an image's prediction selects at every threshold t = 0..255, by ``prediction >= t``.

    Attributes:
        true_positives: int64 (256,), selected pixels of the foreground.
        predicted: int64 (256,), selected pixels; ``predicted[0]`` is the number of pixels of the image.
        positives: pixels of the foreground.
    """

    true_positives: np.ndarray
    predicted: np.ndarray
    positives: int

    @property
    def precision(self) -> np.ndarray:
        """float64 (256,): true positives / selected pixels, 0 where nothing is selected."""
        return self.true_positives / np.maximum(self.predicted, 1)

    @property
    def recall(self) -> np.ndarray:
        """float64 (256,): true positives / foreground, 0 if the ground truth is empty."""
        return self.true_positives / max(self.positives, 1)


def stretch(pred: np.ndarray) -> np.ndarray:
    """A prediction stretched to its own minimum and maximum, as PySODMetrics does by default.

    For comparison with tables made that way; every measure takes the result in place of the prediction.
    PySODMetrics then rounds *down* to the 256 thresholds, so its curves are those of
    ``precision_recall(stretch(pred), gt, rounding="down")`` and ``e_curve(stretch(pred), gt, rounding="down")``.

    Args:
        pred: (H, W), see the module.

    Returns:
        float64 (H, W) in 0..1; a constant prediction, which has no contrast to stretch, stays as it is.

    Raises:
        ValueError: another shape, no pixel, another dtype or values out of range.
    """
    pred = np.asarray(pred)
    if pred.ndim != 2 or pred.size == 0:
        raise ValueError(f"pred has the shape {pred.shape}: expected (H, W) with at least one pixel")
    pred = prediction(pred)
    if pred.dtype == np.bool_:
        return pred.astype(np.float64)  # full contrast, or constant
    if pred.dtype == np.uint8:
        return _stretched(np.arange(LEVELS) / 255, int(pred.min()) / 255, int(pred.max()) / 255)[pred]
    return _stretched(pred.astype(np.float64), float(pred.min()), float(pred.max()))


def precision_recall(pred: np.ndarray, gt: np.ndarray, *, rounding: Rounding = "nearest") -> PRCounts:
    """Count what the prediction selects at each of the 256 thresholds.

    Args:
        pred: (H, W), see the module.
        gt: (H, W), see the module.
        rounding: floats go to the "nearest" of the 256 levels, or to the next one "down", as in PySODMetrics.

    Returns:
        The counts. Without foreground in ``gt``, precision and recall (and F) are 0 at every threshold,
        whatever was predicted, as in PySODMetrics: the F-measure says nothing about such images, so leave
        them out of its mean and judge them by :func:`mae`.

    Raises:
        ValueError: shapes that differ or are not (H, W), no pixel, another dtype, values out of range, a
            ``gt`` of 0/1 labels in uint8, or another rounding.
    """
    pred, gt = pair(pred, gt)
    levels = as_levels(pred, rounding)
    foreground, everything = histogram(levels, gt), histogram(levels)
    return PRCounts(_from_above(foreground), _from_above(everything), int(foreground.sum()))


def mae(pred: np.ndarray, gt: np.ndarray, *, binary: bool = True) -> float:
    """Mean absolute error, 0 (equal) to 1.

    Args:
        pred: (H, W), see the module. Floats are compared as they are, without rounding to 256 levels.
        gt: (H, W), see the module.
        binary: False compares with the grey values ``gt / 255`` instead of the mask ``gt > 128``, for ground
            truth with soft edges. Published results use the mask.

    Raises:
        ValueError: as in :func:`precision_recall`.
    """
    grey = np.asarray(gt)
    pred, gt = pair(pred, gt)
    if binary or grey.dtype == np.bool_:
        grey = gt
    if pred.dtype in (np.uint8, np.bool_):
        return cv2.norm(as_levels(pred), as_levels(grey), cv2.NORM_L1) / (255 * pred.size)
    return float(np.abs(pred.astype(np.float64) - (grey if grey is gt else grey / 255)).mean())


def iou(pred: np.ndarray, gt: np.ndarray, threshold: float = 0.5) -> float:
    """Intersection over union of the thresholded prediction and the ground truth, 0 to 1 (equal).

    Args:
        pred: (H, W), see the module.
        gt: (H, W), see the module.
        threshold: pixels of at least this value are foreground, in (0, 1]; the value of a uint8 is x / 255,
            so that 0.5 selects 128 and above. The handler "binary" of PySODMetrics takes what is *above* 0.5,
            which is ``np.nextafter(0.5, 1)`` here; for a uint8 it is the same.

    Returns:
        The ratio; 1.0 if both masks are empty, for they agree (PySODMetrics: 0).

    Raises:
        ValueError: as in :func:`precision_recall`, or a threshold out of range.
    """
    pred, gt = pair(pred, gt)
    selected = as_selected(pred, threshold)
    union = np.count_nonzero(selected | gt)
    return float(np.count_nonzero(selected & gt) / union) if union else 1.0


def f_curve(
    curves: Iterable[PRCounts],
    beta2: float = BETA2,
    *,
    average: Literal["dataset", "image"] = "dataset",
) -> np.ndarray:
    """F-measure of a data set at each of the 256 thresholds.

    F = (1 + beta2) * precision * recall / (beta2 * precision + recall), and 0 where both are 0.

    Args:
        curves: what :func:`precision_recall` returns, one for each image; a generator will do.
        beta2: beta squared, > 0; the literature uses 0.3.
        average: "dataset" takes F of the mean precision and recall curves, as the DIS paper does; "image"
            takes the mean of the images' F curves, as PySODMetrics does.

    Returns:
        float64 (256,).

    Raises:
        ValueError: no image, or beta2 or average out of range.
    """
    _check_beta2(beta2)
    if average not in ("dataset", "image"):
        raise ValueError(f'average must be "dataset" or "image", got {average!r}')
    if isinstance(curves, PRCounts):
        curves = [curves]
    count = 0
    precision, recall, f = np.zeros(THRESHOLDS), np.zeros(THRESHOLDS), np.zeros(THRESHOLDS)
    for curve in curves:
        count += 1
        if average == "image":
            f += _f(curve.precision, curve.recall, beta2)
        else:
            precision += curve.precision
            recall += curve.recall
    if count == 0:
        raise ValueError("the F-measure of a data set needs at least one image, got none")
    return f / count if average == "image" else _f(precision / count, recall / count, beta2)


def max_f(
    curves: Iterable[PRCounts],
    beta2: float = BETA2,
    *,
    average: Literal["dataset", "image"] = "dataset",
) -> float:
    """The largest F-measure over all thresholds, "maxF" of the DIS paper; see :func:`f_curve`."""
    return float(f_curve(curves, beta2, average=average).max())


def mean_f(
    curves: Iterable[PRCounts],
    beta2: float = BETA2,
    *,
    average: Literal["dataset", "image"] = "dataset",
) -> float:
    """The mean F-measure over all thresholds; see :func:`f_curve`."""
    return float(f_curve(curves, beta2, average=average).mean())


def adaptive_f(pred: np.ndarray, gt: np.ndarray, beta2: float = BETA2) -> float:
    """F-measure of the prediction at the threshold that Achanta et al. (CVPR 2009) derive from itself.

    The threshold is twice the mean of the prediction, at most 1; what reaches it is selected. So an empty
    prediction selects everything.

    Args:
        pred: (H, W), see the module. Floats are compared as they are, without rounding to 256 levels.
        gt: (H, W), see the module.
        beta2: beta squared, > 0; the literature uses 0.3.

    Returns:
        The F-measure, 0 to 1; 0.0 if nothing selected is foreground, hence for every empty ground truth.

    Raises:
        ValueError: as in :func:`precision_recall`, or beta2 out of range.
    """
    _check_beta2(beta2)
    true_positives, predicted, positives = adaptive_counts(pred, gt)
    if true_positives == 0:
        return 0.0
    precision, recall = true_positives / predicted, true_positives / positives
    return (1 + beta2) * precision * recall / (beta2 * precision + recall)


def adaptive_counts(pred: np.ndarray, gt: np.ndarray) -> tuple[int, int, int]:
    """Selected foreground pixels, selected pixels and foreground pixels at the threshold of :func:`adaptive_f`."""
    pred, gt = pair(pred, gt)
    if pred.dtype in (np.uint8, np.bool_):
        counts = precision_recall(pred, gt)
        total = int(counts.predicted[1:].sum())  # a pixel of level x is counted at the thresholds 1..x
        level = min(-(-2 * total // pred.size), THRESHOLDS - 1)  # in whole numbers: a tie is a tie
        return int(counts.true_positives[level]), int(counts.predicted[level]), counts.positives
    selected = pred >= min(2 * pred.mean(dtype=np.float64), 1.0)
    return np.count_nonzero(selected & gt), np.count_nonzero(selected), np.count_nonzero(gt)


def _check_beta2(beta2: float) -> None:
    if not 0 < beta2 < np.inf:
        raise ValueError(f"beta2 must be a finite number > 0, got {beta2!r}")


def _stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (values - low) / (high - low) if high > low else values


def _f(precision: np.ndarray, recall: np.ndarray, beta2: float) -> np.ndarray:
    denominator = beta2 * precision + recall
    f = np.zeros_like(denominator)
    np.divide((1 + beta2) * precision * recall, denominator, out=f, where=denominator > 0)
    return f


def _from_above(counts: np.ndarray) -> np.ndarray:
    """How many values are >= t, for every level t."""
    return np.cumsum(counts[::-1], dtype=np.int64)[::-1]
