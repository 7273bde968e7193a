"""Where pictures come from: files, folders, patterns, lists, videos, arrays, standard input, growing folders.

A source is an iterable of ``Item``s. Nothing is decoded before an item is loaded.
"""
from __future__ import annotations

import functools
import glob
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from dense.errors import DatasetError, DenseError, ImageError
from dense.inference.video import count_frames, decode_frames, is_video
from dense.io import Metadata, Picture, image_size, list_images, picture_from_array, picture_from_pillow, read_picture
from dense.io.images import IMAGE_SUFFIXES

IDLE = object()
"""Yielded by a source that has nothing now and may have something later: what waits downstream goes on."""


@dataclass(frozen=True)
class Item:
    """One picture, or volume, to come.

    name: for messages. relative: where its result belongs, below the output folder, still with its own suffix.
    load: decodes it (ImageError where that fails). path: of its file, if it has one of its own. pixels: H * W if
    known without reading anything. data: gives the bytes of its file, where it has none of its own. base: what results
    are called, without suffix, where that is not the relative name without its last one. size: of a volume, about how
    many bytes it takes once it is loaded.
    """

    name: str
    relative: PurePath
    load: Callable[[], Any]
    path: Path | None = None
    pixels: int | None = None
    data: Callable[[], bytes] | None = None
    base: str | None = None
    size: Callable[[], int] = lambda: 0

    def count_pixels(self) -> int:
        """Height times width, from the header of a file or its bytes; 0 for what cannot be read."""
        if self.pixels is not None or (self.path is None and self.data is None):
            return self.pixels or 0
        try:
            height, width = image_size(self.path if self.data is None else self.data())
        except (DenseError, MemoryError):
            return 0
        return height * width


@dataclass(frozen=True)
class Source:
    """Items, whether they are only one picture, and their number where it is known beforehand."""

    items: Iterable
    single: bool = False
    total: int | None = None


def find_source(value: Any, recursive: bool = False, beside: bool = False,
                exclude: Path | None = None) -> Source:
    """The source that ``value`` means.

    value: an array uint8 (H, W[, 1|3|4]), a Pillow picture, a ``dense.io.Picture``, the bytes of a file, a path, '-'
        (standard input), a folder, a pattern with * ? [ ], '@names.txt' (a file with a path a line, relative to it), a
        video, or any iterable of pictures and paths (``watch(folder)`` too).
    recursive: folders below as well. beside: keep the name of a folder in the relative names, for several folders at
        once. exclude: a folder whose files are no input (the output's, where it lies in the input's).

    Raises ImageError or DatasetError where there is nothing, or no picture.
    """
    if isinstance(value, np.ndarray):
        return Source([_array_item(value, "array")], single=True)
    if isinstance(value, Picture):
        return Source([_picture_item(value)], single=True)
    if isinstance(value, bytes | bytearray | memoryview):
        return Source([_bytes_item(lambda: value, "the given bytes", "picture")], single=True)
    if hasattr(value, "getexif"):
        return Source([_pillow_item(value, getattr(value, "filename", "") or "picture")], single=True)
    if isinstance(value, str | os.PathLike):
        return _from_path(os.fspath(value), recursive, beside, exclude)
    if hasattr(value, "read"):
        data = value.read()
        if not isinstance(data, bytes):
            raise ImageError(f"{getattr(value, 'name', 'the open file')}: was opened as text; open it with 'rb'")
        return Source([_bytes_item(lambda: data, str(getattr(value, "name", "the open file")), "picture")], single=True)
    if not isinstance(value, Iterable) or hasattr(value, "__array__"):
        raise ImageError(f"{type(value).__name__}: is no picture; give a path, an array, a Pillow picture, or a list "
                         "of these (of a tensor its .numpy(), uint8 (H, W, 3))")
    return Source(_each(value), total=len(value) if isinstance(value, Sequence) else None)


def _from_path(text: str, recursive: bool, beside: bool, exclude: Path | None) -> Source:
    if not text:
        raise ImageError("'': is no path; give one, or '.' for the current folder")
    path = Path(text)
    if text == "-":
        return Source([_bytes_item(functools.cache(lambda: sys.stdin.buffer.read()), "standard input", "picture")],
                      single=True)
    if text.startswith("@") and not path.exists():
        return _listed([*names_in(Path(text[1:]))], Path(text[1:]).parent)
    if path.is_dir():
        exclude = None if exclude is None or exclude.resolve() == path.resolve() else exclude
        paths = [p for p in list_images(path, recursive) if not is_inside(p, exclude)]
        if not paths:
            raise DatasetError(_no_pictures(path, recursive))
        return _listed(paths, path.resolve().parent if beside else path)
    if is_video(path) and path.exists():
        return Source(_frames(path), total=count_frames(path))
    if re.search(r"[*?\[]", text) and not path.exists():
        exclude = exclude if "**" in text else None  # else only what was plainly asked for can match
        found = sorted((Path(p) for p in glob.iglob(text, recursive=True)), key=lambda p: p.as_posix())
        paths = [p for p in found if p.is_file() and p.suffix.lower() in IMAGE_SUFFIXES and not is_inside(p, exclude)]
        if not paths:
            videos = sum(p.is_file() and is_video(p) for p in found)
            hint = f"{videos} videos match, give them one by one" if videos else \
                "check the pattern (** goes into folders)"
            raise DatasetError(f"{text}: matches no picture; {hint}")
        return _listed(paths, fixed_part(text))
    if not path.exists():
        raise ImageError(f"{text}: does not exist; check the path")
    return Source([file_item(path, PurePath(path.name))], single=True, total=1)


def _no_pictures(folder: Path, recursive: bool) -> str:
    below = not recursive and any(p.is_dir() for p in folder.iterdir())
    remedy = "--recursive (recursive=True) takes the folders below as well" if below else \
        f"pictures end in {', '.join(IMAGE_SUFFIXES[:8])} ..."
    return f"{folder}: the folder holds no picture; {remedy}"


def is_inside(path: Path, folder: Path | None) -> bool:
    """Whether a path lies in the folder, or is it."""
    return folder is not None and path.resolve().is_relative_to(folder.resolve())


def fixed_part(pattern: str) -> Path:
    """The folder that a pattern begins with."""
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if re.search(r"[*?\[]", part))
    return Path(*parts[:first])


def _listed(paths: Sequence[Path], root: Path) -> Source:
    items = [file_item(path, below(path, root)) for path in paths]
    return Source(items, total=len(items))


def below(path: Path, root: Path) -> PurePath:
    """The path as it is seen from a folder, links in it followed or not; its name alone where it lies elsewhere."""
    root, whole = root.resolve(), Path(os.path.abspath(path))
    real = whole.parent.resolve() / whole.name
    return next((PurePath(p.relative_to(root)) for p in (whole, real) if p.is_relative_to(root)), PurePath(path.name))


def file_item(path: Path, relative: PurePath) -> Item:
    """The item of a picture's file."""
    return Item(str(path), relative, lambda: read_picture(path), path)


def names_in(path: Path) -> Iterator[Path]:
    """Paths of a list in a file, one a line, relative to it. DatasetError where it cannot be read or is empty."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows' editors begin with a mark
    except FileNotFoundError:
        raise DatasetError(f"@{path}: the list does not exist; check the path after @") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"@{path}: the list cannot be read ({error}); give a text file in UTF-8 with a path a "
                           "line") from None
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise DatasetError(f"@{path}: the list names no file; give a text file with a path a line")
    return (path.parent / name for name in names)


def _array_item(array: np.ndarray, name: str) -> Item:
    pixels = array.shape[0] * array.shape[1] if array.ndim >= 2 else 0
    return Item(name, PurePath(f"{name}.png".replace(" ", "_")), lambda: picture_from_array(array, name), None, pixels)


def _pillow_item(image: Any, name: str) -> Item:
    return Item(str(name), PurePath(Path(name).name), lambda: picture_from_pillow(image, str(name)), None,
                image.size[0] * image.size[1])


def _picture_item(picture: Picture) -> Item:
    return Item(picture.name, PurePath(Path(picture.name).name), lambda: picture, None,
                picture.pixels.shape[0] * picture.pixels.shape[1])


def _bytes_item(data: Callable[[], bytes], name: str, relative: str | None = None) -> Item:
    return Item(name, PurePath(relative or name.replace(" ", "_")), lambda: read_picture(data(), name), data=data)


def _each(values: Iterable) -> Iterator:
    """Items of the pictures and paths in an iterable; each is a picture of its own. Items, and ``IDLE`` of a growing
    folder, are handed on."""
    for index, value in enumerate(values):
        name = f"picture {index}"
        if value is IDLE or isinstance(value, Item):
            yield value
        elif isinstance(value, np.ndarray):
            yield _array_item(value, name)
        elif isinstance(value, Picture):
            yield _picture_item(value)
        elif hasattr(value, "getexif"):
            yield _pillow_item(value, getattr(value, "filename", "") or name)
        elif isinstance(value, bytes | bytearray | memoryview):
            yield _bytes_item(lambda v=value: v, name)
        elif isinstance(value, str | os.PathLike):
            yield file_item(Path(value), PurePath(Path(value).name))
        else:
            yield _failing(name, ImageError(f"{name}: {type(value).__name__} is no picture; give a path, an array or "
                                            "a Pillow picture"))


def _failing(name: str, error: DenseError) -> Item:
    def load() -> Picture:
        raise error

    return Item(name, PurePath(name.replace(" ", "_")), load)


def _frames(path: Path) -> Iterator[Item]:
    frames = decode_frames(path)
    index = 0
    while True:
        name = f"{path} frame {index}"
        try:
            frame = next(frames, None)
        except ImageError as error:
            yield _failing(name, error)
            return
        if frame is None:
            return
        yield Item(name, PurePath(path.stem) / f"{index:06d}.png",
                   lambda f=frame, n=name: Picture(f.pixels(), n, Metadata(time=f.time)), None, math.prod(frame.shape))
        index += 1


def watch(folder: str | os.PathLike, recursive: bool = False, exclude: Path | None = None, poll: float = 1.0,
          idle: float = float("inf")) -> Iterator:
    """Items of a growing folder: what is there, then what comes, each file once, as soon as two looks ``poll``
    seconds apart find the same size and time of change. Ends after ``idle`` seconds without a new file.

    Raises DatasetError where the folder is not there.
    """
    folder = Path(folder)
    done: set[Path] = set()
    seen: dict[Path, tuple[int, int]] = {}
    last = time.monotonic()
    while True:
        now: dict[Path, tuple[int, int]] = {}
        for path in list_images(folder, recursive):
            if path in done or is_inside(path, exclude):
                continue
            try:
                status = path.stat()
            except OSError:  # gone again
                continue
            now[path] = status.st_size, status.st_mtime_ns
            if status.st_size and seen.get(path) == now[path]:
                done.add(path)
                last = time.monotonic()
                yield file_item(path, PurePath(path.relative_to(folder)))
            elif seen.get(path) != now[path]:
                last = time.monotonic()
        seen = now
        if time.monotonic() - last > idle:
            return
        yield IDLE
        time.sleep(poll)
