"""Sums over overlapping patches for the rows of a volume that are under way, in memory or in a temporary file."""
from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator

import numpy as np

from dense.errors import DenseError

LOGGER = logging.getLogger("dense")


class Sums:
    """Weighted sums of classes over a window of ``rows`` rows that moves along the first axis of a grid.

    shape: (rows, v, u); the row r of the grid is kept as r % rows. half: sums in float16, as nnU-Net 2 has them, with
    those of the weights beside them (in float32 these follow from the plan). spill: in a temporary file.
    """

    def __init__(self, classes: int, shape: tuple[int, int, int], half: bool = False, spill: bool = False):
        self.rows, self.half = shape[0], half
        dtype = np.float16 if half else np.float32
        self._file = TemporaryArray((classes, *shape), dtype) if spill else None
        self.values = self._file.array if spill else np.zeros((classes, *shape), dtype)
        self.weights = np.zeros(shape, dtype) if half else None

    def add(self, label: int, start: tuple[int, int, int], values: np.ndarray) -> None:
        """Add weighted ``values`` (d, h, w) of one class at ``start`` of the grid."""
        self._add(self.values[label], start, values)
        self.leave()

    def close_patch(self, start: tuple[int, int, int], weights: np.ndarray) -> None:
        """To be called after the values of all classes of a patch, with its weights (d, h, w)."""
        if self.weights is not None:
            self._add(self.weights, start, weights)

    def _add(self, target: np.ndarray, start: tuple[int, int, int], values: np.ndarray) -> None:
        depth, height, width = values.shape
        across = slice(start[1], start[1] + height), slice(start[2], start[2] + width)
        for here, there in self._parts(start[0], start[0] + depth):
            target[(there, *across)] += values[here]

    def means(self, label: int, begin: int, end: int) -> np.ndarray:
        """Rows ``begin`` to ``end`` of one class, float32 sums; with ``half`` means, rounded to float16 there."""
        parts = [there for _, there in self._parts(begin, end)]
        values = [self.values[label, part] for part in parts]
        if self.weights is not None:
            values = [(v / self.weights[p]).astype(np.float32) for v, p in zip(values, parts, strict=True)]
        return values[0] if len(values) == 1 else np.concatenate(values)

    def release(self, begin: int, end: int) -> None:
        """Rows that are not needed any more; their places are those of rows to come."""
        for _, there in self._parts(begin, end):
            for values in self.values:
                values[there] = 0
                self.leave()
            if self.weights is not None:
                self.weights[there] = 0

    def close(self) -> None:
        """Let go of the memory, and remove the file."""
        self.values = self.weights = None
        if self._file:
            self._file.close()

    def leave(self) -> None:
        """What is in a file need not stay in memory too."""
        if self._file:
            self._file.leave()

    def _parts(self, begin: int, end: int) -> Iterator[tuple[slice, slice]]:
        """Slices of rows of the grid, counted from ``begin``, and where they are kept."""
        at = begin
        while at < end:
            place = at % self.rows
            count = min(end - at, self.rows - place)
            yield slice(at - begin, at - begin + count), slice(place, place + count)
            at += count


class TemporaryArray:
    """Zeros in a nameless file of the folder for temporary files (TMPDIR), mapped into memory.

    Its space is taken at once: a disk that is full is a DenseError here, and not the end of the process later.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type):
        folder, size = tempfile.gettempdir(), int(np.prod(shape)) * np.dtype(dtype).itemsize
        LOGGER.info("sums of patches: %s in a temporary file in %s", gib(size), folder)
        self._file = tempfile.TemporaryFile(dir=folder, prefix="dense-")  # noqa: SIM115
        try:
            _take_space(self._file.fileno(), size, folder)
            self._map = mmap.mmap(self._file.fileno(), size)
        except OSError as error:
            self._file.close()
            raise DenseError(f"{folder}: the sums of this volume need {gib(size)} there ({error.strerror or error}). "
                             "Remedy: free some space, point TMPDIR to another disk, raise --max-memory so that they "
                             "stay in memory, or take half precision for them") from None
        self.array = np.frombuffer(self._map, dtype).reshape(shape)

    def leave(self) -> None:
        """What was written may leave the memory of the process; it stays in the file."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Remove the file."""
        self.array = None
        with contextlib.suppress(BufferError):  # a view is still about; the map goes with it
            self._map.close()
        self._file.close()


def _take_space(file: int, size: int, folder: str) -> None:
    """Make a file ``size`` bytes long. OSError where there is no room."""
    try:
        return os.posix_fallocate(file, 0, size)
    except AttributeError:  # not on this system
        pass
    except OSError as error:  # not on this file system
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.truncate(file, size)


def gib(size: float) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.0f} MiB"
