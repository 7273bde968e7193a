"""Where volumes come from: files, folders, patterns, lists, DICOM series, arrays; files of channels make one case."""
from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from dense.errors import DatasetError, ImageError
from dense.inference.sources import IDLE, Item, Source, below, fixed_part, is_inside, names_in
from dense.io.volume import Volume, read_volume, volume_from_array, volume_from_image
from dense.io.volume_files import (
    VOLUME_SUFFIXES,
    Case,
    channel_files,
    check_channels,
    group_cases,
    list_volumes,
    size_of,
    volume_suffix,
)


@dataclass(frozen=True)
class VolumeSource:
    """How ``find`` takes its inputs.

    channels: names of the network's channels: with several, CASE_0000.nii.gz, CASE_0001.nii.gz ... are one case.
    spacing: of arrays, mm along z, y, x. fill: value for voxels that are not finite, which else are an error.
    """

    channels: Sequence[str] = ("image",)
    spacing: Sequence[float] | None = None
    fill: float | None = None

    def find(self, value: Any, recursive: bool = False, beside: bool = False, exclude: Path | None = None) -> Source:
        """The source that ``value`` means; see ``dense.inference.sources.find_source``.

        value: a file that ``read_volume`` reads, of one case; a folder of such files, or of a DICOM series; a pattern;
            '@names.txt'; a ``Volume``, an array (Z, Y, X) or (C, Z, Y, X), an image of nibabel or SimpleITK; or an
            iterable of these, in which a tuple of files holds the channels of one case.

        Raises ImageError or DatasetError where there is nothing, or no volume.
        """
        if isinstance(value, str | os.PathLike):
            return self._from_path(os.fspath(value), recursive, beside, exclude)
        if isinstance(value, tuple) and value and all(isinstance(v, str | os.PathLike) for v in value):
            return Source([self._files_item(value)], single=True, total=1)
        if (item := self._memory_item(value, "array")) is not None:
            return Source([item], single=True, total=1)
        if not isinstance(value, Iterable) or isinstance(value, bytes | bytearray) or hasattr(value, "__array__"):
            raise ImageError(f"{type(value).__name__}: is no volume; give a path, an array, a Volume, an image of "
                             "nibabel or SimpleITK, or a list of these")
        return Source(self._each(value), total=len(value) if isinstance(value, Sequence) else None)

    def _from_path(self, text: str, recursive: bool, beside: bool, exclude: Path | None) -> Source:
        if not text:
            raise ImageError("'': is no path; give one, or '.' for the current folder")
        path = Path(text)
        if text.startswith("@") and not path.exists():
            return self._listed([*names_in(Path(text[1:]))], Path(text[1:]).parent)
        if path.is_dir():
            exclude = None if exclude is None or exclude.resolve() == path.resolve() else exclude
            paths = [p for p in list_volumes(path, recursive) if not is_inside(p, exclude)]
            if not paths:
                raise DatasetError(_no_volumes(path, recursive))
            if paths == [path]:  # a DICOM series
                return Source([self._case_item(Case(path.resolve().name, (path,)), PurePath(path.resolve().name))],
                              single=True, total=1)
            return self._listed(paths, path.resolve().parent if beside else path)
        if re.search(r"[*?\[]", text) and not path.exists():
            exclude = exclude if "**" in text else None
            found = sorted((Path(p) for p in glob.iglob(text, recursive=True)), key=lambda p: p.as_posix())
            paths = [p for p in found if (volume_suffix(p) and p.is_file()) and not is_inside(p, exclude)]
            if not paths:
                raise DatasetError(f"{text}: matches no volume; check the pattern (** goes into folders)")
            return self._listed(paths, fixed_part(text))
        if not path.exists():
            raise ImageError(f"{text}: does not exist; check the path")
        return Source(self._listed(channel_files(path) if len(self.channels) > 1 else [path], path.parent).items,
                      single=True, total=1)

    def _listed(self, paths: Sequence[Path], root: Path) -> Source:
        items = []
        for case in group_cases(paths, len(self.channels)):
            relative = below(case.files[0], root)
            items.append(self._case_item(case, relative))
        return Source(items, total=len(items))

    def _case_item(self, case: Case, relative: PurePath) -> Item:
        def load() -> Volume:
            check_channels(case, self.channels)
            volume = read_volume(case.files if len(case.files) > 1 else case.files[0], self.fill)
            return replace(volume, name=str(case.files[0].with_name(case.name))) if len(case.files) > 1 else volume

        name = str(case.files[0] if len(case.files) == 1 else case.files[0].with_name(case.name))
        return self._item(name, relative, load, case.files[0], case.name, lambda: sum(map(size_of, case.files)))

    def _files_item(self, files: Sequence[str | os.PathLike[str]]) -> Item:
        first = Path(files[0])
        return self._item(str(first), PurePath(first.name), lambda: read_volume(files, self.fill), first,
                          group_cases([first])[0].name, lambda: sum(size_of(Path(f)) for f in files))

    def _memory_item(self, value: Any, name: str) -> Item | None:
        """Of a volume that is in memory; None for anything else."""
        if isinstance(value, Volume):
            return self._item(value.name, PurePath(Path(value.name).name), lambda: value)
        if isinstance(value, np.ndarray):
            if self.spacing is None:
                raise ImageError(f"{name}: an array has no spacing. Remedy: spacing=(z, y, x) in mm, or a Volume "
                                 "(dense.io.volume.volume_from_array)")
            return self._item(name, PurePath(name.replace(" ", "_")),
                              lambda: volume_from_array(value, self.spacing, name=name, fill=self.fill))
        if hasattr(value, "dataobj") or (hasattr(value, "GetSpacing") and hasattr(value, "GetDirection")):
            return self._item(name, PurePath(name.replace(" ", "_")),
                              lambda: volume_from_image(value, name, self.fill))
        return None

    def _each(self, values: Iterable) -> Iterator:
        cases = set()
        for index, value in enumerate(values):
            name = f"volume {index}"
            if value is IDLE or isinstance(value, Item):
                yield value
            elif (item := self._memory_item(value, name)) is not None:
                yield item
            elif isinstance(value, str | os.PathLike):
                try:
                    items = self._from_path(os.fspath(value), False, False, None).items
                except (ImageError, DatasetError) as error:
                    items = [_failing(os.fspath(value), error)]
                for item in items:  # of a case whose channels are named one by one, the first stands for all
                    if len(self.channels) == 1 or item.path is None or item.path not in cases:
                        cases.add(item.path)
                        yield item
            elif isinstance(value, tuple | list) and value and all(isinstance(v, str | os.PathLike) for v in value):
                yield self._files_item(value)
            else:
                yield _failing(name, ImageError(f"{name}: {type(value).__name__} is no volume; give a path, an array, "
                                                "a Volume, or a tuple of the files of its channels"))

    @staticmethod
    def _item(name: str, relative: PurePath, load: Callable[[], Volume], path: Path | None = None,
              base: str | None = None, size: Callable[[], int] = lambda: 0) -> Item:
        return Item(name, relative, load, path, base=base or relative.name, size=size)


def _failing(name: str, error: Exception) -> Item:
    def load() -> Volume:
        raise error

    return Item(name, PurePath(Path(name).name or "volume"), load, base=Path(name).name or "volume")


def _no_volumes(folder: Path, recursive: bool) -> str:
    inner = not recursive and any(p.is_dir() for p in folder.iterdir())
    remedy = "--recursive (recursive=True) takes the folders below as well" if inner else \
        f"volumes end in {', '.join(VOLUME_SUFFIXES[:3])} ..., or are DICOM files"
    return f"{folder}: the folder holds no volume; {remedy}"
