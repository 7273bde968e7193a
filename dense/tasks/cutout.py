"""The cut-out task (dichotomous segmentation): picture -> square tensor; probability map -> alpha.

Source of the constants: the released code of IS-Net (Qin et al., ECCV 2022).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from dense.tasks.base import RunAll, Task, register_task
from dense.tasks.plan import Plan, Window, blend, tile_windows, whole

STRIDE = 64  # of the deepest features: smaller pictures are fed enlarged to it, others at a multiple of half of it
UNSURE = (0.02, 0.98)


@register_task
@dataclass(frozen=True)
class CutoutTask(Task):
    """Geometry and value ranges of a cut-out network.

    size: (height, width) that the network is fed; the picture is stretched to it, bilinear, no
        antialiasing (as the published training and inference do).
    mean, std: per-channel constants in units of 0..255 values: tensor = (value - mean) / std.
    min_max: stretch each alpha to the full range as the published script does. Off by default, because
        it turns the noise of a picture without a subject into a full-strength mask.
    cut: cut values to whole numbers in place of rounding, as the published script does: those of the resized picture,
        and alpha in steps of 1/255.
    overlap: share that neighbouring tiles have in common, where tiles are asked for.

    A network in use (``forward``) takes values 0..255, float32 (N, 3, h, w) RGB, and gives probabilities
    (N, 1, h, w): normalisation and the final activation are inside, as in an exported graph.
    """

    size: tuple[int, int] = (1024, 1024)
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    min_max: bool = False
    overlap: float = 0.25
    cut: bool = False

    kind: ClassVar = "cutout"
    modes: ClassVar = ("global", "whole", "tiled")

    def __post_init__(self):
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or any(int(s) != s or s < 32 for s in size):
            raise ValueError(f"size must be two whole numbers >= 32 (height, width), not {self.size!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"mean and std need three values (R, G, B), not {self.mean} and {self.std}")
        if any(s <= 0 for s in self.std):
            raise ValueError(f"std must be positive, not {self.std}")
        if not 0 <= self.overlap < 0.9:
            raise ValueError(f"overlap must be at least 0 and below 0.9, not {self.overlap!r}")
        object.__setattr__(self, "size", tuple(int(s) for s in size))

    # -- picture -> tensors

    def plan(self, shape: tuple[int, int], mode: str = "global") -> Plan:
        """How a picture of ``shape`` (H, W) is fed.

        mode: 'global', stretched to ``size``; 'whole', at its own resolution (sides rounded to multiples of 32,
            for networks that take any size); 'tiled', global and then tiles of ``size`` at its own resolution
            where the picture is larger than ``size``.
        """
        self.check_mode(mode)
        if mode == "whole":
            half = STRIDE // 2
            return Plan(shape, tuple(max(STRIDE, half * round(s / half)) for s in shape), whole(shape))
        larger = any(s > t for s, t in zip(shape, self.size, strict=True))
        tiles = tile_windows(shape, self.size, self.overlap) if mode == "tiled" and larger else ()
        return Plan(shape, self.size, whole(shape), tiles)

    def resize(self, array: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
        """Stretch uint8 (H, W[, C]) to ``size`` (the task's by default): the one place that decides how."""
        height, width = size or self.size
        if array.shape[:2] == (height, width):
            return array
        if self.cut:
            exact = cv2.resize(array.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
            return exact.astype(np.uint8)
        return cv2.resize(array, (width, height), interpolation=cv2.INTER_LINEAR)

    def tensor(self, image: np.ndarray, plan: Plan | None = None, window: Window | None = None) -> np.ndarray:
        """What a network in use is fed for one window (all of the picture by default).

        image: uint8 RGB (H, W, 3). Returns float32 (3, h, w), values 0..255, contiguous.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected a uint8 RGB picture (H, W, 3), got {image.dtype} {image.shape}")
        part = image if window is None else np.ascontiguousarray(image[window.slices])
        resized = self.resize(part, plan.size if plan else None)
        return np.ascontiguousarray(resized.transpose(2, 0, 1), np.float32)

    def normalise(self, tensor: np.ndarray) -> np.ndarray:
        """(value - mean) / std of float32 (..., 3, h, w): what the network proper takes."""
        mean, std = (np.float32(v).reshape(3, 1, 1) for v in (self.mean, self.std))
        return (tensor - mean) / std

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB (H, W, 3) -> float32 (3, h, w), resized and normalised."""
        return self.normalise(self.tensor(image))

    # -- outputs -> alpha

    def decode(self, probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """float (h, w) in 0..1 -> alpha float32 (H, W) in 0..1 at the picture's ``shape``."""
        height, width = shape
        alpha = np.asarray(probability, np.float32)
        if alpha.shape != (height, width):
            alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.min_max:
            low, high = float(alpha.min()), float(alpha.max())
            alpha = (alpha - low) / (high - low) if high > low else np.zeros_like(alpha)
        alpha = np.clip(alpha, 0.0, 1.0)
        return np.floor(alpha * np.float32(255)) / np.float32(255) if self.cut else alpha

    def band(self, alpha: np.ndarray, plan: Plan) -> np.ndarray:
        """Weight float32 (H, W) of the second pass: 1 where the overview is unsure and beside it, 0 far away.

        The band is a few pixels of the overview wide: where that is sure, a tile, which sees less of the
        picture, has no say.
        """
        unsure = ((alpha > UNSURE[0]) & (alpha < UNSURE[1])).view(np.uint8)
        reach = max(1, round(2 * max(s / t for s, t in zip(plan.shape, plan.size, strict=True))))
        near = cv2.dilate(unsure, np.ones((2 * reach + 1,) * 2, np.uint8)).astype(np.float32)
        return cv2.blur(near, (2 * reach + 1,) * 2)

    def refine(self, alpha: np.ndarray, band: np.ndarray, tiles: Sequence[Window],
               outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The overview's alpha (H, W), replaced in the band by the blended tiles' outputs (1, h, w) each."""
        values = [self.decode(np.asarray(o)[0], (t.height, t.width)) for t, o in zip(tiles, outputs, strict=True)]
        detail, covered = blend(alpha.shape, tiles, values)
        weight = np.where(covered > 0, band, 0)
        return alpha + weight * (detail - alpha)

    def finish(self, image: np.ndarray, plan: Plan, overview: np.ndarray, run_all: RunAll) -> np.ndarray:
        """Alpha float32 (H, W) from the overview's output (1, h, w), with the plan's tiles where it has some."""
        alpha = self.decode(overview[0], plan.shape)
        if not plan.tiles:
            return alpha
        band = self.band(alpha, plan)
        tiles = [t for t in plan.tiles if band[t.slices].any()]
        return self.refine(alpha, band, tiles, run_all(self.tensor(image, plan, t) for t in tiles))
