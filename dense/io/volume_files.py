"""Files that hold volumes: their suffixes, which of them are in a folder, and which are channels of one case."""
from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from dense.errors import DatasetError
from dense.io.images import list_files, natural_key

NIFTI_SUFFIXES = (".nii", ".nii.gz")
"""Suffixes of results."""

VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, ".hdr", ".hdr.gz", ".img", ".img.gz", ".mgz", ".mgh", ".nrrd", ".mha", ".mhd")
"""Suffixes taken for volumes when a folder is listed, in lower case; capitals count as well."""

_CHANNEL = re.compile(r"(.+)_(00\d\d)$")  # four digits may be a year


@dataclass(frozen=True)
class Case:
    """name: of the case. files: one, or those of its channels in order; a folder is a DICOM series."""

    name: str
    files: tuple[Path, ...]


def volume_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a volume's file as it is written, '.nii.gz' whole; '' if it is none of ``VOLUME_SUFFIXES``."""
    name = os.path.basename(os.fspath(path))
    suffix = max((s for s in VOLUME_SUFFIXES if name.lower().endswith(s)), key=len, default="")
    return name[len(name) - len(suffix):] if len(name) > len(suffix) else ""


def bare_name(path: str | os.PathLike[str]) -> str:
    """The file's name without the suffix of a volume."""
    name = os.path.basename(os.fspath(path))
    return name[:len(name) - len(volume_suffix(name))]


def list_volumes(folder: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """Files in ``folder`` with one of ``VOLUME_SUFFIXES``, naturally sorted; of a pair .hdr and .img only the .hdr.

    Where there is none: folders that hold DICOM files, the given one or (``recursive``) those below it.
    Raises DatasetError as ``list_images`` does.
    """
    files = list_files(folder, lambda name: bool(volume_suffix(name)), recursive)
    headers = {p.with_name(bare_name(p)) for p in files if volume_suffix(p).lower().startswith(".hdr")}
    files = [p for p in files if not (volume_suffix(p).lower().startswith(".img")
                                      and p.with_name(bare_name(p)) in headers)]
    if files:
        return files
    folders = {p.parent for p in list_files(folder, lambda name: True, recursive) if is_dicom(p)}
    return sorted(folders, key=natural_key)


def is_dicom(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the mark of DICOM files."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def holds_dicom(folder: Path) -> bool:
    """Whether a DICOM file lies in the folder itself."""
    return any(is_dicom(p) for p in list_files(folder, lambda name: True))


def group_cases(paths: Iterable[Path], channels: int = 1) -> list[Case]:
    """Cases of files, in their order.

    With several channels, files of one folder called NAME_0000, NAME_0001 ... (nnU-Net's way) are those of one case
    NAME; all others, and all with one channel, are cases of their own (a 4-D file holds its channels itself).
    """
    grouped: dict[tuple, list[Path]] = defaultdict(list)
    for path in paths:
        found = channel_of(path) if channels > 1 else None
        key = (path.parent, found[0]) if found else (path,)
        if path not in grouped[key]:
            grouped[key].append(path)
    cases = []
    for key, files in grouped.items():
        if len(key) == 1:
            cases.append(Case(bare_name(key[0]), tuple(files)))
        else:
            cases.append(Case(key[1], tuple(sorted(files, key=lambda p: channel_of(p)[1]))))
    return cases


def channel_of(path: PurePath) -> tuple[str, int] | None:
    """(case, channel) of a file called CASE_0003.nii.gz, None for other names."""
    found = _CHANNEL.fullmatch(bare_name(path))
    return (found[1], int(found[2])) if found and volume_suffix(path) else None


def channel_files(path: Path) -> list[Path]:
    """The files beside CASE_0000.nii.gz, itself too, that are channels of the same case."""
    case = channel_of(path)
    if case is None:
        return [path]
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return sorted({path, *(p for p in beside if (c := channel_of(p)) and c[0] == case[0])}, key=natural_key)


def check_channels(case: Case, channels: Sequence[str]) -> None:
    """DatasetError unless a case of several files has one for each channel, numbered from 0."""
    numbers = [found[1] for f in case.files if (found := channel_of(f))]
    if len(case.files) == 1 and not numbers:
        return
    if len(channels) > 1 and (expected := list(range(len(channels)))) != numbers:
        lacking = [f"{case.name}_{n:04} ({channels[n]})" for n in expected if n not in numbers]
        excess = [f.name for f, n in zip(case.files, numbers, strict=True) if numbers.count(n) > 1 or n not in expected]
        problem = f"lacks {', '.join(lacking)}" if lacking else f"has {', '.join(excess)} too many"
        raise DatasetError(f"{case.name}: {problem}; the network takes {len(channels)} channels. Remedy: "
                           f"{case.name}_0000.nii.gz to _{len(channels) - 1:04}.nii.gz in one folder, or one 4-D file")


def size_of(path: Path) -> int:
    """About how many bytes a volume's file, or series, takes once it is unpacked; 0 for what cannot be read."""
    try:
        if path.is_dir():
            return sum(p.stat().st_size for p in path.iterdir() if p.is_file())
        size = path.stat().st_size
        with open(path, "rb") as file:
            if file.read(2) != b"\x1f\x8b":
                return size
            file.seek(-4, os.SEEK_END)  # gzip ends with the size, its lowest 32 bits
            return max(size, int.from_bytes(file.read(4), "little"))
    except OSError:
        return 0
