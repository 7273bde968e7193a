"""From patches to labels, slab by slab: outputs are summed, finished rows go back to the source's grid, and leave."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dense.errors import DenseError, ImageError, InputError
from dense.tasks.volume_plan import Box, Flips, VolumePlan, patch_weights, summed_weights
from dense.tasks.volume_prepare import Prepared, output_resampling
from dense.tasks.volume_resample import AxisMap, Resampling, scaling
from dense.tasks.volume_sums import Sums, gib

if TYPE_CHECKING:
    from dense.tasks.volume import VolumeTask

LOGGER = logging.getLogger("dense")
Forward = Callable[[np.ndarray], np.ndarray | Sequence[np.ndarray]]
Sink = Callable[[slice, np.ndarray], None]
Say = Callable[[int, int], None]
Copy = tuple[Flips, np.ndarray]
"""A mirrored copy of a patch: its flips, and the output for it, (classes, d, h, w)."""
TILE = 1 << 18  # voxels of labels that are made at once, about: what stays in a processor's cache


def read_patch(values: np.ndarray, plan: VolumePlan, box: Box, flips: Flips = (), out: np.ndarray | None = None
               ) -> np.ndarray:
    """float32 (C, d, h, w): one patch of ``values`` (C, z, y, x), turned round along ``flips``, 0 beyond the volume."""
    out = np.empty((len(values), *plan.size), np.float32) if out is None else out
    here, there = [slice(None)], [slice(None)]
    for axis in range(3):
        begin = box.start[axis] - plan.offset[axis]
        low, high = max(begin, 0), min(begin + plan.size[axis], plan.shape[axis])
        here.append(slice(low - begin, high - begin))
        there.append(slice(low, high))
    turned = _turn(out, flips)
    if plan.padded != plan.shape:
        turned[...] = 0
    turned[tuple(here)] = values[tuple(there)]
    return out


def _turn(patch: np.ndarray, flips: Flips) -> np.ndarray:
    """A view of (..., d, h, w), turned round along ``flips``."""
    return patch[(..., *(slice(None, None, -1 if axis in flips else 1) for axis in range(3)))]


def _turned_back(output: np.ndarray, flips: Flips) -> np.ndarray:
    """(d, h, w) of one class turned round, to be read once: NumPy reads backwards slowly, OpenCV does not."""
    if 2 in flips:
        rows = np.ascontiguousarray(output).reshape(-1, output.shape[-1])
        output, flips = cv2.flip(rows, 1).reshape(output.shape), tuple(a for a in flips if a != 2)
    return _turn(output, flips)


@dataclass(eq=False)
class Blending:
    """Labels of a prepared volume by a function of batches. See ``VolumeTask.segment``."""

    task: VolumeTask
    prepared: Prepared
    plan: VolumePlan
    forward: Forward
    batch: int = 1
    max_memory: int | None = None
    probabilities: Sink | None = None
    say: Say | None = None
    half: bool = False
    _sums: Sums | None = field(default=None, init=False)
    _partial: np.ndarray | None = field(default=None, init=False)  # (classes, d, h, w), where batches part copies

    @cached_property
    def _weights(self) -> np.ndarray:
        return patch_weights(self.plan.size, self.task.gaussian, self.half)

    @cached_property
    def _one_class(self) -> np.ndarray:
        return np.empty(self.plan.size, np.float32)

    @cached_property
    def order(self) -> tuple[int, int, int]:
        """The network's axes, that along which the volume is worked off first.

        The sums are those of as many rows as a patch has, so it is the axis along which the volume is the longest in
        patches. Where probabilities are handed on it is the file's first, as they are slabs of it.
        """
        if self.probabilities is not None:
            first = self.task.transpose.index(0)
        else:  # others than the first cost time, because memory is then run through across
            gains = [n / p for n, p in zip(self.plan.padded, self.plan.size, strict=True)]
            first = max(range(3), key=lambda a: gains[a] * (1, 0.6, 0.4)[a])
        return (first, *(a for a in range(3) if a != first))

    @cached_property
    def resampling(self) -> Resampling:
        return output_resampling(self.task, self.prepared)

    @cached_property
    def maps(self) -> tuple[AxisMap | None, ...]:
        """Of the axes in ``order``: resampling and division by the sum of the weights.

        The latter changes nothing about which class is the largest, so it is left out along axes that keep their grid,
        unless the values matter.
        """
        maps = []
        for axis in self.order:
            found = self.resampling.map(axis)
            if not self.half:
                offset, length = self.plan.offset[axis], self.plan.shape[axis]
                inverse = 1 / summed_weights(self.plan, axis, self.task.gaussian)[offset:offset + length]
                if found:
                    found = found.scaled(inverse)
                elif self.probabilities is not None:
                    found = scaling(inverse)
            maps.append(found)
        return tuple(maps)

    @cached_property
    def row_map(self) -> AxisMap | None:
        """Which rows a row of the labels needs; None if just its own."""
        return self.resampling.map(self.order[0])

    def run(self) -> np.ndarray:
        """Labels (Z, Y, X) of the file, uint8, or uint16 above 256 classes."""
        dtype = np.uint8 if len(self.task.classes) <= 256 else np.uint16
        labels = np.zeros(self.prepared.source, dtype)
        target = labels.transpose(self.task.transpose)[self.prepared.crop.slices].transpose(self.order)
        axis = self.order[0]
        halo = self.row_map.halo - 1 if self.row_map else 0
        rows = min(self.plan.size[axis] + halo, self.plan.padded[axis])
        shape = (rows, *(self.plan.padded[a] for a in self.order[1:]))
        spill = self._must_spill(shape, labels.nbytes)
        if self.half:
            LOGGER.warning("sums of patches in half precision: classes that are nearly equal may change places")
        self._sums = Sums(len(self.task.classes), shape, self.half, spill)
        try:
            self._background(0, self._file_slice(0, 0).start)
            done = released = 0
            for finished in self._groups():
                done, released = self._emit(target, done, released, finished)
            self._background(self._file_slice(0, done).stop, labels.shape[0])
        finally:
            self._sums.close()
        return labels

    # ---- memory

    def _must_spill(self, shape: tuple[int, int, int], labels: int) -> bool:
        """Whether the sums go to a file. ImageError if the rest alone is above a limit that was asked for."""
        limit = self.max_memory or default_memory()
        classes, patch = len(self.task.classes), int(np.prod(self.plan.size))
        sums = classes * int(np.prod(shape)) * (2 if self.half else 4)
        weights = int(np.prod(shape)) * 2 if self.half else 0
        crossing = self.resampling.target[self.order[1]] * self.resampling.target[self.order[2]]
        slabs = max(TILE, crossing) * 4 * (6 if self.probabilities is None else 3 * classes)
        parted = self.batch % len(self.plan.flips) > 0
        patches = 4 * patch * (classes * parted + 1 + self.batch * self.prepared.values.shape[0])
        rest = self.prepared.values.nbytes + labels + weights + slabs + patches
        if self.max_memory and rest > limit:
            raise ImageError(f"needs about {gib(rest)} beside the network, even with sums of patches in a file, above "
                             f"the limit of {gib(limit)}. Remedy: raise --max-memory to {gib(rest * 1.02)} or more")
        return rest + sums > limit

    # ---- patches

    def _groups(self) -> Iterator[int]:
        """Runs the patches, those that begin at one row after the other; yields how many rows are finished then."""
        axis, total, done = self.order[0], self.plan.count, 0
        starts = self.plan.starts[axis]
        tensors = np.empty((self.batch, self.prepared.values.shape[0], *self.plan.size), np.float32)
        for start, following in zip(starts, (*starts[1:], self.plan.padded[axis]), strict=True):
            for box, copies in self._outputs(self.plan.boxes(axis, start), tensors):
                finished = self._take(box, copies)
                copies.clear()  # their memory is the network's again
                if finished:
                    done += 1
                    if self.say:
                        self.say(done, total)
            yield following

    def _outputs(self, boxes: Iterator[Box], tensors: np.ndarray) -> Iterator[tuple[Box, list[Copy]]]:
        """Patches and outputs of their copies, as many at a time as ``tensors`` holds; the rest of a patch follows."""
        waiting: list[tuple[Box, Flips]] = []

        def flush():
            given = tensors[:len(waiting)]
            outputs = self.forward(given)  # an array, or one for each: a list is not copied into one
            wanted = (len(self.task.classes), *self.plan.size)
            if found := [np.shape(o) for o in outputs if np.shape(o) != wanted]:
                raise InputError(f"the network gives {found[0]} for a patch {given.shape[1:]}, but its task has "
                                 f"{len(self.task.classes)} classes: {wanted} was expected. Remedy: a task and weights "
                                 "that belong together")
            copies = zip(waiting, outputs, strict=True)
            for box, group in groupby(copies, key=lambda copy: copy[0][0]):
                yield box, [(flips, output) for (_, flips), output in group]
            waiting.clear()

        for box in boxes:
            for flips in self.plan.flips:
                read_patch(self.prepared.values, self.plan, box, flips, tensors[len(waiting)])
                waiting.append((box, flips))
                if len(waiting) == len(tensors):
                    yield from flush()
        if waiting:
            yield from flush()

    def _take(self, box: Box, copies: list[Copy]) -> bool:
        """Add up outputs of copies of a patch, class by class; with the last of them it goes to the sums: True."""
        first, last = copies[0][0] == self.plan.flips[0], copies[-1][0] == self.plan.flips[-1]
        if self.task.generation == 1:
            copies = [(flips, softmax(output)) for flips, output in copies]
        if not (first and last) and self._partial is None:
            self._partial = np.empty((len(self.task.classes), *self.plan.size), np.float32)
        count, weights = len(self.plan.flips), self._weights
        start = tuple(box.start[a] for a in self.order)
        for label in range(len(self.task.classes)):
            total = self._one_class if first and last else self._partial[label]
            for flips, output in copies:
                turned = _turned_back(output[label], flips)
                if flips == self.plan.flips[0]:
                    total[...] = turned
                else:
                    total += turned
            if last:
                if count > 1:
                    total /= count
                if not np.isfinite(total.sum()):
                    raise DenseError("the network's output is not finite (NaN or infinity); dense verify names the "
                                     "layer")
                total *= weights
                self._sums.add(label, start, total.transpose(self.order))
        if last:
            self._sums.close_patch(start, weights.transpose(self.order))
        return last

    # ---- rows

    def _emit(self, target: np.ndarray, done: int, released: int, finished: int) -> tuple[int, int]:
        """Labels of all rows that depend on the first ``finished`` rows only.

        target: labels in the order of the axes here; done: rows of it that are there. released: rows of the sums that
        were given back. Returns both anew.
        """
        offset = self.plan.offset[self.order[0]]
        known = min(finished - offset, self.plan.shape[self.order[0]])
        end = int(np.searchsorted(self.row_map.last, known, "right")) if self.row_map else known
        at_once = max(1, TILE // (target.shape[1] * target.shape[2]))
        for begin in range(done, end, at_once):
            stop = min(begin + at_once, end)
            if self.probabilities is None:
                target[begin:stop] = self._largest(begin, stop)
            else:
                target[begin:stop] = self._hand_on(begin, stop)
            self._sums.leave()
        done = max(done, end)
        free = finished
        if self.row_map and done < len(target):
            free = min(finished, offset + int(self.row_map.first[done:].min()))
        self._sums.release(released, free)
        return done, max(free, released)

    def _class_rows(self, label: int, begin: int, end: int) -> np.ndarray:
        """float32 (rows, v, u): values of one class in rows of the labels, on their grid."""
        low, high = self.row_map.needs(begin, end) if self.row_map else (begin, end)
        across = (slice(self.plan.offset[a], self.plan.offset[a] + self.plan.shape[a]) for a in self.order[1:])
        offset = self.plan.offset[self.order[0]]
        values = self._sums.means(label, low + offset, high + offset)[(slice(None), *across)]
        rows, columns, last = self.maps
        if rows:
            values = rows.rows(values, begin, end, low)
        if columns:
            values = columns.apply(values, 1)
        if last:
            values = last.apply(values, 2)
        if self.half and not self.resampling.none:
            values = values.astype(np.float16).astype(np.float32)
        return values

    def _largest(self, begin: int, end: int) -> np.ndarray:
        """Labels of some rows, class by class, so that one class at a time is resampled; of equals the first."""
        best = np.array(self._class_rows(0, begin, end))
        labels = np.zeros(best.shape, np.uint8 if len(self.task.classes) <= 256 else np.uint16)
        larger = np.empty(best.shape, bool)
        for label in range(1, len(self.task.classes)):
            values = self._class_rows(label, begin, end)
            np.greater(values, best, out=larger)
            np.putmask(labels, larger, label)
            np.maximum(values, best, out=best)
        return labels

    def _hand_on(self, begin: int, end: int) -> np.ndarray:
        """Labels of some rows, whose probabilities are given to the sink."""
        values = np.stack([self._class_rows(label, begin, end) for label in range(len(self.task.classes))])
        if self.task.generation == 2:
            values = softmax(values)
        where = self._file_slice(begin, end)
        across = [self.task.transpose[a] for a in self.order[1:]]  # axes of the file
        slab = np.zeros((len(values), end - begin, *self.prepared.source[1:]), np.float32)
        slab[0] = 1
        if across == [2, 1]:
            slab = slab.swapaxes(2, 3)
        slab[(slice(None), slice(None), *(self.prepared.crop.slices[a] for a in self.order[1:]))] = values
        self.probabilities(where, slab.swapaxes(2, 3) if across == [2, 1] else slab)
        return values.argmax(0)

    def _file_slice(self, begin: int, end: int) -> slice:
        """Rows of the cropped volume as rows of the file."""
        first = self.prepared.crop.start[self.order[0]]
        return slice(first + begin, first + end)

    def _background(self, begin: int, end: int) -> None:
        """Probabilities of rows that were cropped away."""
        if self.probabilities is None:
            return
        for row in range(begin, end):
            slab = np.zeros((len(self.task.classes), 1, *self.prepared.source[1:]), np.float32)
            slab[0] = 1
            self.probabilities(slice(row, row + 1), slab)


def softmax(values: np.ndarray) -> np.ndarray:
    """Over the first axis, float32."""
    out = values - values.max(0)
    np.exp(out, out=out)
    out /= out.sum(0)
    return out


def default_memory() -> int:
    """Bytes for arrays beside the network: half of the machine's memory, or of what its container may take."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        machine = 1 << 33
    with suppress(OSError, ValueError):  # no container, or one without a limit
        machine = min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return machine // 2
