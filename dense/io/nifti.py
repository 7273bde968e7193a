"""NIfTI files (.nii, .nii.gz, .hdr with .img): values as they are stored, geometry as it is stored.

Values are read slice by slice, so that no second copy of a volume is made, and without any copy (memory-mapped) where
the file is not compressed and holds plain values. nibabel, imported on use, reads the headers.
"""
from __future__ import annotations

import contextlib
import gzip
import logging
import math
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from dense.errors import DenseError, ImageError, MissingDependencyError
from dense.io.atomic import atomic_path
from dense.io.containers import explain_unknown

DAMAGED = "copy or download it again, or write it anew from its source"
GEOMETRY = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
            "srow_x", "srow_y", "srow_z", "xyzt_units")
"""Fields of a header that say where voxels lie; with the first four of pixdim, they are all that results take over."""

_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # by the lowest bits of xyzt_units; 0 is unknown, which means mm
_PACKED = 1032  # deflate cannot pack tighter
_LEVEL = 3  # of gzip: labels get little smaller beyond, and it takes several times as long
_PIECE = 1 << 24
_QUIET = logging.Logger("nibabel")  # what it mends in headers needs no words
_QUIET.addHandler(logging.NullHandler())


def need_nibabel(name: str) -> ModuleType:
    """nibabel. MissingDependencyError that names the file where it is not installed."""
    try:
        import nibabel
    except ImportError as error:
        raise MissingDependencyError(f"{name}: volumes need nibabel, which cannot be imported ({error}). Remedy: pip "
                                     "install 'dense[medical]'") from error
    return nibabel


def read_nifti(path: str | os.PathLike[str]) -> tuple[np.ndarray, Any] | None:
    """(values (C, Z, Y, X) as they are stored, header of nibabel); None for Analyze 7.5, NIfTI's ancestor.

    Integers and float32 keep their type; float64 and scaled values (scl_slope) become float32, worked out in float64.
    Values of an uncompressed file are read-only, and read from the disk as they are used.

    Raises ImageError, MissingDependencyError.
    """
    name = _header_file(os.fspath(path))
    nibabel = need_nibabel(name)
    with _open(name) as (file, packed):
        header = _read_header(nibabel, file, name)
        if header is None:
            return None
        shape, offset, slope, inter = _check_header(header, name)
    data = name
    if bytes(header["magic"]).startswith(b"ni"):  # the values are in a file of their own
        data = _data_file(name)
    with _open(data) as (file, packed):
        stored = header.get_data_dtype()
        size = math.prod(shape) * stored.itemsize
        _check_size(data, size, offset, packed)
        plain = slope == 1 and inter == 0 and stored != np.float64 and stored.itemsize <= 8
        if plain and not packed and stored.isnative:
            return np.memmap(data, stored, "r", offset, shape), header
        try:
            values = np.empty(shape, stored.newbyteorder("=") if plain else np.float32)
            with _told(data, size):
                file.seek(offset)
                _read_values(file, values, stored, slope, inter, plain)
                while packed and file.read(_PIECE):  # to the end: only there are the checksums
                    pass
        except MemoryError:
            raise ImageError(f"{name}: {_words(shape)} need {size / 2**30:.1f} GiB, more memory than there is; cut it "
                             "to the part of interest, or use a larger machine") from None
    return values, header


@contextlib.contextmanager
def _open(name: str) -> Iterator[tuple[BinaryIO, bool]]:
    """(open file, unpacked if it is gzip by content, whether it is)."""
    try:
        file = open(name, "rb")  # noqa: SIM115 (closed below)
    except FileNotFoundError:
        raise ImageError(f"{name}: does not exist; check the path") from None
    except PermissionError:
        raise ImageError(f"{name}: may not be read (permission denied); change its permissions or its owner") from None
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error}); check the path and the disk") from error
    with file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked, True
        else:
            yield file, False


def _read_header(nibabel: ModuleType, file: BinaryIO, name: str) -> Any:
    with _told(name, None):
        head = file.read(544)
    if len(head) < 348:
        raise ImageError(f"{name}: {_no_nifti(head) if not head or _is_text(head) else 'ends within its header'}; "
                         f"{DAMAGED}")
    two = head[4:7] in (b"n+2", b"ni2")
    if not two and head[344:347] not in (b"n+1", b"ni1"):
        if head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c"):  # the size of its header, 348
            return None
        raise ImageError(f"{name}: {_no_nifti(head)}; {DAMAGED}")
    kind = nibabel.Nifti2Header if two else nibabel.Nifti1Header
    if head[345:346] == b"i" or head[5:6] == b"i":
        kind = nibabel.nifti2.Nifti2PairHeader if two else nibabel.nifti1.Nifti1PairHeader
    try:
        header = kind(head[:540 if two else 348], check=False)
        check_spacing(abs(header["pixdim"][3:0:-1]), name)  # before zeros are taken for ones
        header.check_fix(logger=_QUIET)
    except ImageError:
        raise
    except Exception as error:  # of several kinds
        raise ImageError(f"{name}: its header is damaged ({error}); {DAMAGED}") from error
    return header


def _is_text(head: bytes) -> bool:
    return not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", head)


def _no_nifti(head: bytes) -> str:
    """The problem with a file that is not what its name says."""
    if head[128:132] == b"DICM":
        return "is a DICOM file; give the folder of its series"
    if head[:4] == b"PK\x03\x04":
        return "is a ZIP archive; unpack it first"
    said = explain_unknown(head).split(";")[0]
    return said.replace("picture", "volume") if "known" not in said else "is no NIfTI file (its mark is missing)"


def _check_header(header: Any, name: str) -> tuple[tuple[int, ...], int, float, float]:
    """(C, Z, Y, X), offset of the values, slope, intercept. ImageError for headers that make no sense."""
    sizes = [int(s) for s in header["dim"][1:1 + int(header["dim"][0])]]
    if not 1 <= int(header["dim"][0]) <= 7 or min(sizes, default=0) < 1:
        raise ImageError(f"{name}: its header gives the shape {' x '.join(map(str, sizes)) or 'of no axis'}; {DAMAGED}")
    more = [s for s in sizes[3:] if s > 1]
    if len(sizes) < 3 or sizes[2] == 1:
        raise ImageError(f"{name}: is a picture ({sizes[0]} x {(*sizes, 1)[1]}), not a volume; a volume has several "
                         "slices. Remedy: stack the slices into one file")
    if len(more) > 1:
        raise ImageError(f"{name}: has the shape {' x '.join(map(str, sizes))}, more than channels of a volume; split "
                         "it into one file for each volume")
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        kind = "colours" if dtype.fields else "complex numbers" if dtype.kind == "c" else str(dtype)
        raise ImageError(f"{name}: its voxels are {kind}, not numbers; save one value for each voxel")
    try:
        slope, inter = header.get_slope_inter()
        offset = header.get_data_offset()
    except Exception as error:
        raise ImageError(f"{name}: its header is damaged ({error}); {DAMAGED}") from error
    shape = (math.prod(more), *sizes[2::-1])
    return shape, int(offset), 1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter)


def _words(shape: tuple[int, ...]) -> str:
    channels = f"{shape[0]} channels of " if shape[0] > 1 else ""
    return f"{channels}{shape[3]} x {shape[2]} x {shape[1]} voxels"


def _header_file(name: str) -> str:
    """The .hdr of an .img that has one."""
    found = re.fullmatch(r"(.*)\.img(\.gz)?", name, re.IGNORECASE)
    return next((h for h in (f"{found[1]}.hdr", f"{found[1]}.hdr.gz") if os.path.exists(h)), name) if found else name


def _data_file(name: str) -> str:
    """The .img of a .hdr (or of itself)."""
    found = re.fullmatch(r"(.*)\.(hdr|img)(\.gz)?", name, re.IGNORECASE)
    if not found:
        raise ImageError(f"{name}: is the header of a pair, but not called .hdr; give it back its name")
    candidates = [f"{found[1]}{s}" for s in (".img", ".img.gz", ".IMG", ".IMG.gz")]
    data = next((c for c in candidates if os.path.exists(c)), None)
    if data is None:
        raise ImageError(f"{name}: its values are missing, {candidates[0]} is not there; copy both files of the pair")
    return data


def _check_size(name: str, size: int, offset: int, packed: bool) -> None:
    there = os.path.getsize(name)
    if packed and size > _PACKED * there:
        raise ImageError(f"{name}: its header claims {_mib(size)} of voxels, which {_mib(there)} of compressed data "
                         f"cannot hold; {DAMAGED}")
    if not packed and there < offset + size:
        raise ImageError(f"{name}: is truncated: {_mib(max(0, there - offset))} of {_mib(size)} of voxels are there; "
                         f"{DAMAGED}")


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size} bytes"


@contextlib.contextmanager
def _told(name: str, size: int | None) -> Iterator[None]:
    """ImageError in place of what gzip and the system raise."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = "is truncated (it ends within the compressed data)" if isinstance(error, EOFError) else \
            f"is damaged ({error})"
        raise ImageError(f"{name}: {problem}; {DAMAGED}") from error
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error}); check the disk") from error


def _read_values(file: BinaryIO, values: np.ndarray, stored: np.dtype, slope: float, inter: float,
                 plain: bool) -> None:
    flat = values.reshape(-1, *values.shape[2:])
    for place in flat:
        raw = place if plain else np.empty(place.shape, stored)
        view = memoryview(raw).cast("B")
        done = 0
        while done < len(view):
            count = file.readinto(view[done:])
            if not count:
                raise EOFError
            done += count
        if plain and not stored.isnative:
            raw.byteswap(inplace=True)
        elif not plain:
            with np.errstate(over="ignore"):  # infinities are looked for afterwards
                place[...] = raw if slope == 1 and inter == 0 else raw.astype(np.float64) * slope + inter


def check_spacing(spacing: Iterable[float], name: str) -> tuple[float, float, float]:
    """(z, y, x) as floats. ImageError unless they are three positive numbers."""
    spacing = tuple(float(s) for s in spacing)
    if len(spacing) != 3 or not all(0 < s < math.inf for s in spacing):
        raise ImageError(f"{name}: voxels {' x '.join(f'{s:g}' for s in spacing)} mm apart (z, y, x) make no sense; "
                         "correct the header (pixdim), or the spacing that was given: three positive numbers")
    return spacing


def millimetres(header: Any) -> float:
    """mm in the header's unit of length."""
    return _MM.get(int(header["xyzt_units"]) & 7, 1.0)


def check_target(path: str | os.PathLike[str]) -> None:
    """ImageError unless the name is one that volumes are written to."""
    if not os.fspath(path).lower().endswith((".nii", ".nii.gz")):
        raise ImageError(f"{os.fspath(path)}: volumes are written as .nii.gz or .nii; use one of these suffixes")


def write_nifti(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: np.dtype | type,
                blocks: Iterable[np.ndarray], geometry: Callable[[Any], None], source: Any = None) -> None:
    """Write a volume as its parts come.

    shape: (Z, Y, X) or (C, Z, Y, X). blocks: arrays that make up the values in C order. geometry: puts sizes and
    places of voxels into the new header; source: header whose ``GEOMETRY`` and pixdim are then taken over bit by bit.

    The same input gives the same bytes (gzip's time is left out). Raises ImageError, DenseError (disk full ...).
    """
    nibabel = need_nibabel(os.fspath(path))
    check_target(path)
    name, dtype = os.fspath(path), np.dtype(dtype)
    two = isinstance(source, nibabel.Nifti2Header) or max(shape) > 32767
    header = (nibabel.Nifti2Header if two else nibabel.Nifti1Header)()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape[:-4:-1] + ((shape[0],) if len(shape) == 4 and shape[0] > 1 else ()))
    geometry(header)
    if source is not None:
        for field in GEOMETRY:
            header[field] = source[field]
        header["pixdim"][:4] = source["pixdim"][:4]
    header.set_slope_inter(1, 0)
    size = math.prod(shape) * dtype.itemsize
    begin = 544 if two else 352
    header["vox_offset"] = begin
    with atomic_path(path, size=None if name.lower().endswith(".gz") else size + begin) as temporary:
        try:
            with open(temporary, "wb") as raw, _packer(raw, name) as file:
                file.write(header.binaryblock + bytes(4))
                written = 0
                for block in blocks:
                    block = np.ascontiguousarray(block, dtype)
                    written += block.nbytes
                    file.write(memoryview(block).cast("B"))
        except OSError as error:
            error.filename = error.filename or os.fspath(temporary)  # so that it is known whose it is
            raise
        if written != size:
            raise DenseError(f"{name}: {written} of {size} bytes of voxels were given; nothing was written")


@contextlib.contextmanager
def _packer(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    if name.lower().endswith(".gz"):
        with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
            yield packed
    else:
        yield file


def slices_of(values: np.ndarray) -> Iterator[np.ndarray]:
    """The slices (Y, X) of (Z, Y, X) or (C, Z, Y, X) in order."""
    return iter(values.reshape(-1, *values.shape[-2:])) if values.flags.c_contiguous else (
        values[index] for index in np.ndindex(values.shape[:-2]))
