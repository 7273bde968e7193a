"""The measures of semantic segmentation as a metric of mmengine's evaluator."""
from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from mmengine.evaluator import BaseMetric

from dense.errors import DatasetError, DenseError
from dense.evaluation.semantic import SemanticCounts, count_semantic, draw_confusion, summarise_semantic
from dense.io import atomic_path, write_image
from dense.registry import METRICS

LOGGER = logging.getLogger("dense")


@METRICS.register_module()
class SemanticMetrics(BaseMetric):
    """mIoU and its kin, of ``pred_sem_seg`` against ``gt_sem_seg``; see ``summarise_semantic`` for the figures.

    ignore_index: label of pixels without one. boundary: boundary IoU too. table: a CSV file for the figures of every
        picture. picture: a PNG for the confusion matrix.
    Class names are those of the data set. Classes that never occur are named in a warning.
    """

    def __init__(self, ignore_index: int = 255, boundary: bool = True, table: str | Path | None = None,
                 picture: str | Path | None = None, **kwargs):
        super().__init__(**kwargs)
        self.ignore_index, self.boundary, self.table, self.picture = ignore_index, boundary, table, picture

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes; DatasetError if the data set names none."""
        names = (self.dataset_meta or {}).get("classes")
        if not names:
            raise DatasetError("SemanticMetrics: the data set names no classes. Remedy: metainfo=dict(classes=...)")
        return tuple(names)

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            pred, truth = (sample[key]["data"].squeeze(0).cpu().numpy() for key in ("pred_sem_seg", "gt_sem_seg"))
            try:
                counts = count_semantic(pred, truth, len(self.names), self.ignore_index, self.boundary)
            except ValueError as error:
                where = sample.get("seg_map_path") or sample.get("name") or "a sample"
                raise DatasetError(f"{where}: {error}. Remedy: tools/data/check_semantic.py") from None
            self.results.append((sample.get("name", ""), counts.confusion, counts.boundary))

    def compute_metrics(self, results: Sequence[tuple]) -> dict[str, float]:
        rows = [(name, SemanticCounts(*counts)) for name, *counts in results]
        counts = reduce(SemanticCounts.__add__, (c for _, c in rows))
        absent = [n for n, pixels in zip(self.names, counts.confusion.sum(1), strict=True) if not pixels]
        if absent:
            LOGGER.warning("no pixel of the evaluated pictures is %s: without figures of their own in the table, and "
                           "left out of the means unless predicted", ", ".join(absent))
        if self.table:
            self._write_table(rows)
        if self.picture:
            self._draw(counts)
        return summarise_semantic(counts, self.names)

    def _write_table(self, rows: Sequence[tuple[str, SemanticCounts]]) -> None:
        figures = [{"name": name} | summarise_semantic(counts, self.names) for name, counts in rows]
        columns = dict.fromkeys(k for row in sorted(figures, key=len, reverse=True) for k in row)
        try:
            with atomic_path(self.table) as temporary, open(temporary, "w", newline="") as file:
                writer = csv.DictWriter(file, list(columns))
                writer.writeheader()
                writer.writerows(figures)
        except OSError as error:
            LOGGER.warning("%s not written: %s", self.table, error)

    def _draw(self, counts: SemanticCounts) -> None:
        try:
            write_image(self.picture, draw_confusion(counts.confusion, self.names))
        except DenseError as error:
            LOGGER.warning("%s not written: %s", self.picture, error)
