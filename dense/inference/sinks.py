"""Where results go: one file a picture, named after it, never over another picture's result by chance."""
from __future__ import annotations

import errno
import os
import sys
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from dense.errors import ConfigError, DenseError
from dense.inference.background import Background
from dense.inference.results import CutoutResult, EraseResult, Result
from dense.inference.sources import Item
from dense.io.picture import format_of

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Names:
    """Files for results: ``folder``/relative path, with the suffix of the format.

    Where several inputs would get one name (a.jpg and a.png), each keeps its old suffix as well: a.jpg.png and
    a.png.png; where even these are one, a number follows. folder None: beside each input, as NAME + marker.
    Names that differ in capitals only count as one, since many file systems hold them for one. reserved: files that
    no result may be.
    """

    def __init__(self, folder: Path | None, suffix: str = ".png", marker: str = "", reserved: Sequence[Path] = ()):
        self.folder, self.suffix, self.marker = folder, suffix, marker
        self._short: Counter[str] = Counter()
        self._taken: dict[str, object] = {_key(path): None for path in reserved}

    def expect(self, items: Sequence[Item]) -> None:
        """Name the inputs to come all at once, so that names do not depend on their order."""
        short = {id(item): _key(self._path(item, full=False)) for item in items}
        self._short.update(short.values())
        for item in sorted(items, key=lambda i: (self._short[short[id(i)]] > 1, i.relative.as_posix())):
            self.assign(item)

    def assign(self, item: Item) -> Path:
        """The file of an item's result; the same for the same item (by its input file) if asked again."""
        owner = os.path.abspath(item.path) if item.path else item.name
        short = self._path(item, full=False)
        names = [] if self._short[_key(short)] > 1 else [short]
        full = self._path(item, full=True)
        names += [full, *(full.with_name(f"{full.stem}-{n}{full.suffix}") for n in range(2, 1000))]
        for path in names:
            if self._taken.setdefault(_key(path), owner) == owner:
                return path
        raise DenseError(f"{full}: too many inputs have this name; process them in several output folders")

    def _path(self, item: Item, full: bool) -> Path:
        relative = PurePath(*(p for p in item.relative.parts if p not in ("..", item.relative.anchor)))
        name = relative.name if full else item.base or relative.stem
        name += ("" if self.folder else self.marker) + self.suffix
        if self.folder is not None:
            return self.folder / relative.with_name(name)
        return (item.path.parent if item.path else Path()) / name


def _key(path: Path) -> str:
    return unicodedata.normalize("NFC", os.path.abspath(path)).casefold()


def check_targets(items: Sequence[Item], names: Names, skip_existing: bool, overwrite: bool,
                  writer: Writer | None = None) -> list[Item]:
    """The items whose results are to be made.

    Raises DenseError, before anything is done, where a result would replace its own input or another one, and where
    results are there already and it is not said what to do with them.
    """
    inputs = {os.path.realpath(item.path) for item in items if item.path}
    left, there = [], []
    for item in items:
        target = names.assign(item)
        if os.path.realpath(target) in inputs:
            raise DenseError(f"{target}: the result of {item.name} would replace an input; choose another output "
                             "folder or format")
        found = [f for f in files_of(writer, target) if f.exists()]
        if found:
            there.append(found[-1])
            if skip_existing and is_done(writer, target):
                continue
        left.append(item)
    if there and not (skip_existing or overwrite):
        raise DenseError(f"{len(there)} of {len(items)} results are there already, {there[0]} first (if they are "
                         "others' files, choose another folder). Remedy: --skip-existing goes on where it ended, "
                         "--overwrite replaces them")
    return left


def without_results(items: Sequence[Item], names: Names, writer: Writer | None = None) -> tuple[list[Item], int]:
    """Items without those that are results of others among them (a second run beside the inputs), and their number."""
    targets = {os.path.realpath(file) for item in items for full in (False, True)
               for file in files_of(writer, names._path(item, full=full))}
    left = [item for item in items if item.path is None or os.path.realpath(item.path) not in targets]
    return left, len(items) - len(left)


class Writer(Protocol):
    """How a kind of results becomes files; ``marker`` ends the names of those beside their inputs."""

    marker: str

    def check(self, target: Path) -> None:
        """ConfigError, before anything is done, if the file's format cannot hold the results."""

    def write(self, result: Result, path: Path) -> Path:
        """Write a result; returns the path."""

    def encode(self, result: Result, suffix: str) -> bytes:
        """What ``write`` would write into a file of this suffix."""


def files_of(writer: Writer | None, target: Path) -> tuple[Path, ...]:
    """All files that a writer makes for a result, the result itself last."""
    return writer.files(target) if hasattr(writer, "files") else (target,)


def is_done(writer: Writer | None, target: Path) -> bool:
    """Whether all files of a result are there."""
    return all(f.exists() for f in files_of(writer, target))


class Owners:
    """Whose the files of a run are, for writers that make several of each result; for several threads."""

    def __init__(self):
        self._owners: dict[str, Path] = {}
        self._lock = threading.Lock()

    def claim(self, files: Sequence[Path], result: Path) -> None:
        """DenseError where a file is another result's of this run."""
        for file in files:
            with self._lock:
                owner = self._owners.setdefault(_key(file), result)
            if owner != result:
                raise DenseError(f"{file}: belongs to {owner} already. Remedy: process them in several output folders")


@runtime_checkable
class FrameWriter(Writer, Protocol):
    """A writer whose results can be frames of a video, too; ``transparent``: whether these have alpha."""

    transparent: bool

    def frame(self, result: Result) -> np.ndarray:
        """uint8 grey (H, W), RGB (H, W, 3) or, if transparent, RGBA (H, W, 4)."""


class FrameSink:
    """Takes finished works in order, in the caller's thread; this one has nothing to do, each work wrote its file.

    A context: what was begun is finished where it ends, and let go of after an exception.
    unit: of what is counted, for people. interrupted: what Ctrl-C leaves. failures: (name, reason) of what was not done
    beside works that failed.
    """

    unit = ""
    interrupted = "all whole; --skip-existing goes on"
    failures: Sequence[tuple[str, str]] = ()

    def add(self, work: Any) -> None:
        """Take the next work."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


@dataclass(frozen=True)
class CutoutWriter:
    """Writes a cut-out, over a background, or only its mask; colours: see ``CutoutResult``."""

    background: Background | None = None
    mask: bool = False
    colours: str = "estimated"
    marker: ClassVar[str] = "-cutout"

    def check(self, target: Path) -> None:
        """See ``Writer``."""
        if format_of(target) == "JPEG" and not self.mask and self.background is None:
            raise ConfigError(f"-o {target}: JPEG has no transparency; write .png or .webp, or give a --background")

    def write(self, result: CutoutResult, path: Path) -> Path:
        """See ``CutoutResult.save``."""
        return result.with_colours(self.colours).save(path, self.background, self.mask)

    def encode(self, result: CutoutResult, suffix: str) -> bytes:
        """See ``CutoutResult.encode``."""
        return result.with_colours(self.colours).encode(suffix, self.background, self.mask)

    @property
    def transparent(self) -> bool:
        """Whether frames have alpha."""
        return self.background is None and not self.mask

    def frame(self, result: CutoutResult) -> np.ndarray:
        """uint8 alpha (H, W), RGB (H, W, 3) over the background, or RGBA (H, W, 4)."""
        if self.mask:
            return result.alpha_uint8()
        result = result.with_colours(self.colours)
        return result.rgba() if self.background is None else result.over(self.background)


@dataclass(frozen=True)
class EraseWriter:
    """Writes a picture without what was masked; or with ``preview`` the original with that in red."""

    preview: bool = False
    transparent: ClassVar[bool] = False

    @property
    def marker(self) -> str:
        """See ``Writer``."""
        return "-preview" if self.preview else "-erased"

    def check(self, target: Path) -> None:
        """See ``Writer``."""
        format_of(target)

    def write(self, result: EraseResult, path: Path) -> Path:
        """See ``EraseResult.save``."""
        return result.save(path, self.preview)

    def encode(self, result: EraseResult, suffix: str) -> bytes:
        """See ``EraseResult.encode``."""
        return result.encode(suffix, self.preview)

    def frame(self, result: EraseResult) -> np.ndarray:
        """uint8 RGB (H, W, 3)."""
        return result.preview() if self.preview else result.image


def write_stdout(data: bytes) -> str:
    """Give a file's content to standard output; returns its name. Raises DenseError where that is full or closed."""
    sys.stdout.flush()
    stream = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)  # no buffer that fails once more at the end
    view = memoryview(data)
    try:
        while view:
            view = view[stream.write(view) or 0:]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DenseError(f"standard output: cannot be written ({error.strerror or error}); redirect it to a file on a "
                         "disk with space") from error
    return "standard output"


def ends_the_run(error: DenseError) -> bool:
    """Whether no other picture could be written either: a full or read-only disk."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL_DISK
