"""Predictions as pictures: image | truth | prediction | error | cut-out."""
from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from dense.io import read_image, write_image
from dense.registry import HOOKS
from dense.tasks.pictures import comparison_row, contact_sheet


@HOOKS.register_module()
class ResultPictures(Hook):
    """A sheet of the first pictures at each validation, and of the worst ones after a test.

    count: rows on a sheet. masks: also write every predicted alpha of a test as PNG into ``masks/``.
    Sheets go to ``pictures/`` in the work directory: ``val_ITERATION.png``, ``test_first.png`` and
    ``test_worst.png`` (lowest IoU first); with several processes those of process 0.
    """

    suffix = ".png"  # of the files in ``masks/``

    def __init__(self, count: int = 6, masks: bool = False):
        self.count, self.masks = count, masks

    def before_val_epoch(self, runner) -> None:
        self.first, self.worst, self.seen = [], [], 0

    before_test_epoch = before_val_epoch

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._collect(outputs)

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._collect(outputs, worst=True)
        if self.masks:
            for sample in outputs:
                self.write_mask(Path(runner.work_dir) / "masks" / f"{sample.name}{self.suffix}", sample)

    def _collect(self, samples, worst: bool = False) -> None:
        if not is_main_process():
            return
        for sample in samples:
            if len(self.first) < self.count:
                self.first.append(self.entry(sample))
            if worst:
                self.seen += 1  # breaks ties: arrays have no order
                entry = (-self.score(sample), sample.name, self.seen, self.entry(sample))
                (heapq.heappush if len(self.worst) < self.count else heapq.heappushpop)(self.worst, entry)

    def score(self, sample) -> float:
        """How good a prediction is: by it the worst are found."""
        return _iou(sample)

    def entry(self, sample) -> tuple:
        """What ``draw`` needs of a sample, kept until the end."""
        return sample.image_path, sample.name, _truth(sample), _alpha(sample), _iou(sample)

    def draw(self, entry: tuple) -> np.ndarray:
        """uint8 RGB: a row of the sheet."""
        path, title, truth, alpha, iou = entry
        return comparison_row(read_image(path), truth, alpha, f"{title}   IoU {iou:.3f}")

    def write_mask(self, path: Path, sample) -> None:
        """Write the prediction as a file that is data, not a view."""
        write_image(path, _alpha(sample))

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        self._write(runner, f"val_{runner.iter:06}", self.first)

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        self._write(runner, "test_first", self.first)
        self._write(runner, "test_worst", [e[-1] for e in sorted(self.worst, reverse=True)])

    def _write(self, runner, name: str, entries: list) -> None:
        if not entries or not is_main_process():
            return
        write_image(Path(runner.work_dir) / "pictures" / f"{name}.png", contact_sheet([self.draw(e) for e in entries]))


def _alpha(sample) -> np.ndarray:
    return np.rint(sample.pred_alpha.data[0].cpu().numpy() * 255).astype(np.uint8)


def _truth(sample) -> np.ndarray:
    return sample.gt_alpha.data[0].cpu().numpy()


def _iou(sample) -> float:
    prediction, truth = _alpha(sample) > 127, _truth(sample) > 128
    union = np.count_nonzero(prediction | truth)
    return np.count_nonzero(prediction & truth) / union if union else 1.0
