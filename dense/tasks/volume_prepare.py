"""From voxels as they are stored to what a network is fed: crop, values, grid. As nnU-Net's preprocessing does it."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dense.errors import ImageError
from dense.tasks.volume_plan import Box
from dense.tasks.volume_resample import SLAB, Resampling, coarse_axis, find_scipy, resample

if TYPE_CHECKING:
    from dense.tasks.volume import VolumeTask

TINY = 1e-8  # least standard deviation or range that values are divided by


@dataclass(frozen=True, eq=False)
class Prepared:
    """A volume on the network's grid, and what is needed to go back.

    values: float32 (C, z, y, x). source: (Z, Y, X) of the file. crop: the part of it that ``values`` stand for, and
    spacing: mm of the file, both along the axes in the network's order (``VolumeTask.transpose``).
    """

    values: np.ndarray
    source: tuple[int, int, int]
    crop: Box
    spacing: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the network's grid."""
        return self.values.shape[1:]


def prepare(task: VolumeTask, values: np.ndarray, spacing: tuple[float, float, float]) -> Prepared:
    """See ``VolumeTask.prepare``."""
    values = check_values(task, values, spacing)
    source = values.shape[1:]
    values = values.transpose(0, *(1 + a for a in task.transpose))
    spacing = tuple(float(spacing[a]) for a in task.transpose)
    crop = content_box(values, task.crop)
    part = values[(slice(None), *crop.slices)]
    plan = input_resampling(task, crop.size, spacing)
    out = np.empty((len(part), *plan.target), np.float32)
    mask = None
    if any(_is_masked(task, c) for c in range(len(part))):
        mask = find_scipy().binary_fill_holes(_any_nonzero(part))
    for channel, target in enumerate(out):
        inside = mask if _is_masked(task, channel) else None
        if task.generation == 1:
            resample(_reader(part[channel]), plan, target)
            _normalise(task, channel, target, _resample_mask(inside, plan))
        elif plan.none:
            target[...] = part[channel]
            _normalise(task, channel, target, inside)
        else:
            change = _change(task, channel, part[channel], inside)
            resample(_reader(part[channel], inside, change), plan, target)
    return Prepared(out, tuple(source), crop, spacing)


def check_values(task: VolumeTask, values: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The values as (C, Z, Y, X). ImageError where they, or the spacing, are not what the task can take."""
    values = np.asarray(values)
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or 0 in values.shape:
        raise ImageError(f"a volume has channels, Z, Y and X; this has the shape {values.shape}. Remedy: give one "
                         "volume, neither a picture nor a series in time")
    if values.dtype.kind not in "buif":
        raise ImageError(f"values of {values.dtype} are no intensities. Remedy: give real numbers")
    if len(values) != len(task.channels):
        what = f"{len(values)} channel" + "s" * (len(values) > 1)
        raise ImageError(f"has {what}, but the network takes {len(task.channels)} ({', '.join(task.channels)}). "
                         "Remedy: give these, in this order, on one grid")
    if len(spacing) != 3 or not all(0 < s < np.inf for s in spacing):
        raise ImageError(f"the spacing {tuple(spacing)} is not three positive numbers of mm. Remedy: mend the header")
    if values.dtype.kind == "f":
        bad = sum(np.count_nonzero(~np.isfinite(v)) for v in _slabs(values))
        if bad:
            raise ImageError(f"{bad} of {values.size} values are NaN or infinite. Remedy: replace them by what the "
                             "scanner gives for air, for instance with numpy.nan_to_num")
    return values


def content_box(values: np.ndarray, crop: bool = True) -> Box:
    """The smallest box around all that is not zero in some channel of ``values`` (C, Z, Y, X); all if nothing is, or if
    not ``crop``. (Holes inside, which nnU-Net fills first, do not change a box.)"""
    shape = values.shape[1:]
    found = [np.zeros(n, bool) for n in shape]
    for channel in values if crop else ():
        for z in (0, *range(shape[0] - 1, 0, -1)):
            if all(axis[[0, -1]].all() for axis in found):
                return Box((0, 0, 0), tuple(shape))
            nonzero = channel[z] != 0
            found[1] |= nonzero.any(1)
            columns = nonzero.any(0)
            found[2] |= columns
            found[0][z] |= columns.any()
    if not found[0].any():
        return Box((0, 0, 0), tuple(shape))
    start = tuple(int(axis.argmax()) for axis in found)
    end = tuple(len(axis) - int(axis[::-1].argmax()) for axis in found)
    return Box(start, tuple(b - a for a, b in zip(start, end, strict=True)))


def input_resampling(task: VolumeTask, shape: tuple[int, int, int], spacing: tuple[float, ...]) -> Resampling:
    """How values of the cropped volume come onto the network's grid; ``spacing`` in the network's order of axes."""
    if task.spacing is None:
        return Resampling(tuple(shape), tuple(shape), task.order)
    target = tuple(max(1, round(old / new * n)) for old, new, n in zip(spacing, task.spacing, shape, strict=True))
    coarse = coarse_axis(spacing, task.spacing, task.anisotropy)
    return Resampling(tuple(shape), target, task.order, task.order_z, coarse)


def output_resampling(task: VolumeTask, prepared: Prepared) -> Resampling:
    """How logits or probabilities of classes come back to the grid of the cropped volume.

    Linear, the nearest along a coarse axis. Generation 2 asks the network's spacing first which axis is coarse,
    generation 1 the file's.
    """
    shape, target = prepared.shape, prepared.crop.size
    if task.spacing is None:
        return Resampling(shape, target, 1)
    spacings = (task.spacing, prepared.spacing)[::1 if task.generation == 2 else -1]
    return Resampling(shape, target, 1, 0, coarse_axis(*spacings, task.anisotropy))


Change = Callable[[np.ndarray], None]
"""What is done to values, float32, in place."""


def _change(task: VolumeTask, channel: int, values: np.ndarray, mask: np.ndarray | None) -> Change:
    """The normalisation of a channel as a function of a part of it; statistics are those of ``values`` in ``mask``."""
    kind = task.normalisation[channel]
    if kind == "none":
        return lambda part: None
    if kind == "ct":
        low, high, mean, std = (np.float32(v) for v in task.intensities[channel])
        return lambda part: _clip_and_scale(part, low, high, mean, max(std, np.float32(TINY)))
    if kind == "zscore":
        mean, std = _mean_and_std(values, mask)
        return lambda part: _scale(part, mean, max(std, TINY))
    low, high = values.min(), values.max()
    if kind == "range":
        return lambda part: _scale(part, low, max(float(high) - float(low), TINY))
    if low < 0 or high > 255:
        raise ImageError(f"the channel {task.channels[channel]} is one of colours, 0 to 255, but holds {low:g} to "
                         f"{high:g}. Remedy: scale it to 0 to 255, or use weights for another kind of picture")
    return lambda part: _scale(part, 0, 255)


def _scale(values: np.ndarray, offset: float, scale: float) -> None:
    values -= np.float32(offset)
    values /= np.float32(scale)


def _clip_and_scale(values: np.ndarray, low: float, high: float, offset: float, scale: float) -> None:
    np.clip(values, low, high, out=values)
    _scale(values, offset, scale)


def _normalise(task: VolumeTask, channel: int, values: np.ndarray, mask: np.ndarray | None) -> None:
    """Normalise a whole channel in place; outside of ``mask`` it is 0, as it was for generation 2."""
    change = _change(task, channel, values, mask)
    for begin, slab in zip(_begins(values), _slabs(values[None]), strict=True):
        change(slab)
        if mask is not None:
            slab *= mask[begin:begin + len(slab)]


def _reader(values: np.ndarray, mask: np.ndarray | None = None, change: Change | None = None
            ) -> Callable[[int, int], np.ndarray]:
    def read(begin: int, end: int) -> np.ndarray:
        part = np.array(values[begin:end], np.float32, order="C")
        if change:
            change(part)
        if mask is not None:
            part *= mask[begin:end]
        return part

    return read


def _is_masked(task: VolumeTask, channel: int) -> bool:
    """Whether a channel is normalised within what is not zero: z-scores, and with generation 1 what CT leaves, too."""
    kinds = ("zscore",) if task.generation == 2 else ("zscore", "ct")
    return task.masked[channel] and task.normalisation[channel] in kinds


def _any_nonzero(values: np.ndarray) -> np.ndarray:
    mask = values[0] != 0
    for channel in values[1:]:
        mask |= channel != 0
    return mask


def _resample_mask(mask: np.ndarray | None, plan: Resampling) -> np.ndarray | None:
    if mask is None or plan.none:
        return mask
    share = np.empty(plan.target, np.float32)
    resample(_reader(mask), Resampling(plan.source, plan.target, 1, 0, plan.coarse), share)
    return share >= 0.5


def _mean_and_std(values: np.ndarray, mask: np.ndarray | None) -> tuple[float, float]:
    """Mean and standard deviation, in float64, slab by slab; of nothing 0 and 0."""
    def parts():
        for begin, slab in zip(_begins(values), _slabs(values[None]), strict=True):
            yield slab if mask is None else slab[mask[begin:begin + len(slab)]]

    count = values.size if mask is None else int(np.count_nonzero(mask))
    if not count:
        return 0.0, 0.0
    mean = sum(float(part.sum(dtype=np.float64)) for part in parts()) / count
    return mean, (sum(_squares(part, mean) for part in parts()) / count) ** 0.5


def _squares(values: np.ndarray, mean: float) -> float:
    difference = (values.astype(np.float64) - mean).ravel()
    return float(difference @ difference)


def _rows(values: np.ndarray) -> int:
    return max(1, SLAB // max(1, values.shape[-1] * values.shape[-2]))


def _begins(values: np.ndarray) -> range:
    return range(0, values.shape[-3], _rows(values))


def _slabs(values: np.ndarray):
    """Views of (C, Z, Y, X), a few rows of one channel at a time."""
    for channel in values:
        for begin in _begins(values):
            yield channel[begin:begin + _rows(values)]
