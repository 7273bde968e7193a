"""Labelled boxes of pictures, whatever file they are from, and what is wrong with them.

Boxes are x, y, width, height in pixels; x and y count from the left and upper edge of the picture, where 0 is.
"""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dense.errors import DatasetError, ImageError
from dense.io.images import image_size

KINDS: dict[str, tuple[str, str, str]] = {
    "missing picture": ("error", "left out", "put the file there, or remove the picture's entry"),
    "unreadable picture": ("error", "training and testing end where it comes", "restore the file from its source"),
    "size differs from the file": ("error", "training and testing end where it comes",
                                   "correct width and height; mind EXIF rotation"),
    "duplicate picture id": ("error", "the second picture is left out, annotations are the first one's",
                             "give each picture an id of its own"),
    "duplicate picture": ("warning", "two pictures", "remove one of the entries"),
    "box is no numbers": ("error", "left out", "four finite numbers: x, y, width, height"),
    "size not positive": ("error", "left out", "remove the box, or correct it"),
    "outside the picture": ("error", "left out", "remove the box, or correct the picture's size"),
    "partly outside the picture": ("warning", "cut off at the edge; conversions keep the numbers", "correct the box"),
    "unknown category": ("error", "left out", "add the category, or correct the annotation"),
    "unknown picture": ("error", "left out", "add the picture's entry, or remove the annotation"),
    "duplicate annotation id": ("warning", "both are kept", "give each annotation an id of its own"),
    "duplicate box": ("warning", "both are objects", "remove one, if they are one object"),
    "malformed": ("error", "left out", "correct the line or entry"),
    "crowd": ("note", "not trained on; found objects inside count neither for nor against", "nothing"),
    "difficult": ("note", "objects like others", "nothing"),
    "picture without objects": ("note", "left out of training unless asked for, kept for evaluation", "nothing"),
    "file without entry": ("note", "not used", "nothing"),
}
"""Kind of finding: level ("error", "warning", "note"), what is done about it, and the remedy."""

LEVELS = ("error", "warning", "note")
ROUNDING = 1.0  # pixels that a box may reach out of its picture without a word


@dataclass(frozen=True, slots=True)
class Box:
    """An object. label: index of its class. crowd: a region of many, as COCO marks it. area: of the object's mask
    where the file gives one. id: in the file. extra: further entries, kept for files of the same form."""

    label: int
    xywh: tuple[float, float, float, float]
    crowd: bool = False
    area: float | None = None
    id: int | str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def pixels(self) -> float:
        """The area, of the box where no other is known."""
        return self.xywh[2] * self.xywh[3] if self.area is None else self.area


@dataclass(frozen=True, slots=True)
class BoxPicture:
    """A picture. name: path below the folder of pictures, with '/'. id: in the file, None where that has none."""

    name: str
    width: int
    height: int
    boxes: tuple[Box, ...] = ()
    id: int | str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def problem(self, box: Box) -> str | None:
        """The kind of what makes a box of this picture useless, None for a good one."""
        x, y, w, h = box.xywh
        if w <= 0 or h <= 0:
            return "size not positive"
        if x >= self.width or y >= self.height or x + w <= 0 or y + h <= 0:
            return "outside the picture"
        return None

    def usable(self) -> tuple[Box, ...]:
        """Boxes that have a size and are in the picture, at least in part."""
        return tuple(b for b in self.boxes if self.problem(b) is None)

    def clipped(self, box: Box) -> tuple[float, float, float, float]:
        """x, y, width, height of what of a box is in the picture."""
        x, y, w, h = box.xywh
        left, top = max(0.0, x), max(0.0, y)
        return left, top, min(self.width, x + w) - left, min(self.height, y + h) - top


@dataclass(frozen=True)
class BoxSet:
    """classes: names; ids: of the classes in the file. origin: the file or folder. info: further parts of the file."""

    classes: tuple[str, ...]
    pictures: tuple[BoxPicture, ...]
    ids: tuple[int, ...]
    origin: str
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for what, values in (("name", self.classes), ("id", self.ids)):
            if len(set(values)) < len(values):
                twice = next(v for v in values if values.count(v) > 1)
                raise DatasetError(f"{self.origin}: two categories have the {what} {twice!r}. Remedy: make them differ")
        if not self.classes or len(self.ids) != len(self.classes):
            raise DatasetError(f"{self.origin}: names no categories. Remedy: name at least one")


@dataclass(frozen=True)
class BoxFinding:
    """kind: of ``KINDS``; where: picture, annotation or line; detail: in words."""

    kind: str
    where: str
    detail: str = ""

    @property
    def level(self) -> str:
        return KINDS[self.kind][0]

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}" if self.detail else self.where


class BoxFindings:
    """What was found in a set of boxes, in the order of finding."""

    def __init__(self) -> None:
        self.all: list[BoxFinding] = []

    def add(self, kind: str, where: object, detail: str = "") -> None:
        """One more."""
        self.all.append(BoxFinding(kind, str(where), detail))

    def __iter__(self) -> Iterator[BoxFinding]:
        return iter(self.all)

    def by_kind(self) -> dict[str, list[BoxFinding]]:
        """Findings by kind, in the order of ``KINDS``."""
        groups: dict[str, list[BoxFinding]] = {kind: [] for kind in KINDS}
        for one in self.all:
            groups[one.kind].append(one)
        return {kind: found for kind, found in groups.items() if found}

    def count(self, level: str) -> int:
        """Number of findings of a level."""
        return sum(f.level == level for f in self.all)

    def lines(self, levels: Sequence[str] = ("error", "warning"), examples: int = 1) -> list[str]:
        """For people: a line a kind, with its number, the first ones, and what is done about it."""
        out = []
        for kind, found in self.by_kind().items():
            level, handled, remedy = KINDS[kind]
            if level in levels:
                shown = "; ".join(str(f) for f in found[:examples])
                more = f" and {len(found) - examples} more" if len(found) > examples else ""
                out.append(f"{kind}: {len(found)} ({shown}{more}): {handled}. Remedy: {remedy}")
        return out

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"counts": {kind: len(found) for kind, found in self.by_kind().items()},
                "findings": [{"kind": f.kind, "level": f.level, "where": f.where, "detail": f.detail}
                             for f in self.all]}


def numbers(values: Any, count: int = 4) -> tuple[float, ...] | None:
    """``count`` finite numbers, or None."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return None
    if any(isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v) for v in values):
        return None
    return tuple(float(v) for v in values)


def check_boxes(found: BoxSet, findings: BoxFindings) -> None:
    """Add what is wrong with the boxes of a set, or worth a note, to the findings."""
    for picture in found.pictures:
        if not any(not b.crowd for b in picture.boxes):
            findings.add("picture without objects", picture.name)
        seen: set[tuple] = set()
        for box in picture.boxes:
            named = picture.name if box.id is None else f"annotation {box.id} of {picture.name}"
            where = f"{named}, {found.classes[box.label]} at {_words(box.xywh)}"
            if box.crowd:
                findings.add("crowd", where)
            elif box.extra.get("difficult"):
                findings.add("difficult", where)
            if problem := picture.problem(box):
                findings.add(problem, where, f"the picture has {picture.width} x {picture.height} pixels"
                             if problem.startswith("outside") else "")
            elif max(abs(a - b) for a, b in zip(picture.clipped(box), box.xywh, strict=True)) > ROUNDING:
                findings.add("partly outside the picture", where,
                             f"the picture has {picture.width} x {picture.height} pixels")
            key = (box.label, box.crowd, box.xywh)
            if key in seen:
                findings.add("duplicate box", where)
            seen.add(key)


def check_pictures(found: BoxSet, images: str | Path, findings: BoxFindings) -> None:
    """Look at the files of the pictures in a folder: missing, unreadable, of another size, or without an entry."""
    from dense.io.images import list_images

    images = Path(images)
    if not images.is_dir():
        raise DatasetError(f"{images}: the folder of pictures does not exist. Remedy: name another")
    for picture in found.pictures:
        path = images / picture.name
        if not path.is_file():
            findings.add("missing picture", path)
            continue
        try:
            height, width = image_size(path)
        except ImageError as error:
            findings.add("unreadable picture", path, str(error).removeprefix(f"{path}: "))
            continue
        if (width, height) != (picture.width, picture.height):
            findings.add("size differs from the file", path, f"{width} x {height} pixels, the entry says "
                         f"{picture.width} x {picture.height}")
    known = {picture.name for picture in found.pictures}
    for path in list_images(images, recursive=True):
        if path.relative_to(images).as_posix() not in known:
            findings.add("file without entry", path)


def relative_name(name: str, origin: object) -> str:
    """A picture's path below its folder; DatasetError for one that leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.name or path.is_absolute() or ".." in path.parts or (path.parts[0].endswith(":")):
        raise DatasetError(f"{origin}: the picture's name {name!r} leads out of the folder of pictures. Remedy: a path "
                           "below it")
    return path.as_posix()


def check_stems(pictures: Sequence[BoxPicture], origin: object) -> None:
    """DatasetError where two pictures would share a file of labels, which is named after them."""
    stems: dict[str, str] = {}
    for picture in pictures:
        stem = PurePosixPath(picture.name).with_suffix("").as_posix()
        if (other := stems.get(stem.casefold())) is not None:
            raise DatasetError(f"{origin}: {other} and {picture.name} would share one file of labels, {stem}. Remedy: "
                               "rename or remove one of the pictures")
        stems[stem.casefold()] = picture.name


def _words(xywh: Sequence[float]) -> str:
    return ",".join(f"{v:g}" for v in xywh)
