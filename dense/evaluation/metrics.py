"""Metrics of the cut-out task for mmengine's evaluator, on top of the functions of this package."""
from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric

from dense.errors import ConfigError
from dense.evaluation.hce import human_correction_efforts
from dense.evaluation.saliency import PRCounts, iou, mae, max_f, precision_recall
from dense.io import atomic_path
from dense.registry import METRICS

KNOWN = ("maxF", "MAE", "IoU", "HCE")


def evaluate_pair(pred: np.ndarray, gt: np.ndarray, metrics: Sequence[str] = KNOWN) -> dict:
    """Metrics of one alpha (H, W) uint8 against a mask (H, W) uint8, as plain numbers.

    ``counts`` (see ``PRCounts``) goes into the data set's maxF; ``HCE`` comes with its parts.
    """
    row = {}
    if "maxF" in metrics:
        counts = precision_recall(pred, gt)
        row["counts"] = [counts.true_positives.tolist(), counts.predicted.tolist(), int(counts.positives)]
        row["maxF"] = float(max_f([counts]))
    if "MAE" in metrics:
        row["MAE"] = float(mae(pred, gt))
    if "IoU" in metrics:
        row["IoU"] = float(iou(pred, gt))
    if "HCE" in metrics:
        efforts = human_correction_efforts(pred, gt)
        row["HCE"] = int(efforts.total)
        row |= {f"HCE_{k}": int(v) for k, v in efforts._asdict().items()}
    return row


def summarise(rows: Sequence[dict], metrics: Sequence[str] = KNOWN) -> dict[str, float]:
    """Data-set figures: maxF of the mean precision and recall curves, plain means of the rest."""
    out = {}
    for name in metrics:
        if name == "maxF":
            counts = [PRCounts(np.array(t), np.array(p), n) for t, p, n in (r["counts"] for r in rows)]
            out[name] = float(max_f(counts))
        else:
            out[name] = float(np.mean([r[name] for r in rows]))
    return out


@METRICS.register_module()
class CutoutMetrics(BaseMetric):
    """maxF, MAE, IoU and HCE of ``pred_alpha`` against ``gt_alpha`` at the mask's own size.

    names: which of them. (mmengine reads a dict with a key ``metrics`` as an evaluator's.)
    table: a CSV file for the figures of every picture, or None.
    """

    def __init__(self, names: Sequence[str] = KNOWN, table: str | None = None, **kwargs):
        super().__init__(**kwargs)
        if unknown := set(names) - set(KNOWN):
            raise ConfigError(f"unknown metrics {', '.join(sorted(unknown))}; known: {', '.join(KNOWN)}")
        self.names, self.table = tuple(names), table

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            alpha = np.rint(sample["pred_alpha"]["data"][0].cpu().numpy() * 255).astype(np.uint8)
            truth = sample["gt_alpha"]["data"][0].cpu().numpy()
            self.results.append({"name": sample["name"]} | evaluate_pair(alpha, truth, self.names))

    def compute_metrics(self, results: list) -> dict:
        if self.table:
            write_table(Path(self.table), results)
        return summarise(results, self.names)


def write_table(path: Path, rows: Sequence[dict]) -> None:
    """Figures of every picture as CSV (the counts are left out)."""
    keys = [k for k in rows[0] if k != "counts"]
    try:
        with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, keys, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        logging.getLogger("dense").warning("%s not written: %s", path, error)
