"""What verification knows of erasing."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dense.deployment.checks import TaskCheck, register_check
from dense.io.texts import EraseFiles, find_files, load_texts
from dense.tasks.pictures import fit


@register_check("erase")
class EraseCheck(TaskCheck):
    """Pictures, uint8 RGB (H, W, 3), all text of which was erased, against clean ones."""

    metrics = ("PSNR", "SSIM")
    answer = "pictures"
    bundled = "data/erase"
    panels = "Picture, truth, result of the reference, result of the backend, and their difference"

    def find(self, root: str | Path) -> tuple[list[EraseFiles], str]:
        """A folder in one of the layouts of ``dense.io.texts``, or its part ``test`` or ``val``."""
        root = Path(root)
        split = next((s for s in ("test", "val") if (root / s).is_dir()), None)
        return find_files(root, split), str(root / split) if split else str(root)

    def read(self, pair: EraseFiles) -> tuple[np.ndarray, np.ndarray]:
        """Picture with the mask of all its texts, uint8 (H, W, 4), and the clean one."""
        image, clean, polygons = load_texts(pair)
        mask = np.zeros(image.shape[:2], np.uint8)
        for polygon in polygons:
            cv2.fillPoly(mask, [polygon], 255)
        return np.dstack([image, mask]), clean

    def difference(self, found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
        """As shares of 255; a single level, which rounding may flip, does not count."""
        delta = np.maximum(np.abs(found.astype(np.int16) - expected) - 1, 0) / 255
        return float(delta.max()), float(delta.mean())

    def measure(self, answer: np.ndarray, truth: np.ndarray) -> dict:
        from dense.evaluation.erase import psnr, ssim_map

        return {"PSNR": psnr(answer, truth), "SSIM": float(ssim_map(answer, truth).mean())}

    def summary(self, rows: Sequence[dict]) -> dict[str, float]:
        return {m: float(np.mean([r[m] for r in rows])) for m in self.metrics}

    def panel(self, image: np.ndarray, truth: np.ndarray, expected: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Picture, truth, both results, and their difference stretched to its largest value."""
        delta = np.abs(found.astype(np.int16) - expected).max(2)
        panels = (image[..., :3], truth, expected, found, (255 * (delta / max(1, delta.max()))).astype(np.uint8))
        return np.hstack([fit(p, 200, 200) for p in panels])
