"""COCO's average precision, by its own code (pycocotools), from arrays."""
from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np

from dense.errors import MissingDependencyError
from dense.io.coco import Objects
from dense.tasks.detection import Detections

FIGURES = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")
"""Mean over IoU 0.5 .. 0.95; at 0.5; at 0.75; of objects below 32^2, below 96^2 and above 96^2 pixels."""


def average_precision(found: Sequence[Detections], truths: Sequence[Objects], classes: Sequence[str],
                      by_class: bool = False) -> dict[str, float]:
    """``FIGURES`` in 0..1, and ``AR``, the recall of up to 100 objects a picture; NaN where no object counts.

    found, truths: of the same pictures, in the same order. Crowds count neither as found nor as missed. by_class:
    also ``AP.NAME`` of each class.

    Raises MissingDependencyError without pycocotools.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingDependencyError("COCO's average precision needs the package pycocotools, which cannot be imported "
                                     f"({error}). Remedy: pip install 'dense[det]'") from None
    names = (*FIGURES, "AR", *(f"AP.{c}" for c in classes if by_class))
    if not any(len(t) for t in truths):
        return dict.fromkeys(names, float("nan"))
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
        evaluation.summarize()
    stats = [float(v) if v >= 0 else float("nan") for v in evaluation.stats]
    figures = dict(zip((*FIGURES, "AR"), (*stats[:6], stats[8]), strict=True))
    if by_class:
        precision = evaluation.eval["precision"][:, :, :, 0, 2]  # IoU, recall, class; all areas, 100 objects
        for index, name in enumerate(classes):
            values = precision[:, :, index]
            values = values[values >= 0]
            figures[f"AP.{name}"] = float(values.mean()) if values.size else float("nan")
    return figures


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
