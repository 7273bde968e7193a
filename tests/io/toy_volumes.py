"""Tiny volumes in files."""
from __future__ import annotations

from pathlib import Path

import numpy as np


def values_of(shape=(5, 6, 7), dtype=np.int16, seed=0) -> np.ndarray:
    """(X, Y, Z[, C]) as NIfTI counts."""
    rng = np.random.default_rng(seed)
    return rng.integers(0 if np.dtype(dtype).kind == "u" else -100, 100, shape).astype(dtype)


def write_nifti(path: Path, values: np.ndarray | None = None, affine: np.ndarray | None = None, **header) -> np.ndarray:
    """Write values (X, Y, Z[, C]) with nibabel; returns them. header: fields to set."""
    import nibabel

    values = values_of() if values is None else values
    kind = header.pop("kind", nibabel.Nifti1Image)
    image = kind(values, np.diag([-1.5, 1.25, 3, 1]) if affine is None else affine)
    for field, value in header.items():
        if field == "slope":
            image.header.set_slope_inter(*value)
        else:
            image.header[field] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    if "slope" in header:
        image.to_filename(path)
        _patch_slope(path, *header["slope"])
    else:
        nibabel.save(image, path)
    return values


def _patch_slope(path: Path, slope: float, inter: float) -> None:
    """nibabel rescales what it writes: set the fields in the file."""
    data = bytearray(path.read_bytes())
    data[112:120] = np.float32([slope, inter]).tobytes()
    path.write_bytes(data)
