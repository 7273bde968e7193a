"""COCO's measures as a metric of mmengine's evaluator."""
from __future__ import annotations

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from dense.errors import DatasetError, DenseError
from dense.evaluation.detection import TrueBoxes, accumulate, draw_curves, evaluate_boxes, match_boxes
from dense.io import atomic_path, write_image, write_text
from dense.registry import METRICS
from dense.tasks.detection import Detections

LOGGER = logging.getLogger("dense")


@METRICS.register_module()
class DetectionMetrics(BaseMetric):
    """AP and its kin of ``pred_instances`` against what the data set says (``truth`` of the data samples, which
    ``PackDetection`` puts there); see ``evaluate_boxes`` for the figures.

    table: a CSV file, a row a picture: objects found, missed and made up at ``threshold`` and IoU 0.5. picture: a PNG of
    precision against recall. results: a JSON file of COCO's results (what its server takes), ids as in the data set.
    """

    def __init__(self, table: str | Path | None = None, picture: str | Path | None = None,
                 results: str | Path | None = None, threshold: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.table, self.picture, self.results_file, self.threshold = table, picture, results, threshold

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes; DatasetError if the data set names none."""
        names = (self.dataset_meta or {}).get("classes")
        if not names:
            raise DatasetError("DetectionMetrics: the data set names no classes. Remedy: metainfo=dict(classes=...)")
        return tuple(names)

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            self.results.append((sample["name"], sample.get("img_id", 0), sample["truth"], detections_of(sample)))

    def compute_metrics(self, results: Sequence[tuple]) -> dict[str, float]:
        truths, found = [r[2] for r in results], [r[3] for r in results]
        figures = evaluate_boxes(truths, found, self.names)
        absent = [n for n in self.names if figures[f"AP.{n}"] != figures[f"AP.{n}"]]
        if absent:
            LOGGER.warning("no object of the evaluated pictures is %s: without figures, and left out of the means",
                           ", ".join(absent))
        for path, write in ((self.table, self._write_table), (self.picture, self._draw),
                            (self.results_file, self._write_results)):
            try:
                if path:
                    write(results)
            except (DenseError, OSError) as error:
                LOGGER.warning("%s not written: %s", path, error)
        return figures

    def _write_table(self, results: Sequence[tuple]) -> None:
        with atomic_path(self.table) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("name", "objects", "found", "missed", "made up", "F1"))
            for name, _, truth, found in results:
                one = match_boxes(truth, found, self.threshold)
                writer.writerow((name, one.right + one.missed, one.right, one.missed, one.false, f"{one.f1:.4f}"))

    def _draw(self, results: Sequence[tuple]) -> None:
        precision, _ = accumulate([r[2] for r in results], [r[3] for r in results], self.names)
        write_image(self.picture, draw_curves(precision, self.names))

    def _write_results(self, results: Sequence[tuple]) -> None:
        ids = (self.dataset_meta or {}).get("category_ids") or range(1, len(self.names) + 1)
        rows = [{"image_id": int(identity), "category_id": int(ids[label]),
                 "bbox": [round(float(v), 3) for v in (*box[:2], *(box[2:] - box[:2]))],
                 "score": round(float(score), 5)}
                for _, identity, _, found in results
                for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)]
        write_text(Path(self.results_file), json.dumps(rows))


def detections_of(sample) -> Detections:
    """What was found in a data sample, or its dict."""
    found = sample["pred_instances"] if isinstance(sample, dict) else sample.pred_instances
    boxes, scores, labels = (np.asarray(found[key].cpu()) for key in ("bboxes", "scores", "labels"))
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), labels.astype(np.int64))


def truth_of(sample) -> TrueBoxes:
    """What the data set says of a data sample."""
    return sample["truth"] if isinstance(sample, dict) else sample.truth
