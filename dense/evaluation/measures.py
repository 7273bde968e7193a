"""The table of measures of predicted masks: what an image yields, and what a data set makes of it.

Everything that names a measure (``dense eval``, ``dense test``, mmengine's metrics, tables and curves) reads
it here. Neither torch nor mmengine is needed.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dense.errors import ConfigError
from dense.evaluation._inputs import binarise
from dense.evaluation.hce import HCE, Skeleton, human_correction_efforts
from dense.evaluation.saliency import PRCounts, f_curve, iou, mae, max_f, mean_f, precision_recall, stretch

# raise when the figures of the same two files change: what an earlier run kept is then computed anew
VERSION = 1

Row = dict[str, Any]
"""An image's figures under the names of the measures, and what data sets are aggregated from."""

HCE_PARTS = tuple(f"HCE_{part}" for part in HCE._fields)


class ImagePair:
    """A prediction and its ground truth, with what several measures share.

    pred: uint8 0..255, float 0..1 or bool (H, W). gt: uint8 (foreground is > 128) or bool (H, W).
    skeleton: of the ground truth, or what makes it (see ``human_correction_efforts``).
    stretched: stretch the prediction to its own minimum and maximum first, and round as PySODMetrics does.

    Raises ValueError for a ground truth of 0/1 labels in uint8 or of another dtype.
    """

    def __init__(self, pred: np.ndarray, gt: np.ndarray, skeleton: Skeleton = None, stretched: bool = False):
        self.pred = stretch(pred) if stretched else pred
        self.gt, self.skeleton = binarise(gt, "gt", refuse_labels=True), skeleton
        self.rounding = "down" if stretched else "nearest"

    @cached_property
    def counts(self) -> PRCounts:
        return precision_recall(self.pred, self.gt, rounding=self.rounding)

    @cached_property
    def e_curve(self) -> np.ndarray:
        return _e_curve(self.counts)

    @cached_property
    def efforts(self) -> HCE:
        pred = self.pred
        if np.issubdtype(pred.dtype, np.floating):
            pred = np.rint(pred * 255).astype(np.uint8)
        return human_correction_efforts(pred, self.gt, self.skeleton)


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: as in options, tables and files.
        title: in words.
        higher: whether more is better.
        digits: decimals in tables.
        of_image: the figure of an image.
        of_set: the figure of a data set from the rows of its images; None is the plain mean of their figures.
        counts: whether ``of_set`` reads the images' counts.
        skeleton: whether the skeleton of the ground truth is needed.
    """

    name: str
    title: str
    higher: bool
    digits: int
    of_image: Callable[[ImagePair], float]
    of_set: Callable[[Sequence[Row]], float] | None = None
    counts: bool = False
    skeleton: bool = False


def _e_curve(counts: PRCounts) -> np.ndarray:
    from dense.evaluation.alignment import e_curve_of

    return e_curve_of(counts)


def _s(pair: ImagePair) -> float:
    from dense.evaluation.structure import s_measure

    return s_measure(pair.pred, pair.gt)


def _weighted(pair: ImagePair) -> float:
    from dense.evaluation.weighted import weighted_f

    return weighted_f(pair.pred, pair.gt)


def _boundary(pair: ImagePair) -> float:
    from dense.evaluation.boundary import boundary_iou

    return boundary_iou(pair.pred, pair.gt)


def _adaptive_f(pair: ImagePair) -> float:
    from dense.evaluation.saliency import adaptive_f

    return adaptive_f(pair.pred, pair.gt)


def _adaptive_e(pair: ImagePair) -> float:
    from dense.evaluation.alignment import e_adaptive

    return e_adaptive(pair.pred, pair.gt)


MEASURES = {measure.name: measure for measure in (
    Measure("maxF", "maximum F-measure of the mean precision-recall curve", True, 3,
            lambda pair: max_f([pair.counts]), lambda rows: max_f(counts_of(rows)), True),
    Measure("maxF_image", "maximum of the mean F-measure curve", True, 3,
            lambda pair: max_f([pair.counts]), lambda rows: max_f(counts_of(rows), average="image"), True),
    Measure("meanF", "mean F-measure over all thresholds", True, 3, lambda pair: mean_f([pair.counts])),
    Measure("adpF", "F-measure at the adaptive threshold", True, 3, _adaptive_f),
    Measure("wF", "weighted F-measure", True, 3, _weighted),
    Measure("MAE", "mean absolute error", False, 3, lambda pair: mae(pair.pred, pair.gt)),
    Measure("S", "structure measure", True, 3, _s),
    Measure("maxE", "maximum of the mean E-measure curve", True, 3,
            lambda pair: pair.e_curve.max(), lambda rows: mean_e_curve(rows).max(), True),
    Measure("meanE", "mean E-measure over all thresholds", True, 3, lambda pair: pair.e_curve.mean()),
    Measure("adpE", "E-measure at the adaptive threshold", True, 3, _adaptive_e),
    Measure("HCE", "human correction efforts", False, 0, lambda pair: pair.efforts.total, skeleton=True),
    Measure("IoU", "intersection over union", True, 3, lambda pair: iou(pair.pred, pair.gt)),
    Measure("BIoU", "boundary intersection over union", True, 3, _boundary),
)}  # fmt: skip

GROUPS = {
    "all": tuple(MEASURES),
    "fast": ("maxF", "meanF", "adpF", "MAE", "IoU"),
    "dis": ("maxF", "wF", "MAE", "S", "meanE", "HCE"),
}
"""Names for several measures; "dis" are the columns of the DIS paper, "fast" takes milliseconds an image."""


def resolve(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names of measures from names and groups, as a list or separated by commas; capitals do not matter.

    Raises:
        ConfigError: an unknown name, or none.
    """
    spelt = {name.lower(): (name,) for name in MEASURES} | GROUPS
    found: dict[str, None] = {}
    for name in names.split(",") if isinstance(names, str) else names:
        if not (key := name.strip().lower()):
            continue
        if key not in spelt:
            near = difflib.get_close_matches(key, spelt, 1)
            hint = f"; did you mean {spelt[near[0]][0] if near[0] not in GROUPS else near[0]}?" if near else ""
            raise ConfigError(f"unknown metrics {name}; known: {', '.join([*GROUPS, *MEASURES])}{hint}")
        found |= dict.fromkeys(spelt[key])
    if not found:
        raise ConfigError(f"no metric is named; known: {', '.join([*GROUPS, *MEASURES])}")
    return tuple(found)


def evaluate_pair(
    pred: np.ndarray, gt: np.ndarray, names: Sequence[str] = ("maxF", "MAE", "IoU", "HCE"),
    skeleton: Skeleton = None, stretched: bool = False,
) -> Row:
    """The figures of one prediction (H, W) against a mask (H, W), see :class:`ImagePair`, as plain numbers.

    ``counts`` (see ``PRCounts``) go into figures and curves of the data set; ``HCE`` comes with its parts,
    ``HCE_fp_points`` and so on.

    Raises:
        ValueError: shapes that differ, another dtype, no pixel, a ground truth of 0/1 labels.
    """
    pair = ImagePair(pred, gt, skeleton, stretched)
    row: Row = {}
    for name in names:
        measure = MEASURES[name]
        value = measure.of_image(pair)
        row[name] = int(value) if measure.digits == 0 else float(value)
        if name == "HCE":
            row |= {part: int(value) for part, value in zip(HCE_PARTS, pair.efforts, strict=True)}
        if measure.counts:
            counts = pair.counts
            row["counts"] = [counts.true_positives.tolist(), counts.predicted.tolist(), int(counts.positives)]
    return row


def columns(names: Sequence[str]) -> list[str]:
    """The columns of a table of images: the measures, HCE followed by its parts."""
    return [column for name in names for column in ((name, *HCE_PARTS) if name == "HCE" else (name,))]


def summarise(rows: Sequence[Row], names: Sequence[str] = ("maxF", "MAE", "IoU", "HCE")) -> dict[str, float]:
    """Figures of a data set from the rows of its images, at least one."""
    figures = {}
    for name in names:
        of_set = MEASURES[name].of_set
        figures[name] = float(of_set(rows) if of_set else np.mean([row[name] for row in rows]))
    return figures


def counts_of(rows: Sequence[Row]) -> Iterator[PRCounts]:
    """The counts of the images' rows."""
    for row in rows:
        true_positives, predicted, positives = row["counts"]
        yield PRCounts(np.asarray(true_positives), np.asarray(predicted), positives)


def mean_e_curve(rows: Sequence[Row]) -> np.ndarray:
    """float64 (256,): the mean of the images' E-measure at every threshold."""
    return np.mean([_e_curve(counts) for counts in counts_of(rows)], axis=0)


def mean_curves(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean precision, mean recall and the F-measure of these, float64 (256,) each, by threshold."""
    precision = np.mean([counts.precision for counts in counts_of(rows)], axis=0)
    recall = np.mean([counts.recall for counts in counts_of(rows)], axis=0)
    return precision, recall, f_curve(counts_of(rows))
