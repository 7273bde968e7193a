"""Volumes that go through the program: voxels with their geometry, from NIfTI files, DICOM series or arrays, and back."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Volume:
    """values: (C, Z, Y, X), real; the axes as they are stored in the file, in the order of SimpleITK's arrays (NIfTI's
    reversed), never flipped or turned. spacing: mm between voxels along z, y, x. affine: float64 (4, 4), from an index
    (x, y, z) to RAS mm, as in NIfTI; None where the source has none. name: for messages. header: of the source, opaque,
    for writing results in the same geometry."""

    values: np.ndarray
    spacing: tuple[float, float, float]
    affine: np.ndarray | None = None
    name: str = "volume"
    header: Any = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""
        return self.values.shape[1:]

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(np.prod(self.spacing)) / 1000
