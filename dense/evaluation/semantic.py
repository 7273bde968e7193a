"""Measures of semantic segmentation: what images count, and what a data set makes of the counts.

IoU and accuracy are those of mmsegmentation's IoUMetric (all images pooled); the boundary IoU of a class pools the
bands of all images (Cheng et al., CVPR 2021, see ``boundary``).
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from dense.evaluation.boundary import band_overlap, reach


@dataclass(frozen=True)
class SemanticCounts:
    """Counts of one image or of many.

    confusion: pixels int64 (classes, classes), truth by row, prediction by column. boundary: pixels int64 (classes, 2)
    in intersection and union of the boundary bands, None where they were not asked for.
    """

    confusion: np.ndarray
    boundary: np.ndarray | None = None

    def __add__(self, other: SemanticCounts) -> SemanticCounts:
        both = None if self.boundary is None or other.boundary is None else self.boundary + other.boundary
        return SemanticCounts(self.confusion + other.confusion, both)


def count_semantic(pred: np.ndarray, truth: np.ndarray, classes: int, ignore_index: int = 255,
                   boundary: bool = True, dilation_ratio: float = 0.02) -> SemanticCounts:
    """Counts of one image.

    Args:
        pred, truth: class of each pixel, whole numbers (H, W).
        classes: their number. ignore_index: value of ``truth`` where nothing is counted; in ``pred`` it is no class.
        boundary: count the bands along the outlines too. Ignored pixels belong to no class there, in both.
        dilation_ratio: width of the bands in parts of the image's diagonal.

    Raises:
        ValueError: arrays of another form or of different shapes, or values that are no class.
    """
    pred, truth = np.asarray(pred), np.asarray(truth)
    for name, array in (("pred", pred), ("truth", truth)):
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} is {array.dtype} {array.shape}: expected classes as whole numbers (H, W)")
    if pred.shape != truth.shape:
        raise ValueError(f"pred has the shape {pred.shape}, but truth {truth.shape}: resize pred first, nearest")
    known = truth != ignore_index
    for name, values in (("pred", pred[known]), ("truth", truth[known])):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            strange = np.unique(values[(values < 0) | (values >= classes)])
            raise ValueError(f"{name} has the values {', '.join(map(str, strange[:8]))}, which are none of the "
                             f"{classes} classes 0..{classes - 1}")
    flat = truth[known].astype(np.int64) * classes + pred[known]
    confusion = np.bincount(flat, minlength=classes * classes).reshape(classes, classes)
    if not boundary:
        return SemanticCounts(confusion)
    d = reach(dilation_ratio, truth.shape)
    bands = np.zeros((classes, 2), np.int64)
    for index in np.flatnonzero(confusion.sum(0) + confusion.sum(1)):
        bands[index] = band_overlap((pred == index) & known, truth == index, d)
    return SemanticCounts(confusion, bands)


def summarise_semantic(counts: SemanticCounts | Sequence[SemanticCounts], names: Sequence[str]) -> dict[str, float]:
    """Figures 0..1 of a data set.

    'mIoU', 'mBIoU' (where bands were counted), 'mAcc': means over classes; 'aAcc': share of pixels that are right;
    then 'IoU.NAME', 'BIoU.NAME' and 'Acc.NAME' of each class.
    A class that occurs neither in truth nor in prediction has no IoU, one that is not in truth no accuracy; they have
    no entry and no part in the means.
    """
    if not isinstance(counts, SemanticCounts):
        counts = reduce(SemanticCounts.__add__, counts)
    confusion = counts.confusion.astype(float)
    right, true, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    tables = {"IoU": (right, true + predicted - right)}
    if counts.boundary is not None:
        tables["BIoU"] = tuple(counts.boundary.T.astype(float))
    tables["Acc"] = (right, true)
    means, each = {}, {}
    for measure, (part, whole) in tables.items():
        values = {name: float(p / w) for name, p, w in zip(names, part, whole, strict=True) if w > 0}
        means[f"m{measure}"] = sum(values.values()) / len(values) if values else 0.0
        each |= {f"{measure}.{name}": value for name, value in values.items()}
    total = confusion.sum()
    return means | {"aAcc": float(right.sum() / total) if total else 0.0} | each


def class_table(figures: Mapping[str, float], names: Sequence[str]) -> str:
    """Markdown: the figures of each class, and their means; '-' where a class has none."""
    measures = [m for m in ("IoU", "BIoU", "Acc") if f"m{m}" in figures]
    rows = [[name, *(figures.get(f"{m}.{name}") for m in measures)] for name in names]
    rows.append(["mean", *(figures[f"m{m}"] for m in measures)])
    lines = ["| class | " + " | ".join(measures) + " |", "|---|" + "---:|" * len(measures)]
    for name, *values in rows:
        lines.append(f"| {name} | " + " | ".join("-" if v is None else f"{v:.3f}" for v in values) + " |")
    return "\n".join(lines) + "\n"


def majority_counts(truths: Iterable[np.ndarray], majority: int, classes: int, ignore_index: int = 255,
                    boundary: bool = True) -> SemanticCounts:
    """Counts of a predictor that gives every pixel the class ``majority``: the baseline that a network must beat."""
    return reduce(SemanticCounts.__add__, (
        count_semantic(np.full(t.shape, majority, np.int64), t, classes, ignore_index, boundary) for t in truths))


def most_frequent(truths: Iterable[np.ndarray], classes: int, ignore_index: int = 255) -> int:
    """The class with the most pixels."""
    return int(np.argmax(sum(np.bincount(t[t != ignore_index].astype(np.int64), minlength=classes) for t in truths)))


def draw_confusion(confusion: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """uint8 RGB (H, W, 3): shares of each true class (row) that were given each class (column), in percent.

    Rows of classes that never occur are grey.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(names)
    total = confusion.sum(1, keepdims=True)
    share = np.where(total > 0, 100 * confusion / np.maximum(total, 1), np.nan)
    side = 0.42 * count + 2.2
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set_facecolor("0.85")
    shown = axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
    labels = [name.replace("$", r"\$") for name in names]
    axis.set_xticks(range(count), labels, rotation=90)
    axis.set_yticks(range(count), labels)
    axis.set(xlabel="predicted", ylabel="true")
    for row, column in np.argwhere(share >= 0.5):
        value = share[row, column]
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7,
                  color="white" if value > 55 else "black")
    figure.colorbar(shown, shrink=0.7, label="% of the true class")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
