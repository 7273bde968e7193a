"""Resampling of volumes, axis by axis, as matrices: what skimage's ``resize`` gives (mode 'edge', no anti-aliasing).

Interpolation by splines on a grid is separable and linear: along one axis it is a matrix, and what scipy makes of a
unit matrix is that matrix. It is banded (a cubic spline's prefilter fades to 1e-9 within 16 voxels), so that a slab of
the result needs a slab of the source, and float32 products of blocks of it replace passes in float64 over the volume.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from dense.errors import MissingDependencyError

FADED = 1e-9  # weights below are left out
BLOCK = 32  # rows of a result that are made by one product
SLAB = 1 << 21  # voxels of a result that are made at once, about


@dataclass(frozen=True, eq=False)
class AxisMap:
    """Resampling along one axis: ``matrix`` float32 (n_out, n_in), of whose row i only columns ``first[i]`` to
    ``last[i]`` (exclusive) count. nearest: whether a row is a single 1."""

    matrix: np.ndarray
    first: np.ndarray
    last: np.ndarray
    nearest: bool = False

    @property
    def halo(self) -> int:
        """Most voxels that one voxel of the result needs."""
        return int((self.last - self.first).max())

    def needs(self, begin: int, end: int) -> tuple[int, int]:
        """Voxels (begin, end) that voxels ``begin`` to ``end`` of the result are made of."""
        return int(self.first[begin:end].min()), int(self.last[begin:end].max())

    def scaled(self, factors: np.ndarray) -> AxisMap:
        """The same of a source that is multiplied by ``factors`` (n_in,)."""
        return AxisMap((self.matrix * factors).astype(np.float32), self.first, self.last)

    def apply(self, source: np.ndarray, axis: int) -> np.ndarray:
        """float32, ``source`` (three axes) resampled along ``axis``."""
        if self.nearest:
            return np.take(source, self.first, axis=axis)
        shape = list(source.shape)
        shape[axis] = len(self.matrix)
        out = np.empty(shape, np.float32)
        for begin in range(0, len(self.matrix), BLOCK):
            end = min(begin + BLOCK, len(self.matrix))
            self._block(source, axis, begin, end, 0, out[(slice(None),) * axis + (slice(begin, end),)])
        return out

    def rows(self, source: np.ndarray, begin: int, end: int, offset: int) -> np.ndarray:
        """float32, rows ``begin`` to ``end`` of the result along axis 0; ``source`` begins with row ``offset``."""
        if self.nearest:
            return source[self.first[begin:end] - offset]
        out = np.empty((end - begin, *source.shape[1:]), np.float32)
        self._block(source, 0, begin, end, offset, out)
        return out

    def _block(self, source: np.ndarray, axis: int, begin: int, end: int, offset: int, out: np.ndarray) -> None:
        low, high = self.needs(begin, end)
        block = self.matrix[begin:end, low:high]
        part = source[(slice(None),) * axis + (slice(low - offset, high - offset),)]
        if axis == 0:
            np.matmul(block, part.reshape(len(part), -1), out=out.reshape(len(out), -1))
        elif axis == 1:
            np.matmul(block, part, out=out)
        else:
            np.matmul(part, block.T, out=out)


def scaling(factors: np.ndarray) -> AxisMap:
    """A map that leaves a grid as it is and multiplies by ``factors`` (n,)."""
    index = np.arange(len(factors))
    return AxisMap(np.diag(factors).astype(np.float32), index, index + 1)


def find_scipy(module: str = "scipy.ndimage") -> Any:
    """A module of scipy. MissingDependencyError if it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"volumes need scipy, which cannot be imported ({error}). "
                                     "Remedy: pip install 'dense[medical]'") from None


@lru_cache(maxsize=24)
def axis_map(n_in: int, n_out: int, order: int, coarse: bool = False) -> AxisMap | None:
    """The map from ``n_in`` to ``n_out`` voxels over the same length by a spline of ``order``; None if they are equal.

    coarse: along the coarse axis nnU-Net interpolates by other means (``map_coordinates``), which differ in rounding.
    """
    if n_in == n_out:
        return None
    ndimage = find_scipy()
    unit = np.eye(n_in)
    if coarse:
        position = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
        grid = np.meshgrid(position, np.arange(n_in, dtype=float), indexing="ij")
        matrix = ndimage.map_coordinates(unit, grid, order=order, mode="nearest")
    else:
        matrix = ndimage.zoom(unit, (1 / (n_in / n_out), 1), order=order, mode="nearest", grid_mode=True)
    counts = np.abs(matrix) > FADED
    first, last = counts.argmax(1), n_in - counts[:, ::-1].argmax(1)
    return AxisMap(matrix.astype(np.float32), first, last, order == 0)


@dataclass(frozen=True)
class Resampling:
    """From ``source`` to ``target`` (z, y, x) by a spline of ``order``; along ``coarse``, if any, of ``order_z``."""

    source: tuple[int, int, int]
    target: tuple[int, int, int]
    order: int
    order_z: int = 0
    coarse: int | None = None

    @property
    def none(self) -> bool:
        """Whether nothing is to be done."""
        return self.source == self.target

    def map(self, axis: int) -> AxisMap | None:
        """The map along one axis."""
        coarse = axis == self.coarse
        return axis_map(self.source[axis], self.target[axis], self.order_z if coarse else self.order, coarse)


def coarse_axis(spacing: tuple[float, ...], other: tuple[float, ...], anisotropy: float) -> int | None:
    """The axis that is resampled for itself: the coarse one of ``spacing`` if its spacings differ by more than
    ``anisotropy``, else of ``other``; None where there is none, or where two are equally coarse."""
    for values in (spacing, other):
        if max(values) / min(values) > anisotropy:
            axes = [a for a, v in enumerate(values) if v == max(values)]
            return axes[0] if len(axes) == 1 else None
    return None


def resample(read: Callable[[int, int], np.ndarray], plan: Resampling, out: np.ndarray) -> None:
    """Resample one channel into ``out`` (target), slab by slab.

    read: rows (begin, end) of the source along z, float32. Values stay within those of the source, as there: of all of
    it, or slice by slice across a coarse axis.
    """
    maps = [plan.map(axis) for axis in range(3)]
    limits = _limits(read, plan) if plan.order > 1 else None
    rows, begin = None, 0  # source rows, resampled along y and x, and the first of them
    per_slab = max(1, SLAB // max(1, plan.target[1] * plan.target[2]))
    for start in range(0, plan.target[0], per_slab):
        end = min(start + per_slab, plan.target[0])
        low, high = maps[0].needs(start, end) if maps[0] else (start, end)
        if rows is None or low >= begin + len(rows):
            rows, begin = _across(read(low, high), maps, plan, limits, low), low
        elif high > begin + len(rows):
            fresh = _across(read(begin + len(rows), high), maps, plan, limits, begin + len(rows))
            rows, begin = np.concatenate([rows[low - begin:], fresh]), low
        slab = maps[0].rows(rows, start, end, begin) if maps[0] else rows[start - begin:end - begin]
        if plan.coarse is None and limits is not None:
            slab = np.clip(slab, *limits)
        elif plan.coarse in (1, 2):
            if limits is not None:
                slab = np.clip(slab, *(v[:, None] if plan.coarse == 1 else v for v in limits))
            if maps[plan.coarse]:
                slab = maps[plan.coarse].apply(slab, plan.coarse)
        out[start:end] = slab


def _across(slab: np.ndarray, maps: list[AxisMap | None], plan: Resampling, limits: tuple | None,
            begin: int) -> np.ndarray:
    """Rows of the source resampled along y and x, but not along a coarse one of these: that comes last."""
    for axis in (1, 2):
        if maps[axis] and axis != plan.coarse:
            slab = maps[axis].apply(slab, axis)
    if plan.coarse == 0 and limits is not None:
        slab = np.clip(slab, *(v[begin:begin + len(slab), None, None] for v in limits))
    return slab


def _limits(read: Callable[[int, int], np.ndarray], plan: Resampling) -> tuple[Any, Any]:
    """Smallest and largest value of the source; of each slice across the coarse axis, if there is one."""
    depth, height, width = plan.source
    low = np.full(1 if plan.coarse is None else plan.source[plan.coarse], np.inf, np.float32)
    high = -low
    step = max(1, SLAB // max(1, height * width))
    for start in range(0, depth, step):
        slab = read(start, min(start + step, depth))
        if plan.coarse == 0:
            low[start:start + len(slab)], high[start:start + len(slab)] = slab.min((1, 2)), slab.max((1, 2))
            continue
        axes = {None: (0, 1, 2), 1: (0, 2), 2: (0, 1)}[plan.coarse]
        np.minimum(low, slab.min(axes), out=low)
        np.maximum(high, slab.max(axes), out=high)
    return (low[0], high[0]) if plan.coarse is None else (low, high)
