"""Made masks and predictions for the benchmarks of measures."""
from __future__ import annotations

import cv2
import numpy as np

KINDS = ("blobs", "thin")


def ground_truth(kind: str, height: int, width: int) -> np.ndarray:
    """uint8 (height, width), 0 or 255: a few discs with holes, or a net of lines of 2 to 5 pixels."""
    rng = np.random.default_rng(0)
    mask = np.zeros((height, width), np.uint8)
    side = min(height, width)

    def point() -> tuple[int, int]:
        return int(rng.integers(width // 8, 7 * width // 8)), int(rng.integers(height // 8, 7 * height // 8))

    if kind == "blobs":
        for k in range(16):
            cv2.circle(mask, point(), int(rng.integers(side // 30, side // 7)), 0 if k % 4 == 3 else 255, -1)
    else:
        for _ in range(side // 16):
            cv2.line(mask, point(), point(), 255, int(rng.integers(2, 6)))
    return mask


def prediction(gt: np.ndarray) -> np.ndarray:
    """uint8 as ``gt``: outlines moved by some pixels, soft, with missing and additional parts and a faint haze."""
    rng = np.random.default_rng(1)
    height, width = gt.shape

    def field(cell: int, strength: float) -> np.ndarray:
        coarse = rng.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
        return strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)

    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(gt, x + field(48, 5), y + field(48, 5), cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(moved, (0, 0), 1.5).astype(np.float32)
    patches = field(40, 1.0)
    soft = np.where(patches > 1.9, 255 - soft, soft) + np.clip(field(128, 12), 0, 30)
    return np.clip(soft, 0, 255).astype(np.uint8)
