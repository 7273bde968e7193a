"""Plans: which windows of a picture a network is fed, and at which size. Plain geometry, no pixels."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """A rectangle of a picture in pixels: rows ``y`` to ``y + height``, columns ``x`` to ``x + width``."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """To index an array (H, W, ...)."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


@dataclass(frozen=True)
class Plan:
    """How a picture of ``shape`` (H, W) goes through a network.

    size: (height, width) that each window is resized to; one size, so that windows form batches.
    overview: the first pass, one window over all of the picture; None where there is none.
    tiles: windows of a second pass at the picture's own resolution; empty without one.
    """

    shape: tuple[int, int]
    size: tuple[int, int]
    overview: Window | None
    tiles: tuple[Window, ...] = ()


def whole(shape: tuple[int, int]) -> Window:
    """The window over all of a picture."""
    return Window(0, 0, *shape)


def starts(length: int, tile: int, overlap: float) -> list[int]:
    """First pixels of tiles of ``tile`` pixels that cover ``length`` evenly, neighbours sharing at least ``overlap``.

    overlap: share of a tile, in [0, 1). One tile where ``length`` is not above ``tile``.
    """
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // step) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def tile_windows(shape: tuple[int, int], tile: tuple[int, int], overlap: float) -> tuple[Window, ...]:
    """Windows of ``tile`` (height, width), or less where the picture is smaller, that cover ``shape``, row by row."""
    height, width = min(tile[0], shape[0]), min(tile[1], shape[1])
    return tuple(Window(y, x, height, width)
                 for y in starts(shape[0], height, overlap) for x in starts(shape[1], width, overlap))


def blend_weights(height: int, width: int) -> np.ndarray:
    """float32 (height, width), a raised cosine, > 0 everywhere and largest in the middle: weights of a tile."""
    def ramp(n: int) -> np.ndarray:
        return 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) + 1e-3

    return np.outer(ramp(height), ramp(width)).astype(np.float32)


def blend(shape: tuple[int, int], windows: Sequence[Window], values: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Weighted mean of overlapping tiles, and the sum of their weights (0 where none is), both float32 ``shape``."""
    total, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for window, value in zip(windows, values, strict=True):
        w = blend_weights(window.height, window.width)
        total[window.slices] += w * value
        weight[window.slices] += w
    return total / np.maximum(weight, 1e-12), weight
