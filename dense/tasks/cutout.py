"""The cut-out task (dichotomous segmentation): picture -> square tensor; probability map -> alpha.

Source of the constants: the released code of IS-Net (Qin et al., ECCV 2022).
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import cv2
import numpy as np

from dense.tasks.base import RunAll, Task, register_task
from dense.tasks.plan import Plan, Window, blend, tile_windows, whole

STRIDE = 64  # of the deepest features: smaller pictures are fed enlarged to it, others at a multiple of half of it
UNSURE = (0.02, 0.98)
ZOOM = 2  # a pass of tiles magnifies the one before it at most so much, lest a tile show too little to be understood
CONFLICT = 0.4  # difference of local means up to which tiles are heard in full; at twice it they are not heard
SURE = 1e-3  # as close as probabilities come to 0 and 1 where two are weighed up


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
        if type(self.min_max) is not bool or type(self.cut) is not bool:
            raise ValueError(f"min_max and cut are true or false, not {self.min_max!r} and {self.cut!r}")
        if not all(np.isfinite(v) for v in (*self.mean, *self.std)):
            raise ValueError(f"mean and std must be numbers, not {self.mean} and {self.std}")
        if any(s <= 0 for s in self.std):
            raise ValueError(f"std must be positive, not {self.std}")
        if not 0 <= self.overlap < 0.9:
            raise ValueError(f"overlap must be at least 0 and below 0.9, not {self.overlap!r}")
        object.__setattr__(self, "size", tuple(int(s) for s in size))

    # -- picture -> tensors

    def plan(self, shape: tuple[int, int], mode: str = "global") -> Plan:
        """How a picture of ``shape`` (H, W) is fed.

        mode: 'global', stretched to ``size``; 'whole', at its own resolution (sides rounded to multiples of 32,
            for networks that take any size); 'tiled', global and then overlapping tiles at its own resolution where
            it is larger than ``size``. Where it is more than ``ZOOM`` times as large, passes of larger tiles, shrunk
            to ``size``, come in between; ``tiles`` holds the passes in order, each of windows of one size.
        """
        self.check_mode(mode)
        if mode == "whole":
            half = STRIDE // 2
            return Plan(shape, tuple(max(STRIDE, half * round(s / half)) for s in shape), whole(shape))
        tiles: tuple[Window, ...] = ()
        zoom = _scale(shape, self.size)
        if mode == "tiled" and zoom > 1:
            passes = max(1, math.ceil(math.log(zoom, ZOOM) - 1e-9))
            for i in range(1, passes + 1):
                side = zoom ** (1 - i / passes)
                tiles += tile_windows(shape, tuple(round(side * s) for s in self.size), self.overlap)
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
        alpha = _enlarge(probability, shape)
        if self.min_max:
            low, high = float(alpha.min()), float(alpha.max())
            alpha = (alpha - low) / (high - low) if high > low else np.zeros_like(alpha)
        alpha = np.clip(alpha, 0.0, 1.0)
        return np.floor(alpha * np.float32(255)) / np.float32(255) if self.cut else alpha

    def band(self, alpha: np.ndarray, scale: float) -> np.ndarray:
        """Weight float32 (H, W) of a pass of tiles: 1 where the pass before is unsure and beside it, 0 far away.

        alpha: (H, W) so far. scale: pixels of the picture to one of that pass. The band is a few of these wide: where
        a pass that sees more of the picture is sure, tiles have no say.
        """
        unsure = ((alpha > UNSURE[0]) & (alpha < UNSURE[1])).view(np.uint8)
        reach = max(1, round(2 * scale))
        near = cv2.dilate(unsure, np.ones((2 * reach + 1,) * 2, np.uint8)).astype(np.float32)
        return cv2.blur(near, (2 * reach + 1,) * 2)

    def refine(self, alpha: np.ndarray, band: np.ndarray, scale: float, tiles: Sequence[Window],
               outputs: Sequence[np.ndarray]) -> np.ndarray:
        """``alpha`` (H, W), in the band brought together with the blended outputs (1, h, w) of a pass of tiles.

        Their log-odds are averaged, those of ``alpha`` smoothed over three pixels of its pass: tiles say where in
        these an edge runs, but what looks like a subject in a tile needs the consent of the pass that saw more. Where
        the two contradict each other at large, in means over nine pixels of that pass, the tiles are left out: a bar
        that fills a tile looks like background.
        """
        values = [_enlarge(np.asarray(o)[0], (t.height, t.width)) for t, o in zip(tiles, outputs, strict=True)]
        detail, covered = blend(alpha.shape, tiles, values)
        detail = np.where(covered > 0, detail, alpha)
        at = (band > 0) & (covered > 0)
        near, far = ((2 * max(1, round(reach * scale)) + 1,) * 2 for reach in (1, 4))
        conflict = np.abs(cv2.blur(detail - alpha, far))[at]
        weight = band[at] * np.clip(2 - conflict / CONFLICT, 0, 1)
        refined = alpha.copy()
        refined[at] += weight * (mean_log_odds(detail[at], cv2.blur(alpha, near)[at]) - alpha[at])
        return refined

    def finish(self, image: np.ndarray, plan: Plan, overview: np.ndarray, run_all: RunAll) -> np.ndarray:
        """Alpha float32 (H, W) from the overview's output (1, h, w), with the plan's tiles where it has some."""
        alpha = self.decode(overview[0], plan.shape)
        scale, band = _scale(plan.shape, plan.size), None
        for size, windows in groupby(plan.tiles, lambda t: (t.height, t.width)):
            here = self.band(alpha, scale)
            band = here if band is None else np.minimum(band, here)
            tiles = [t for t in windows if band[t.slices].any()]
            if not tiles:
                break
            alpha = self.refine(alpha, band, scale, tiles, run_all(self.tensor(image, plan, t) for t in tiles))
            scale = _scale(size, plan.size)
        return alpha


def mean_log_odds(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The probability whose log-odds are the mean of those of ``a`` and ``b`` (0..1, same shape): equal ones stay.

    Against the other, neither counts as surer than ``SURE`` and 1 - ``SURE``.
    """
    p, q = (np.clip(v, SURE, 1 - SURE) for v in (a, b))
    yes, no = np.sqrt(p * q), np.sqrt((1 - p) * (1 - q))
    return np.clip(yes / (yes + no) + ((a - p) + (b - q)) / 2, 0, 1)


def _enlarge(probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float (h, w) stretched to ``shape`` (H, W), float32."""
    alpha = np.asarray(probability, np.float32)
    return alpha if alpha.shape == tuple(shape) else cv2.resize(alpha, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _scale(shape: tuple[int, int], size: tuple[int, int]) -> float:
    """Pixels of a window of ``shape`` to one pixel of what is fed at ``size``, in the direction where it is more."""
    return max(s / t for s, t in zip(shape, size, strict=True))
