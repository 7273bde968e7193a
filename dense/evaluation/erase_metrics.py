"""The measures of erased pictures as a metric of mmengine's evaluator."""
from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from dense.errors import ConfigError
from dense.evaluation.erase import ERASE_MEASURES, evaluate_erased, summarise_erased
from dense.io import atomic_path
from dense.registry import METRICS


@METRICS.register_module()
class EraseMetrics(BaseMetric):
    """``pred_image`` against ``gt_image`` of data samples, uint8 (3, H, W), inside and outside of ``gt_mask``;
    ``given`` is the picture with text.

    names: which of ``ERASE_MEASURES``. literature: as printed tables have them. table: a CSV file for the figures of
    every picture, or None.
    """

    def __init__(self, names: Sequence[str] = ERASE_MEASURES, literature: bool = False, table: str | None = None,
                 **kwargs):
        super().__init__(**kwargs)
        if unknown := [n for n in names if n not in ERASE_MEASURES]:
            raise ConfigError(f"unknown metrics {', '.join(unknown)}; known: {', '.join(ERASE_MEASURES)}")
        self.names, self.literature, self.table = tuple(names), literature, table

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            pred, truth, image = (np.ascontiguousarray(sample[k]["data"].cpu().numpy().transpose(1, 2, 0))
                                  for k in ("pred_image", "gt_image", "given"))
            row = evaluate_erased(pred, truth, sample["gt_mask"]["data"][0].cpu().numpy(), image,
                                  map(np.asarray, sample["polygons"]), self.literature)
            self.results.append({"name": sample["name"]} | row)

    def compute_metrics(self, results: list) -> dict:
        if self.table:
            try:
                with atomic_path(Path(self.table)) as temporary, open(temporary, "w", newline="") as file:
                    writer = csv.DictWriter(file, ["name", *self.names], extrasaction="ignore")
                    writer.writeheader()
                    writer.writerows(results)
            except OSError as error:
                logging.getLogger("dense").warning("%s not written: %s", self.table, error)
        return summarise_erased(results, self.names)
