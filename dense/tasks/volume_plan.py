"""Where a volume's patches lie, how they are mirrored and how they weigh. Plain geometry, no voxels."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from math import ceil

import numpy as np

from dense.tasks.plan import Window

Flips = tuple[int, ...]
"""Axes (0, 1, 2 of z, y, x) of a patch that are turned round."""


@dataclass(frozen=True)
class Box:
    """Voxels ``start`` to ``start + size`` along z, y, x of a grid."""

    start: tuple[int, int, int]
    size: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """To index an array (..., Z, Y, X)."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))


@dataclass(frozen=True)
class VolumePlan:
    """How a volume on the network's grid goes through the network.

    shape: (z, y, x) of the volume; size: of a patch. padded: ``shape``, but at least ``size``; offset: of the volume
    in there. starts: of the patches along each axis of the padded grid. flips: of the copies of each patch.
    """

    shape: tuple[int, int, int]
    size: tuple[int, int, int]
    padded: tuple[int, int, int]
    offset: tuple[int, int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    flips: tuple[Flips, ...]
    overview: Window | None = None  # as of the plans of pictures: there is no first pass
    tiles: tuple[Window, ...] = ()

    @property
    def count(self) -> int:
        """Number of patches, mirrored copies not counted."""
        return len(self.starts[0]) * len(self.starts[1]) * len(self.starts[2])

    def boxes(self, axis: int = 0, start: int | None = None) -> Iterator[Box]:
        """The patches on the padded grid, x fastest; if ``start`` is given, those that begin there along ``axis``."""
        starts = [s if a != axis or start is None else (start,) for a, s in enumerate(self.starts)]
        for corner in product(*starts):
            yield Box(corner, self.size)


def plan_volume(shape: tuple[int, int, int], size: tuple[int, int, int], step: float, mirror: Flips) -> VolumePlan:
    """Patches of ``size`` over a volume of ``shape``, as both generations of nnU-Net place them.

    Where the volume is smaller than a patch it is padded on both sides, on the far side by one more if that is odd.
    step: distance of neighbours as a share of the patch, at most. mirror: axes whose flips are combined.
    """
    padded = tuple(max(n, p) for n, p in zip(shape, size, strict=True))
    offset = tuple((m - n) // 2 for m, n in zip(padded, shape, strict=True))
    starts = tuple(window_starts(n, p, step) for n, p in zip(padded, size, strict=True))
    flips = tuple(c for n in range(len(mirror) + 1) for c in combinations(mirror, n))
    return VolumePlan(tuple(shape), tuple(size), padded, offset, starts, flips)


def window_starts(length: int, size: int, step: float) -> tuple[int, ...]:
    """First voxels of windows of ``size`` that cover ``length`` evenly: 110, 64, 0.5 -> 0, 23, 46.

    As nnU-Net has it: ceil((length - size) / (size * step)) + 1 windows, halves rounded to even.
    """
    if length <= size:
        return (0,)
    gaps = ceil((length - size) / (size * step))
    distance = (length - size) / gaps
    return tuple(round(distance * i) for i in range(gaps + 1))


def axis_weights(size: int) -> np.ndarray:
    """float64 (size,): how much a voxel of a patch counts along one axis, 1 at size // 2, a Gaussian of size / 8."""
    distance = np.arange(size) - size // 2
    return np.exp(-0.5 * (distance / (size / 8)) ** 2)


@lru_cache(maxsize=4)
def patch_weights(size: tuple[int, int, int], gaussian: bool = True, half: bool = False) -> np.ndarray:
    """(d, h, w) > 0: how much each voxel of a patch counts; the product of ``axis_weights``, or 1 without ``gaussian``.

    float32; float16 and up to 10 if ``half``, as nnU-Net 2 has it. What is 0 by rounding becomes the least that is not.
    """
    z, y, x = (axis_weights(n) if gaussian else np.ones(n) for n in size)
    weights = z[:, None, None] * y[:, None] * x
    weights = (weights * (10 if half and gaussian else 1)).astype(np.float16 if half else np.float32)
    weights[weights == 0] = weights[weights > 0].min()
    weights.setflags(write=False)
    return weights


def summed_weights(plan: VolumePlan, axis: int, gaussian: bool = True) -> np.ndarray:
    """float64 (n,): the sum of the weights of all windows along one axis of the padded grid. That of a voxel is the
    product of those of its three axes, because windows form a grid."""
    total = np.zeros(plan.padded[axis])
    weights = axis_weights(plan.size[axis]) if gaussian else np.ones(plan.size[axis])
    for start in plan.starts[axis]:
        total[start:start + len(weights)] += weights
    return total
