"""The measures as metrics of mmengine's evaluator, at the masks' own size.

All of them compare ``pred_alpha`` with ``gt_alpha`` of a data sample and give what ``dense.evaluation.measures``
calls the figures of a data set. ``CutoutMetrics`` takes any of them; the others are the families alone.
"""
from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from dense.errors import ConfigError
from dense.evaluation.measures import MEASURES, columns, evaluate_pair, resolve, summarise
from dense.evaluation.skeletons import SkeletonCache, skeleton_folder
from dense.io import atomic_path
from dense.registry import METRICS

KNOWN = ("maxF", "MAE", "IoU", "HCE")
"""What is measured if nothing else is said."""


@METRICS.register_module()
class CutoutMetrics(BaseMetric):
    """Any measures of ``pred_alpha`` against ``gt_alpha``.

    names: which of them, groups too (``dense.evaluation.measures``). (mmengine reads a dict with a key
        ``metrics`` as an evaluator's.)
    table: a CSV file for the figures of every picture, or None.
    cache: folder of the skeletons that HCE needs; None is the cache folder, "none" computes them anew.
    """

    def __init__(self, names: str | Sequence[str] = KNOWN, table: str | None = None, cache: str | None = None,
                 **kwargs):
        super().__init__(**kwargs)
        self.names, self.table = resolve(names), table
        needed = any(MEASURES[name].skeleton for name in self.names)
        self.skeletons = SkeletonCache(skeleton_folder(cache)) if needed else None

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            alpha = np.rint(sample["pred_alpha"]["data"][0].cpu().numpy() * 255).astype(np.uint8)
            truth = sample["gt_alpha"]["data"][0].cpu().numpy()
            row = evaluate_pair(alpha, truth, self.names, self.skeletons)
            self.results.append({"name": sample["name"]} | row)

    def compute_metrics(self, results: list) -> dict:
        if self.table:
            write_table(Path(self.table), results, self.names)
        return summarise(results, self.names)


class Family(CutoutMetrics):
    """Some measures that belong together; ``names`` chooses among them."""

    members: tuple[str, ...]

    def __init__(self, names: str | Sequence[str] | None = None, table: str | None = None, **kwargs):
        chosen = self.members if names is None else resolve(names)
        if strange := [name for name in chosen if name not in self.members]:
            raise ConfigError(f"{type(self).__name__} gives {', '.join(self.members)}, not {', '.join(strange)}: "
                              "choose among these, or use CutoutMetrics")
        super().__init__(chosen, table, **kwargs)


@METRICS.register_module()
class FMeasure(Family):
    """F-measure: of the mean curve, of the images' curves, and at the adaptive threshold."""

    members = ("maxF", "maxF_image", "meanF", "adpF")


@METRICS.register_module()
class WeightedFMeasure(Family):
    """Weighted F-measure."""

    members = ("wF",)


@METRICS.register_module()
class MeanAbsoluteError(Family):
    """Mean absolute error."""

    members = ("MAE",)


@METRICS.register_module()
class SMeasure(Family):
    """Structure measure."""

    members = ("S",)


@METRICS.register_module()
class EMeasure(Family):
    """Enhanced-alignment measure: maximum, mean, and at the adaptive threshold."""

    members = ("maxE", "meanE", "adpE")


@METRICS.register_module()
class HumanCorrectionEfforts(Family):
    """HCE; its four parts are in the table."""

    members = ("HCE",)


@METRICS.register_module()
class MaskIoU(Family):
    """Intersection over union of the masks, and of their boundaries."""

    members = ("IoU", "BIoU")


def write_table(path: Path, rows: Sequence[dict], names: Sequence[str]) -> None:
    """Figures of every picture as CSV."""
    try:
        with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, ["name", *columns(names)], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        logging.getLogger("dense").warning("%s not written: %s", path, error)
