"""Probabilities of a volume's classes, kept in a file without a name while they come, slab by slab."""
from __future__ import annotations

import math
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dense.errors import ConfigError, DenseError
from dense.io import atomic_path
from dense.io.volume import write_values

if TYPE_CHECKING:
    from dense.io.volume import Volume

FORMATS = {"npz": ".npz", "nii": ".nii.gz"}
TYPES = ("float16", "float32")


class Probabilities:
    """A sink for ``VolumeTask.segment``, and what it took, (classes, Z, Y, X) of 0 to 1.

    dtype: 'float16' or 'float32'. folder: where the temporary file is, which has no name and is gone with this object
    or the program, however that ends; None takes the system's.

    Raises DenseError where the disk has not enough space.
    """

    def __init__(self, classes: int, shape: tuple[int, int, int], dtype: str = "float16", folder: Path | None = None):
        if dtype not in TYPES:
            raise ConfigError(f"probabilities {dtype!r}: must be {' or '.join(TYPES)}")
        self.shape, self.dtype = (classes, *shape), np.dtype(dtype)
        place = Path(folder or tempfile.gettempdir())
        free = shutil.disk_usage(place).free
        if free < self.nbytes:
            raise DenseError(f"{place}: probabilities of {classes} classes need {self.nbytes / 2**30:.1f} GiB while "
                             f"they come, {free / 2**30:.1f} GiB are free. Remedy: free some space, another disk, or "
                             "no probabilities")
        self._file = tempfile.TemporaryFile(dir=place, buffering=0)  # noqa: SIM115 (lives as long as this)
        try:
            self._file.truncate(self.nbytes)
        except OSError as error:
            raise self._full(error) from error

    @property
    def nbytes(self) -> int:
        """Of all of them."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __call__(self, part: slice, values: np.ndarray) -> None:
        """Take float (classes, dz, Y, X) of a part along Z. Raises DenseError (disk full)."""
        plane = math.prod(self.shape[2:]) * self.dtype.itemsize
        start = part.start or 0
        try:
            for index, one in enumerate(values):
                self._file.seek((index * self.shape[1] + start) * plane)
                view = memoryview(np.ascontiguousarray(one, self.dtype)).cast("B")
                while view:
                    view = view[self._file.write(view):]
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> DenseError:
        return DenseError(f"the temporary file of the probabilities cannot be written ({error.strerror}). Remedy: "
                          f"{self.nbytes / 2**20:.0f} MiB of disk, or no probabilities")

    def array(self) -> np.ndarray:
        """(classes, Z, Y, X), read-only, read from the disk as it is used."""
        return np.memmap(self._file, self.dtype, "r", 0, self.shape)

    def save(self, path: str | Path, like: Volume) -> Path:
        """Write .npz ('probabilities', as nnU-Net names them, in this type), or .nii.gz or .nii (4-D, float32).

        Raises ConfigError for other suffixes, DenseError.
        """
        path = Path(path)
        planes = self.array().reshape(-1, *self.shape[2:])
        if path.name.lower().endswith((".nii", ".nii.gz")):
            return write_values(path, iter(planes), like, np.float32, self.shape[0])
        if path.suffix.lower() != ".npz":
            raise ConfigError(f"{path}: probabilities are written as .npz or .nii.gz")
        with atomic_path(path) as temporary:
            try:
                self._write_npz(temporary, planes)
            except OSError as error:
                error.filename = error.filename or str(temporary)  # so that it is known whose it is
                raise
        return path

    def _write_npz(self, path: Path, planes: np.ndarray) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            member = zipfile.ZipInfo("probabilities.npy")  # of a fixed date: the same bytes every time
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, {
                    "descr": self.dtype.str, "fortran_order": False, "shape": self.shape})
                for plane in planes:
                    file.write(memoryview(np.ascontiguousarray(plane)).cast("B"))
