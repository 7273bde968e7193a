"""COCO's average precision as a metric of mmengine's evaluator."""
from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from dense.errors import DatasetError, DenseError
from dense.evaluation.detection import accumulate, average_precision, draw_curves
from dense.io import atomic_path, write_image, write_text
from dense.io.coco import Objects
from dense.registry import METRICS
from dense.tasks.detection import Detections

LOGGER = logging.getLogger("dense")


@METRICS.register_module()
class DetectionMetrics(BaseMetric):
    """AP, AP50, AP75, AP_S, AP_M, AP_L and AR (see ``average_precision``), and AP, AP50, AR of each class.

    Reads ``pred_instances`` and, in the metainfo, ``truth``: an ``Objects`` in pixels of the picture, crowds among
    them, as ``PackDetection`` leaves it. Classes without an object are named in a warning.
    table: a CSV file for what was found, an object a line. picture: a PNG of precision against recall. results: a JSON
    of what was found in COCO's form, with the ids of the data set.
    """

    def __init__(self, table: str | Path | None = None, picture: str | Path | None = None,
                 results: str | Path | None = None, **kwargs):
        super().__init__(**kwargs)
        self.table, self.picture, self.listing = table, picture, results

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            self.results.append((sample.get("name", ""), sample.get("img_id"), detections_of(sample), truth_of(sample)))

    def compute_metrics(self, results: Sequence[tuple]) -> dict[str, float]:
        meta = self.dataset_meta or {}
        classes = tuple(meta.get("classes") or ())
        if not classes:
            raise DatasetError("DetectionMetrics: the data set names no classes. Remedy: metainfo=dict(classes=...)")
        _, _, found, truths = zip(*results, strict=True)
        figures = average_precision(found, truths, classes, by_class=True)
        if absent := [n for n in classes if np.isnan(figures[f"AP.{n}"])]:
            LOGGER.warning("no object of the evaluated pictures is %s: without figures, and left out of the means",
                           ", ".join(absent))
        try:
            if self.table:
                self._write_table(results, classes)
            if self.picture and (evaluation := accumulate(found, truths, classes)):
                write_image(self.picture, draw_curves(evaluation, classes))
            if self.listing:
                self._write_listing(results, meta.get("category_ids") or range(1, len(classes) + 1))
        except (DenseError, OSError) as error:
            LOGGER.warning("not written: %s", error)
        return figures

    def _write_table(self, results: Sequence[tuple], classes: Sequence[str]) -> None:
        with atomic_path(self.table) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("name", "class", "score", "left", "top", "right", "bottom"))
            for name, _, found, _ in results:
                for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
                    writer.writerow((name, classes[label], f"{score:.4f}", *(f"{v:.1f}" for v in box)))

    def _write_listing(self, results: Sequence[tuple], ids: Sequence) -> None:
        rows = [{"image_id": identity, "category_id": ids[label], "score": round(float(score), 5),
                 "bbox": [round(float(v), 3) for v in (*box[:2], *(box[2:] - box[:2]))]}
                for _, identity, found, _ in results
                for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)]
        write_text(self.listing, json.dumps(rows))


def detections_of(sample) -> Detections:
    """What was found in a data sample, or its dict."""
    found = sample["pred_instances"] if isinstance(sample, dict) else sample.pred_instances
    return Detections(*(np.asarray(found[k].cpu()) for k in ("bboxes", "scores", "labels")))


def truth_of(sample) -> Objects:
    """What is in the picture of a data sample. DatasetError where the sample does not say."""
    truth = sample.get("truth")
    if not isinstance(truth, Objects):
        raise DatasetError("DetectionMetrics: a sample has no truth. Remedy: PackDetection(keep_truth=True)")
    return truth
