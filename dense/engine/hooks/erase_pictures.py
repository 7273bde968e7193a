"""Erased pictures: given, with the mask in red | result | truth."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from dense.io import write_image
from dense.registry import HOOKS
from dense.tasks.pictures import contact_sheet, fit, outline

SIDE = 256


@HOOKS.register_module()
class ErasePictures(Hook):
    """A sheet ``pictures/val_ITERATION.png`` of the first ``count`` pictures at each validation, ``pictures/test.png``
    after a test; with several processes those of process 0."""

    def __init__(self, count: int = 6):
        self.count = count

    def before_val_epoch(self, runner) -> None:
        self.rows: list[np.ndarray] = []

    before_test_epoch = before_val_epoch

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        for given, sample in zip(data_batch["inputs"], outputs, strict=True):
            if len(self.rows) < self.count and is_main_process():
                truth, result = (_picture(sample.get(k).data) for k in ("gt_image", "pred_image"))
                image = _picture(given[:3])[:truth.shape[0], :truth.shape[1]]
                panels = (outline(image, sample.gt_mask.data[0].cpu().numpy()), result, truth)
                self.rows.append(np.hstack([fit(p, SIDE, SIDE) for p in panels]))

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        self._write(runner, f"val_{runner.iter:06}")

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        self._write(runner, "test")

    def _write(self, runner, name: str) -> None:
        if self.rows:
            write_image(Path(runner.work_dir) / "pictures" / f"{name}.png", contact_sheet(self.rows))


def _picture(tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.cpu().numpy().transpose(1, 2, 0))
