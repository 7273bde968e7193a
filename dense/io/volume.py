"""Volumes that go through the program: voxels with their geometry, from files or arrays, and back."""
from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import ImageError
from dense.io import nifti
from dense.io.volume_files import volume_suffix


@dataclass(frozen=True, eq=False)
class Volume:
    """values: (C, Z, Y, X), real, perhaps read-only; the axes as they are stored in the file, in the order of
    SimpleITK's arrays (NIfTI's reversed), never flipped or turned. spacing: mm between voxels along z, y, x. affine:
    float64 (4, 4), from an index (x, y, z) to RAS mm, as in NIfTI; None where the source has none. name: for messages.
    header: of the source, opaque, for writing results in the same geometry."""

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
        mm3 = math.prod(self.spacing) if self.affine is None else abs(np.linalg.det(self.affine[:3, :3]))
        return float(mm3) / 1000


PathLike = str | os.PathLike[str]


def read_volume(source: PathLike | Sequence[PathLike], fill: float | None = None) -> Volume:
    """Read a volume.

    source: a file (.nii, .nii.gz, .hdr with .img, .mgz; .nrrd and .mha through SimpleITK); the folder of a DICOM
        series (SimpleITK); or several files, which become the channels of one volume, in this order.
    fill: value for NaN and infinite voxels, which else are an error.

    Integers and float32 keep their type, all else becomes float32. Values of an uncompressed file are read-only and
    read from the disk as they are used.

    Raises ImageError that names the file, the problem and the remedy; MissingDependencyError.
    """
    if not isinstance(source, str | os.PathLike):
        return _stacked([read_volume(s, fill) for s in source])
    name = os.fspath(source)
    if os.path.isdir(name):
        from dense.io.dicom import read_series

        return checked(read_series(name), fill)
    suffix = volume_suffix(name).lower()
    if suffix in (".nrrd", ".mha", ".mhd"):
        from dense.io.dicom import read_itk

        return checked(read_itk(name), fill)
    if suffix in (".mgz", ".mgh") or (found := nifti.read_nifti(name)) is None:
        return checked(_read_other(name), fill)
    values, header = found
    return checked(Volume(values, *_geometry(header, name), name, header), fill)


def volume_from_array(array: np.ndarray, spacing: Sequence[float], affine: np.ndarray | None = None,
                      name: str = "array", fill: float | None = None) -> Volume:
    """The volume of an array (Z, Y, X) or (C, Z, Y, X); spacing in mm along z, y, x; fill: see ``read_volume``.

    affine: from an index (x, y, z) to RAS mm, whose columns must be as long as the spacing. Raises ImageError.
    """
    if array.ndim not in (3, 4) or array.dtype.kind not in "iufb" or not array.size:
        raise ImageError(f"{name}: an array of {array.dtype} {array.shape} is no volume; give numbers (Z, Y, X) or "
                         "(C, Z, Y, X)")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.dtype.kind == "f" and array.dtype != np.float32:
        array = array.astype(np.float32)
    spacing = nifti.check_spacing(spacing, name)
    if affine is not None:
        affine = np.asarray(affine, np.float64)
        _check_affine(affine, spacing, name)
    return checked(Volume(array if array.ndim == 4 else array[None], spacing, affine, name), fill)


def volume_from_image(image: Any, name: str = "image", fill: float | None = None) -> Volume:
    """The volume of an image of nibabel or SimpleITK; see ``read_volume``."""
    if hasattr(image, "GetSpacing"):
        from dense.io.dicom import volume_from_itk

        return checked(volume_from_itk(image, name), fill)
    name = image.get_filename() or name
    values = np.asanyarray(image.dataobj)
    if values.ndim < 3 or values.dtype.kind not in "iuf":
        raise ImageError(f"{name}: {values.dtype} {values.shape} is no volume; a volume has three axes of numbers")
    values = values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values
    affine = np.asarray(image.affine, np.float64)
    zooms = [float(z) for z in image.header.get_zooms()[2::-1]]
    header = image.header if {"sform_code", "dim"} <= set(image.header.keys()) else None
    if header is not None and not np.allclose(header.get_best_affine(), affine):
        header = None
    values = np.moveaxis(values.reshape(*values.shape[:3], -1), 3, 0).transpose(0, 3, 2, 1)
    if header is not None and hasattr(header, "get_xyzt_units"):
        return checked(Volume(values, *_geometry(header, name), name, header), fill)
    _check_affine(affine, nifti.check_spacing(zooms, name), name)
    return checked(Volume(values, tuple(zooms), affine, name), fill)


def _geometry(header: Any, name: str) -> tuple[tuple[float, float, float], np.ndarray | None]:
    """(spacing, affine) in mm; the affine is None where neither of the header's is said to be valid."""
    unit = nifti.millimetres(header)
    spacing = nifti.check_spacing([abs(float(v)) * unit for v in header["pixdim"][3:0:-1]], name)
    if not (header["sform_code"] > 0 or header["qform_code"] > 0):
        return spacing, None
    affine = np.array(header.get_best_affine(), np.float64)
    affine[:3] *= unit
    _check_affine(affine, spacing, name)
    return spacing, affine


def _check_affine(affine: np.ndarray, spacing: Sequence[float], name: str) -> None:
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ImageError(f"{name}: its affine is no map from voxels to millimetres (not finite, or flat); correct the "
                         "header (sform, qform)")
    sides = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    if not np.allclose(sides, spacing, rtol=0.05):  # a sheared one (tilted gantry) may differ by little
        raise ImageError(f"{name}: voxels are {' x '.join(f'{s:g}' for s in spacing)} mm by the spacing (pixdim), but "
                         f"{' x '.join(f'{s:g}' for s in sides)} mm by the affine (z, y, x); correct the one that is "
                         "wrong")


def checked(volume: Volume, fill: float | None = None) -> Volume:
    """The volume, if all its voxels are finite, or with those that are not replaced. Raises ImageError."""
    if volume.values.dtype.kind != "f":
        return volume
    nan = infinite = 0
    for part in nifti.slices_of(volume.values):
        if not np.isfinite(part).all():
            nan += int(np.isnan(part).sum())
            infinite += int(np.isinf(part).sum())
    if not nan and not infinite:
        return volume
    if fill is None:
        what = " and ".join(f"{n} {word}" for n, word in ((nan, "NaN"), (infinite, "infinite")) if n)
        share = (nan + infinite) / volume.values.size
        raise ImageError(f"{volume.name}: has {what} voxels ({share:.2%}). Remedy: --fill 0 (fill=0) takes 0 in their "
                         "place, or another value; or correct the file")
    values = np.array(volume.values)
    for part in nifti.slices_of(values):
        part[~np.isfinite(part)] = fill
    return replace(volume, values=values)


def _stacked(volumes: Sequence[Volume]) -> Volume:
    """One volume of the channels of several with the same geometry."""
    if not volumes:
        raise ImageError("no file was given for the channels of a volume; give one for each")
    first = volumes[0]
    for other in volumes[1:]:
        problem = difference(first, other)
        if problem:
            raise ImageError(f"{other.name}: {problem} (channels of one volume must lie voxel on voxel). Remedy: "
                             "resample one onto the other, or check whether they belong together")
    if len(volumes) == 1:
        return first
    dtype = np.result_type(*(v.values.dtype for v in volumes))
    values = np.empty((sum(len(v.values) for v in volumes), *first.shape), dtype if dtype.kind != "f" else np.float32)
    at = 0
    for volume in volumes:
        values[at:at + len(volume.values)] = volume.values
        at += len(volume.values)
    return replace(first, values=values)


def difference(first: Volume, second: Volume) -> str:
    """How the grids of two volumes differ, '' if they do not, to a thousandth of a voxel's size."""
    def size(volume: Volume) -> str:
        return " x ".join(map(str, volume.shape[::-1]))

    if first.shape != second.shape:
        return f"has {size(second)} voxels, {first.name} has {size(first)}"
    if not np.allclose(first.spacing, second.spacing, rtol=1e-3):
        return f"has voxels of {second.spacing} mm (z, y, x), {first.name} of {first.spacing} mm"
    if first.affine is not None and second.affine is not None:
        corners = np.array([(x, y, z, 1) for x in (0, first.shape[2]) for y in (0, first.shape[1])
                            for z in (0, first.shape[0])], np.float64)
        apart = np.linalg.norm((corners @ (first.affine - second.affine).T)[:, :3], axis=1).max()
        if apart > max(1e-3, 0.05 * min(first.spacing)):
            return f"lies elsewhere than {first.name}: up to {apart:.3g} mm apart"
    return ""


def _read_other(name: str) -> Volume:
    """What nibabel reads beside NIfTI: FreeSurfer's .mgz, Analyze 7.5."""
    nibabel = nifti.need_nibabel(name)
    if not os.path.exists(name):
        raise ImageError(f"{name}: does not exist; check the path")
    try:
        image = nibabel.load(name)
        return volume_from_image(image, name)
    except ImageError:
        raise
    except Exception as error:  # whatever its readers raise on damaged data
        raise ImageError(f"{name}: cannot be read ({str(error) or type(error).__name__}); {nifti.DAMAGED}") from error


def write_labels(path: PathLike, labels: np.ndarray, like: Volume) -> Path:
    """Write whole numbers from 0 on, (Z, Y, X), as the smallest type that holds them; see ``write_values``."""
    labels = labels.view(np.uint8) if labels.dtype == bool else labels
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if labels.dtype.kind not in "iu" or low < 0 or high > 2**31 - 1:
        raise ValueError(f"labels are whole numbers from 0 on, not {labels.dtype} from {low} to {high}")
    dtype = np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.int32
    return write_values(path, labels, like, dtype)


def write_values(path: PathLike, values: np.ndarray | Iterable[np.ndarray], like: Volume,
                 dtype: np.dtype | type | None = None, channels: int | None = None) -> Path:
    """Write values (Z, Y, X) or (C, Z, Y, X) on the grid of ``like``: .nii or .nii.gz.

    values: an array; or, with ``dtype`` and ``channels``, arrays that make up (C, Z, Y, X) in C order, as they come.
    Sform and qform with their codes, units and spacing are those of ``like``'s NIfTI header, bit by bit; of other
    sources made from spacing and affine. No other field of the source's header (names, intents, notes) goes into the
    file. Written whole or not at all. Returns the path.

    Raises ImageError for another suffix, DenseError where the file cannot be written.
    """
    if isinstance(values, np.ndarray):
        if values.shape[-3:] != like.shape:
            raise ValueError(f"values {values.shape} on a grid of {like.shape}")
        shape, dtype, values = values.shape, dtype or values.dtype, nifti.slices_of(values)
    else:
        shape = (channels or 1, *like.shape)

    def geometry(header: Any) -> None:
        if like.header is not None:
            return
        header.set_zooms((*like.spacing[::-1], *[1.0] * (len(header.get_data_shape()) - 3)))
        header.set_xyzt_units("mm")
        if like.affine is not None:
            header.set_sform(like.affine, code="scanner")
            header.set_qform(like.affine, code="scanner", strip_shears=True)

    nifti.write_nifti(path, shape, dtype or np.float32, values, geometry, like.header)
    return Path(path)
