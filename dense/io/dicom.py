"""DICOM series, and other formats that SimpleITK reads (.nrrd, .mha)."""
from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from dense.errors import ImageError, MissingDependencyError

if TYPE_CHECKING:
    from dense.io.volume import Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def need_simpleitk(name: str) -> ModuleType:
    """SimpleITK, quiet. MissingDependencyError that names the file where it is not installed."""
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise MissingDependencyError(f"{name}: DICOM series, .nrrd and .mha need SimpleITK, which cannot be imported "
                                     f"({error}). Remedy: pip install 'dense[dicom]', or convert it to .nii.gz"
                                     ) from error
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return sitk


def read_itk(path: str | os.PathLike[str]) -> Volume:
    """A file that SimpleITK reads, as ``Volume``. Raises ImageError, MissingDependencyError."""
    name = os.fspath(path)
    sitk = need_simpleitk(name)
    if not os.path.exists(name):
        raise ImageError(f"{name}: does not exist; check the path")
    try:
        image = sitk.ReadImage(name)
    except RuntimeError as error:
        raise ImageError(f"{name}: cannot be read ({_reason(error)}); copy it again, or convert it to .nii.gz"
                         ) from error
    return volume_from_itk(image, name)


def volume_from_itk(image: Any, name: str) -> Volume:
    """The ``Volume`` of an image of SimpleITK. Raises ImageError if it has not three axes of numbers."""
    from dense.io.volume import Volume

    sitk = need_simpleitk(name)
    size = image.GetSize()
    if len(size) != 3 or size[2] < 2:
        raise ImageError(f"{name}: is no volume, its size is {' x '.join(map(str, size))}; a volume has several slices")
    values = sitk.GetArrayFromImage(image)
    values = values[None] if values.ndim == 3 else np.moveaxis(values, -1, 0)
    if values.dtype.kind not in "iuf":
        raise ImageError(f"{name}: its voxels are {values.dtype}, not numbers; save one value for each voxel")
    if values.dtype.kind == "f":
        values = values.astype(np.float32, copy=False)
    spacing = tuple(float(s) for s in image.GetSpacing()[::-1])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return Volume(values, spacing, _LPS_TO_RAS @ affine, name)


def read_series(folder: str | os.PathLike[str], series: str | None = None) -> Volume:
    """The volume of a DICOM series in a folder: CT numbers or the like, after the files' rescale.

    series: its instance UID, where the folder holds several.

    Slices are put in order by their position. Where they are shifted (a tilted gantry) the affine says so. Raises
    ImageError for no or several series, slices that are missing or differ in size, damaged files.
    """
    name = os.fspath(folder)
    sitk = need_simpleitk(name)
    found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(name)
    if not found:
        raise ImageError(f"{name}: holds no DICOM series; give the folder that holds its files, or a .nii.gz")
    if series is None and len(found) > 1:
        listed = "; ".join(f"{uid} ({len(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(name, uid))} files)"
                           for uid in found)
        raise ImageError(f"{name}: holds {len(found)} series: {listed}. Remedy: a folder for each, or "
                         "dense.io.dicom.read_series(folder, UID)")
    if series is not None and series not in found:
        raise ImageError(f"{name}: holds no series {series}; it has {', '.join(found)}")
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(name, series or found[0])
    step = _check_slices(sitk, files, name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise ImageError(f"{name}: the series cannot be read ({_reason(error)}); copy it again") from error
    volume = volume_from_itk(image, name)
    if step is not None:
        volume.affine[:3, 2] = _LPS_TO_RAS[:3, :3] @ step
        object.__setattr__(volume, "spacing", (float(np.linalg.norm(step)), *volume.spacing[1:]))
    return volume


def _check_slices(sitk: ModuleType, files: tuple[str, ...], name: str) -> np.ndarray | None:
    """LPS mm from one slice to the next; None where one file holds them all. ImageError if they have gaps."""
    if len(files) == 1:
        return None
    positions = []
    for file in files:
        reader = sitk.ImageFileReader()
        reader.SetFileName(file)
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise ImageError(f"{file}: cannot be read ({_reason(error)}); copy the series again") from error
        positions.append(reader.GetOrigin())
    steps = np.diff(np.array(positions), axis=0)
    usual = np.median(steps, axis=0)
    length = float(np.linalg.norm(usual))
    if length == 0:
        raise ImageError(f"{name}: its slices lie in one place (several phases in one series?); give a folder with the "
                         "slices of one volume")
    wrong = np.flatnonzero(np.linalg.norm(steps - usual, axis=1) > max(0.01, 0.02 * length))
    if wrong.size:
        first = int(wrong[0])
        raise ImageError(f"{name}: slices are missing or doubled at {wrong.size} places, first between "
                         f"{os.path.basename(files[first])} and {os.path.basename(files[first + 1])} "
                         f"({np.linalg.norm(steps[first]):.4g} mm apart, else {length:.4g} mm). Remedy: copy the whole "
                         "series, each slice once")
    return (np.array(positions[-1]) - positions[0]) / (len(files) - 1)


def _reason(error: RuntimeError) -> str:
    """The last line of ITK's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or ["unknown"])[-1].removeprefix("ITK ERROR: ")[:300]
