"""COCO's average precision, by its own code (pycocotools), from arrays; objects that were missed or made up."""
from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dense.errors import MissingDependencyError
from dense.io.coco import Objects
from dense.tasks.detection import Detections

FIGURES = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
"""Mean over IoU 0.5 .. 0.95; at 0.5; at 0.75; of objects below 32^2, below 96^2 and above 96^2 pixels."""
EACH = ("AP", "AP50", "AR")  # of each class


def average_precision(found: Sequence[Detections], truths: Sequence[Objects], classes: Sequence[str],
                      by_class: bool = False) -> dict[str, float]:
    """``FIGURES`` in 0..1, and ``AR``, the recall of up to 100 objects a picture; NaN where no object counts.

    found, truths: of the same pictures, in the same order. Crowds count neither as found nor as missed. by_class:
    also ``AP.NAME``, ``AP50.NAME`` and ``AR.NAME`` of each class.

    Raises MissingDependencyError without pycocotools.
    """
    evaluation = accumulate(found, truths, classes)
    if evaluation is None:
        return dict.fromkeys((*FIGURES, "AR", *(f"{m}.{c}" for c in classes if by_class for m in EACH)), float("nan"))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.summarize()
    stats = [float(v) if v >= 0 else float("nan") for v in evaluation.stats]
    figures = dict(zip((*FIGURES, "AR"), (*stats[:6], stats[8]), strict=True))
    if by_class:
        precision, recall = evaluation.eval["precision"][..., 0, 2], evaluation.eval["recall"][..., 0, 2]
        for index, name in enumerate(classes):  # IoU, recall, class; all areas, 100 objects
            figures |= {f"AP.{name}": _mean(precision[:, :, index]), f"AP50.{name}": _mean(precision[0, :, index]),
                        f"AR.{name}": _mean(recall[:, index])}
    return figures


def _mean(values: np.ndarray) -> float:
    values = values[values >= 0]
    return float(values.mean()) if values.size else float("nan")


def accumulate(found: Sequence[Detections], truths: Sequence[Objects], classes: Sequence[str]) -> Any:
    """pycocotools' evaluation, accumulated; None where there is no object at all."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingDependencyError("COCO's average precision needs the package pycocotools, which cannot be imported "
                                     f"({error}). Remedy: pip install 'dense[det]'") from None
    if not any(len(t) for t in truths):
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # it reports to the terminal
        truth = COCO()
        truth.dataset = {"images": [{"id": i} for i in range(len(truths))],
                         "categories": [{"id": i, "name": n} for i, n in enumerate(classes)],
                         "annotations": [dict(entry, id=i) for i, entry in enumerate(_annotations(truths), start=1)]}
        truth.createIndex()
        rows = _rows(found)
        evaluation = COCOeval(truth, truth.loadRes(rows) if len(rows) else _nothing(truth), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _annotations(truths: Sequence[Objects]) -> list[dict]:
    return [{"image_id": picture, "category_id": int(t.labels[k]), "bbox": _xywh(t.boxes[k]), "area": float(t.areas[k]),
             "iscrowd": int(t.crowd[k])} for picture, t in enumerate(truths) for k in range(len(t))]


def _rows(found: Sequence[Detections]) -> np.ndarray:
    """picture, x, y, width, height, score, class: what ``loadRes`` takes."""
    parts = [np.column_stack([np.full(len(d), i), d.boxes[:, :2], d.boxes[:, 2:] - d.boxes[:, :2], d.scores, d.labels])
             for i, d in enumerate(found)]
    return np.concatenate([np.zeros((0, 7)), *parts])


def _xywh(box: np.ndarray) -> list[float]:
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]


def _nothing(truth):
    """Results without an object, which ``loadRes`` does not take."""
    from pycocotools.coco import COCO

    empty = COCO()
    empty.dataset = {k: truth.dataset[k] for k in ("images", "categories")} | {"annotations": []}
    empty.createIndex()
    return empty


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


def match_objects(found: Detections, truth: Objects, threshold: float = 0.5, iou: float = 0.5) -> Matches:
    """Objects of a score of at least ``threshold``, the surest first, each given the true one of its class that it
    overlaps most, by at least ``iou``; those mostly in a crowd of their class count neither way."""
    found = found[found.scores >= threshold]
    found = found[np.argsort(-found.scores, kind="stable")]
    crowds, own = truth[truth.crowd], truth[~truth.crowd]
    overlap = intersections(found.boxes, own.boxes)
    union = _areas(found.boxes)[:, None] + _areas(own.boxes)[None] - overlap
    overlap = np.where(found.labels[:, None] == own.labels[None], overlap / np.maximum(union, 1e-9), 0)
    inside = intersections(found.boxes, crowds.boxes) / np.maximum(_areas(found.boxes)[:, None], 1e-9)
    excused = ((inside >= iou) & (found.labels[:, None] == crowds.labels[None])).any(1)
    taken = np.zeros(len(own), bool)
    right = false = 0
    for index in range(len(found)):
        free = np.where(taken, 0, overlap[index])
        best = int(free.argmax()) if len(own) else -1
        if best >= 0 and free[best] >= iou:
            taken[best] = True
            right += 1
        elif not excused[index]:
            false += 1
    return Matches(right, int((~taken).sum()), false)


def intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Common pixels of boxes xyxy (n, 4) and (m, 4): float64 (n, m)."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0, None).prod(-1)


def box_table(figures: Mapping[str, float], names: Sequence[str]) -> str:
    """Markdown: the figures of each class, and their means; '-' where a class has no objects."""
    lines = ["| class | " + " | ".join(EACH) + " |", "|---|" + "---:|" * len(EACH)]
    rows = [(name, [figures.get(f"{m}.{name}") for m in EACH]) for name in names]
    for name, values in [*rows, ("mean", [figures.get(m) for m in EACH])]:
        cells = ("-" if v is None or v != v else f"{v:.3f}" for v in values)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw_curves(evaluation: Any, names: Sequence[str]) -> np.ndarray:
    """uint8 RGB: precision against recall at IoU 0.5 of each class, from what ``accumulate`` gives."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis = figure.subplots()
    for index, name in enumerate(names):
        values = evaluation.eval["precision"][0, :, index, 0, 2]
        if (values >= 0).all():
            text = name.replace("$", r"\$")
            axis.plot(evaluation.params.recThrs, values, label=f"{text} {values.mean():.2f}", linewidth=1.2)
    axis.set(xlabel="recall", ylabel="precision at IoU 0.5", xlim=(0, 1), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    if len(names) <= 24 and axis.lines:
        axis.legend(title="class, AP50", fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
