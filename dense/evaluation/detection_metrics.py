"""COCO's average precision as a metric of mmengine's evaluator."""
from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from dense.errors import DatasetError
from dense.evaluation.detection import average_precision
from dense.io import atomic_path
from dense.io.coco import Objects
from dense.registry import METRICS
from dense.tasks.detection import Detections

LOGGER = logging.getLogger("dense")


@METRICS.register_module()
class DetectionMetrics(BaseMetric):
    """AP, AP50, AP75, AP_S, AP_M, AP_L and AR (see ``average_precision``), and AP of each class.

    Reads ``pred_instances`` and, in the metainfo, ``truth``: an ``Objects`` in pixels of the picture, crowds among
    them, as ``PackDetection`` leaves it. table: a CSV file for what was found, an object a line.
    """

    def __init__(self, table: str | Path | None = None, **kwargs):
        super().__init__(**kwargs)
        self.table = table

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            truth = sample.get("truth")
            if not isinstance(truth, Objects):
                raise DatasetError("DetectionMetrics: a sample has no truth. Remedy: PackDetection(keep_truth=True)")
            found = sample["pred_instances"]
            boxes, scores, labels = (np.asarray(found[k].cpu()) for k in ("bboxes", "scores", "labels"))
            self.results.append((sample.get("name", ""), Detections(boxes, scores, labels), truth))

    def compute_metrics(self, results: Sequence[tuple]) -> dict[str, float]:
        classes = tuple((self.dataset_meta or {}).get("classes") or ())
        if not classes:
            raise DatasetError("DetectionMetrics: the data set names no classes. Remedy: metainfo=dict(classes=...)")
        _, found, truths = zip(*results, strict=True)
        if self.table:
            self._write_table(results, classes)
        return average_precision(found, truths, classes, by_class=True)

    def _write_table(self, results: Sequence[tuple], classes: Sequence[str]) -> None:
        try:
            with atomic_path(self.table) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(("name", "class", "score", "left", "top", "right", "bottom"))
                for name, found, _ in results:
                    for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
                        writer.writerow((name, classes[label], f"{score:.4f}", *(f"{v:.1f}" for v in box)))
        except OSError as error:
            LOGGER.warning("%s not written: %s", self.table, error)
