"""Measures of salient object and dichotomous segmentation: precision and recall, F-measure, MAE, IoU.

Per image, all of them take a prediction and a ground truth of equal size (H, W):

* the prediction is uint8 0..255, float 0..1 (rounding errors of 1e-6 beyond that are clipped) or bool;
* the ground truth is uint8 0..255 (foreground is > 128) or bool.

Nothing is stretched: PySODMetrics normalises every prediction to its own minimum and maximum by default,
which turns the noise of a prediction without a subject into a full-strength mask. Its results with
``normalize=False`` are the ones to compare with. Nothing here returns NaN; what takes the place of 0 / 0 is
said with each function.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np

from dense.evaluation._inputs import binarise

BETA2 = 0.3
THRESHOLDS = 256

_TOLERANCE = 1e-6


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


def precision_recall(pred: np.ndarray, gt: np.ndarray) -> PRCounts:
    """Count what the prediction selects at each of the 256 thresholds.

    Args:
        pred: (H, W), see the module. Floats are rounded to the nearest of the 256 levels.
        gt: (H, W), see the module.

    Returns:
        The counts. Without foreground in ``gt``, precision and recall (and F) are 0 at every threshold,
        whatever was predicted, as in PySODMetrics: the F-measure says nothing about such images, so leave
        them out of its mean and judge them by :func:`mae`.

    Raises:
        ValueError: shapes that differ or are not (H, W), no pixel, another dtype, values out of range, or a
            ``gt`` of 0/1 labels in uint8.
    """
    pred, gt = _pair(pred, gt)
    if pred.dtype == np.bool_:
        levels = pred.astype(np.uint8) * np.uint8(255)
    elif pred.dtype == np.uint8:
        levels = pred
    else:
        levels = np.rint(pred * 255).astype(np.uint8)
    foreground = np.bincount(levels[gt], minlength=THRESHOLDS)
    everything = np.bincount(levels.reshape(-1), minlength=THRESHOLDS)
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
    target = np.asarray(gt)
    pred, gt = _pair(pred, gt)
    target = gt if binary or target.dtype == np.bool_ else target / 255.0
    pred = pred / 255.0 if pred.dtype == np.uint8 else pred.astype(np.float64)
    return float(np.abs(pred - target).mean())


def iou(pred: np.ndarray, gt: np.ndarray, threshold: float = 0.5) -> float:
    """Intersection over union of the thresholded prediction and the ground truth, 0 to 1 (equal).

    Args:
        pred: (H, W), see the module.
        gt: (H, W), see the module.
        threshold: pixels of at least this value are foreground, in (0, 1]; the value of a uint8 is x / 255,
            so that 0.5 selects 128 and above.

    Returns:
        The ratio; 1.0 if both masks are empty, for they agree (PySODMetrics: 0).

    Raises:
        ValueError: as in :func:`precision_recall`, or a threshold out of range.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be above 0 and at most 1, got {threshold!r}")
    pred, gt = _pair(pred, gt)
    if pred.dtype == np.bool_:
        selected = pred
    elif pred.dtype == np.uint8:
        selected = (np.arange(256) / 255.0 >= threshold)[pred]
    else:
        selected = pred >= threshold
    union = np.count_nonzero(selected | gt)
    return np.count_nonzero(selected & gt) / union if union else 1.0


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
    if not 0 < beta2 < np.inf:
        raise ValueError(f"beta2 must be a finite number > 0, got {beta2!r}")
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


def _f(precision: np.ndarray, recall: np.ndarray, beta2: float) -> np.ndarray:
    denominator = beta2 * precision + recall
    f = np.zeros_like(denominator)
    np.divide((1 + beta2) * precision * recall, denominator, out=f, where=denominator > 0)
    return f


def _from_above(histogram: np.ndarray) -> np.ndarray:
    """How many values are >= t, for every level t."""
    return np.cumsum(histogram[::-1], dtype=np.int64)[::-1]


def _pair(pred: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checked prediction (bool, uint8, or float32/64 in 0..1) and ground truth (bool), both (H, W)."""
    pred, gt = np.asarray(pred), np.asarray(gt)
    if pred.shape != gt.shape:
        raise ValueError(f"pred has the shape {pred.shape}, but gt {gt.shape}: resize pred first")
    if gt.ndim != 2:
        raise ValueError(f"pred and gt have the shape {gt.shape}: expected (H, W)")
    if gt.size == 0:
        raise ValueError(f"pred and gt have the shape {gt.shape}, which holds no pixel")
    gt = binarise(gt, "gt", refuse_labels=True)
    if np.issubdtype(pred.dtype, np.floating):
        low, high = float(pred.min()), float(pred.max())
        if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # NaN fails both
            raise ValueError(
                f"pred has dtype {pred.dtype} and values from {low:g} to {high:g}: expected 0..1 "
                "(divide 0..255 by 255, apply the sigmoid to logits)"
            )
        return np.clip(pred.astype(np.promote_types(pred.dtype, np.float32), copy=False), 0, 1), gt
    if pred.dtype not in (np.uint8, np.bool_):
        raise ValueError(f"pred has dtype {pred.dtype}: expected uint8 (0..255), float (0..1) or bool")
    return pred, gt
