"""Maps of a network brought to the size of the picture, and the class of each pixel: numpy alone, in bounded memory."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

BLOCK = (64, 1024)
"""Rows and columns that are worked out at once."""


class Upsampled:
    """Maps (C, h, w) of a window, bilinearly sampled at the window's own pixels, a block at a time.

    shape: (height, width) of the window; content: what it was resized to for the network; fed: size of the tensor,
    the content and padding to its right and below. align_corners: which pixels of tensor and maps lie on each other:
    True those at the corners, False the corners themselves (both as in PyTorch's interpolate).

    Where the content has the window's size and fills the tensor, this is interpolate(maps, shape, mode="bilinear").
    """

    def __init__(self, maps: np.ndarray, shape: tuple[int, int], content: tuple[int, int], fed: tuple[int, int],
                 align_corners: bool):
        self.maps = np.asarray(maps, np.float32)
        self.y, self.x = (neighbours(*sizes, align_corners)
                          for sizes in zip(shape, content, fed, self.maps.shape[1:], strict=True))
        self._columns: tuple[slice | None, np.ndarray | None] = (None, None)

    def __call__(self, rows: slice, columns: slice) -> np.ndarray:
        """float32 (C, rows, columns); quickest where consecutive calls have the same columns."""
        if self._columns[0] != columns:
            first, second, weight = (a[columns] for a in self.x)
            left = self.maps[:, :, first]
            self._columns = columns, left + weight * (self.maps[:, :, second] - left)
        first, second, weight = (a[rows] for a in self.y)
        lines = self._columns[1]
        above = lines[:, first]
        below = lines[:, second]
        below -= above
        below *= weight[:, None]
        below += above
        return below


def neighbours(out: int, content: int, fed: int, cells: int, align_corners: bool) -> tuple[np.ndarray, ...]:
    """Of one axis, for ``out`` pixels: the two cells (int64) that each lies between; the second's weight (float32)."""
    pixel = np.clip((np.arange(out) + 0.5) * content / out - 0.5, 0, content - 1)
    place = pixel * ((cells - 1) / max(1, fed - 1)) if align_corners else (pixel + 0.5) * cells / fed - 0.5
    place = np.clip(place, 0, cells - 1)
    first = np.minimum(place.astype(np.int64), max(0, cells - 2))
    return first, np.minimum(first + 1, cells - 1), (place - first).astype(np.float32)


def argmax_of(shape: tuple[int, int], classes: int, block: Callable[[slice, slice], np.ndarray]) -> np.ndarray:
    """Index of the largest of the maps at each pixel, the smallest where several are: uint8 or uint16 (H, W).

    block: maps float32 (classes, h, w) of some rows and columns.
    """
    labels = np.zeros(shape, np.uint8 if classes <= 256 else np.uint16)
    for left in range(0, shape[1], BLOCK[1]):
        columns = slice(left, min(left + BLOCK[1], shape[1]))
        for top in range(0, shape[0], BLOCK[0]):
            rows = slice(top, min(top + BLOCK[0], shape[0]))
            values = block(rows, columns)
            best, chosen = values[0].copy(), labels[rows, columns]
            for index in range(1, classes):
                larger = values[index] > best
                np.copyto(best, values[index], where=larger)
                chosen[larger] = index
    return labels
