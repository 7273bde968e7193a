"""Erased pictures: as given, with the mask in red | truth | result | what was changed."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dense.engine.hooks.pictures import ResultPictures
from dense.evaluation.erase import psnr
from dense.io import write_image
from dense.registry import HOOKS
from dense.tasks.pictures import PANEL_BACKGROUND, fit, label, outline

SIDE = 240


@HOOKS.register_module()
class ErasePictures(ResultPictures):
    """``ResultPictures`` of erased pictures, the worst by PSNR inside the mask; ``masks`` are the results as PNGs."""

    def score(self, sample) -> float:
        """PSNR inside the mask, in dB; 0 where nothing is masked."""
        return float(np.nan_to_num(psnr(_picture(sample, "pred_image"), _picture(sample, "gt_image"), _mask(sample))))

    def entry(self, sample) -> tuple:
        """What ``draw`` needs of a sample, kept until the end."""
        pictures = (_picture(sample, key) for key in ("given", "gt_image", "pred_image"))
        return sample.name, *pictures, _mask(sample), self.score(sample)

    def draw(self, entry: tuple) -> np.ndarray:
        """uint8 RGB: a row of the sheet."""
        title, given, truth, result, mask, score = entry
        panels = (outline(given, mask), truth, result, cv2.absdiff(given, result))
        gap = np.full((SIDE, 4, 3), PANEL_BACKGROUND, np.uint8)
        row = np.hstack([p for panel in panels for p in (fit(panel, SIDE, SIDE), gap)][:-1])
        return label(row, f"{title}   PSNR in the mask {score:.2f}")

    def write_mask(self, path: Path, sample) -> None:
        """The result as a PNG."""
        write_image(path, _picture(sample, "pred_image"))


def _picture(sample, key: str) -> np.ndarray:
    return np.ascontiguousarray(sample.get(key).data.cpu().numpy().transpose(1, 2, 0))


def _mask(sample) -> np.ndarray:
    return sample.gt_mask.data[0].cpu().numpy()
