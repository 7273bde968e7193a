"""COCO's measures of detection, by pycocotools, and objects that were missed or made up.

A truth is what a data set says of a picture, whatever the detector was fed; see ``TrueBoxes``.
"""
from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dense.errors import MissingDependencyError
from dense.io.boxes import Box
from dense.tasks.detection import Detections

MEANS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")
"""Mean over classes and IoU 0.5 to 0.95, IoU 0.5, IoU 0.75, objects below 32^2, below 96^2, larger (pixels of their
masks where known); AR: the mean recall with 100 objects a picture."""
EACH = ("AP", "AP50", "AR")  # of each class
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
MOST = 100


@dataclass(frozen=True, eq=False)
class TrueBoxes:
    """The objects of a picture. xywh: float64 (n, 4) in its pixels. labels: int64 (n,). crowd: bool (n,), regions that
    count neither for nor against what is found in them. area: float64 (n,), pixels."""

    xywh: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray

    @classmethod
    def of(cls, boxes: Sequence[Box]) -> TrueBoxes:
        """From the boxes of a file."""
        return cls(np.array([b.xywh for b in boxes], np.float64).reshape(-1, 4),
                   np.array([b.label for b in boxes], np.int64), np.array([b.crowd for b in boxes], bool),
                   np.array([b.pixels for b in boxes], np.float64))

    def __len__(self) -> int:
        return len(self.labels)

    def detections(self) -> Detections:
        """The objects, crowds left out, in the form of what a detector finds."""
        own = ~self.crowd
        boxes = self.xywh[own].astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        return Detections(boxes, np.ones(own.sum(), np.float32), self.labels[own])


def evaluate_boxes(truths: Sequence[TrueBoxes], found: Sequence[Detections],
                   classes: Sequence[str]) -> dict[str, float]:
    """``MEANS``, and ``EACH`` of each class as AP.NAME, in 0..1; NaN where there are no objects to be found.

    The figures are those of COCO's own evaluation (pycocotools). Boxes without a size or outside their picture are
    objects that nothing can find, as there.
    """
    precision, recall = accumulate(truths, found, classes)

    def mean(values: np.ndarray) -> float:
        values = values[values > -1]
        return float(values.mean()) if values.size else float("nan")

    figures = {"AP": mean(precision[..., 0]), "AP50": mean(precision[0, ..., 0]), "AP75": mean(precision[5, ..., 0])}
    figures |= {f"AP{name[0]}": mean(precision[..., index]) for index, name in enumerate(AREAS) if index}
    figures["AR"] = mean(recall[..., 0])
    for index, name in enumerate(classes):
        figures[f"AP.{name}"] = mean(precision[:, :, index, 0])
        figures[f"AP50.{name}"] = mean(precision[0, :, index, 0])
        figures[f"AR.{name}"] = mean(recall[:, index, 0])
    return figures


def accumulate(truths: Sequence[TrueBoxes], found: Sequence[Detections],
               classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Precision (10 IoUs, 101 recalls, classes, 4 areas) and recall (10, classes, 4) with 100 objects a picture; -1
    where there are no objects."""
    if len(truths) != len(found):
        raise ValueError(f"{len(truths)} pictures, but results of {len(found)}")
    if not any(len(f) for f in found) or not truths:  # pycocotools takes no empty list
        return _nothing(truths, len(classes))
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingDependencyError(f"COCO's measures are computed by pycocotools, which cannot be imported ({error}). "
                                     "Remedy: pip install 'dense[det]'") from None
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress
        true, seen = COCO(), COCO()
        true.dataset, seen.dataset = coco_values(truths, found, classes)
        true.createIndex()
        seen.createIndex()
        evaluation = COCOeval(true, seen, "bbox")
        evaluation.params.maxDets = [MOST]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = list(map(list, AREAS.values())), list(AREAS)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., 0], evaluation.eval["recall"][..., 0]


def _nothing(truths: Sequence[TrueBoxes], classes: int) -> tuple[np.ndarray, np.ndarray]:
    precision, recall = np.full((10, 101, classes, 4), -1.0), np.full((10, classes, 4), -1.0)
    for truth in truths:
        for label, crowd, area in zip(truth.labels, truth.crowd, truth.area, strict=True):
            for index, (low, high) in enumerate(AREAS.values()):
                if not crowd and low <= area <= high:
                    precision[:, :, label, index] = recall[:, label, index] = 0
    return precision, recall


def coco_values(truths: Sequence[TrueBoxes], found: Sequence[Detections],
                classes: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What pycocotools holds of an instances file, and of results. Annotations count from 1: it takes the id 0 of an
    annotation for 'not found'."""
    images = [{"id": i} for i in range(1, len(truths) + 1)]
    categories = [{"id": i, "name": name} for i, name in enumerate(classes)]
    true: list[dict] = []
    seen: list[dict] = []
    for image, (truth, result) in enumerate(zip(truths, found, strict=True), 1):
        for box, label, crowd, area in zip(truth.xywh, truth.labels, truth.crowd, truth.area, strict=True):
            true.append({"id": len(true) + 1, "image_id": image, "category_id": int(label), "bbox": box.tolist(),
                         "iscrowd": int(crowd), "area": float(area)})
        for box, score, label in zip(result.boxes.astype(np.float64), result.scores, result.labels, strict=True):
            xywh = [*box[:2], *(box[2:] - box[:2])]
            seen.append({"id": len(seen) + 1, "image_id": image, "category_id": int(label), "score": float(score),
                         "bbox": [float(v) for v in xywh], "area": float(xywh[2] * xywh[3]), "iscrowd": 0})
    return ({"images": images, "annotations": true, "categories": categories},
            {"images": images, "annotations": seen, "categories": categories})


@dataclass(frozen=True)
class Matches:
    """Of a picture, at one threshold: objects that were found, missed, and what was found that is none."""

    right: int
    missed: int
    false: int

    @property
    def f1(self) -> float:
        """2 right / (2 right + missed + false); 1 for a picture without objects in which nothing was found."""
        whole = 2 * self.right + self.missed + self.false
        return 2 * self.right / whole if whole else 1.0


def match_boxes(truth: TrueBoxes, found: Detections, threshold: float = 0.5, iou: float = 0.5) -> Matches:
    """Objects of a score of at least ``threshold``, the surest first, each given the true one of its class that it
    overlaps most, by at least ``iou``; those mostly in a crowd of their class are left out."""
    found = found[found.scores >= threshold]
    true = truth.detections()
    overlap = box_ious(found.boxes, true.boxes)
    overlap[found.labels[:, None] != true.labels[None]] = 0
    taken = np.zeros(len(true), bool)
    right = false = 0
    for index in range(len(found)):
        free = np.where(taken, 0, overlap[index])
        best = int(free.argmax()) if len(true) else -1
        if best >= 0 and free[best] >= iou:
            taken[best] = True
            right += 1
        elif not _in_crowd(found.boxes[index], found.labels[index], truth, iou):
            false += 1
    return Matches(right, int((~taken).sum()), false)


def _in_crowd(box: np.ndarray, label: int, truth: TrueBoxes, share: float) -> bool:
    crowds = truth.xywh[truth.crowd & (truth.labels == label)]
    low, high = np.maximum(box[:2], crowds[:, :2]), np.minimum(box[2:], crowds[:, :2] + crowds[:, 2:])
    inside = np.clip(high - low, 0, None).prod(1)
    return bool((inside >= share * max(float((box[2:] - box[:2]).prod()), 1e-9)).any())


def box_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes xyxy (n, 4) and (m, 4): float64 (n, m)."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (first, second)]
    union = areas[0][:, None] + areas[1][None] - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)


def box_table(figures: Mapping[str, float], names: Sequence[str]) -> str:
    """Markdown: the figures of each class, and their means; '-' where a class has no objects."""
    lines = ["| class | " + " | ".join(EACH) + " |", "|---|" + "---:|" * len(EACH)]
    rows = [(name, [figures.get(f"{m}.{name}") for m in EACH]) for name in names]
    for name, values in [*rows, ("mean", [figures.get(m) for m in EACH])]:
        cells = ("-" if v is None or v != v else f"{v:.3f}" for v in values)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw_curves(precision: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """uint8 RGB: precision against recall at IoU 0.5 of each class, from ``accumulate``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    recalls = np.linspace(0, 1, precision.shape[1])
    for index, name in enumerate(names):
        values = precision[0, :, index, 0]
        if (values > -1).all():
            axis.plot(recalls, values, label=f"{name.replace('$', chr(92) + '$')} {values.mean():.2f}", linewidth=1.2)
    axis.set(xlabel="recall", ylabel="precision at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    if len(names) <= 24 and axis.lines:
        axis.legend(title="class, AP50", fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
