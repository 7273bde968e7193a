"""Class files: which value of a label picture means what.

``classes.txt``, a class a line, blank lines and lines that begin with ``//`` left out:

    0 road #804080        id, name, and if one likes the colour that it has in RGB masks and is drawn in
    7 parked car          names may hold blanks
    9 ignore #000000      a value without a class: neither trained nor counted

or names alone, whose ids are then 0, 1, 2 ...; ``classes.json``: a list of names, of objects with ``id``, ``name`` and
perhaps ``colour`` (``[r, g, b]`` or ``"#rrggbb"``) and ``ignore`` (true), an object of ids and names, or one of these
under ``"classes"``. The value 255 is ignored unless it is the id of a class.
"""
from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.errors import DatasetError

FILES = ("classes.txt", "classes.json")
UNLABELLED = 255
_LINE = re.compile(r"(\d+)\s*[,;:\s]\s*(.+?)(?:\s*[,;\s]\s*(#[0-9a-fA-F]{6}))?")

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassList:
    """Classes in the order of a network's outputs.

    names, ids: of each class; the id is its value in label pictures. colours: RGB of each, None where the file gives
    none. ignored: further values that mean no class, and ignored_colours likewise. origin: where this was read.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...]
    colours: tuple[Colour, ...] | None = None
    ignored: tuple[int, ...] = (UNLABELLED,)
    ignored_colours: tuple[Colour, ...] = ()
    origin: str = "the class list"

    def describe(self) -> str:
        """'0 road, 7 parked car ...'."""
        parts = [f"{i} {n}" for i, n in zip(self.ids, self.names, strict=True)]
        return ", ".join(parts[:12]) + (f" ... ({len(parts)} in all)" if len(parts) > 12 else "")


def find_class_file(*folders: str | os.PathLike[str]) -> Path | None:
    """The first class file in these folders."""
    return next((path for folder in folders for name in FILES if (path := Path(folder) / name).is_file()), None)


def read_classes(path: str | os.PathLike[str]) -> ClassList:
    """Read a class file; DatasetError with its name, the line or entry, and the remedy if it cannot be understood."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DatasetError(f"{path}: cannot be read ({reason}). Remedy: a class file, '0 road' and so on") from None
    entries = _json_entries(text, path) if path.suffix.lower() == ".json" else _text_entries(text, path)
    return _checked(entries, path)


@dataclass(frozen=True)
class _Entry:
    where: str
    id: int
    name: str
    colour: Colour | None
    ignore: bool


def _text_entries(text: str, path: Path) -> list[_Entry]:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("//")]
    numbered = [_LINE.fullmatch(line) for _, line in lines]
    if lines and not any(numbered):  # names alone
        return [_Entry(f"line {n}", i, line, None, False) for i, (n, line) in enumerate(lines)]
    entries = []
    for (number, line), match in zip(lines, numbered, strict=True):
        if match is None:
            raise DatasetError(f"{path}, line {number}: {line!r} is no class. Remedy: id, name and perhaps a colour, "
                               "such as '7 parked car #0000ff'")
        name, colour = match[2].strip(), match[3]
        entries.append(_Entry(f"line {number}", int(match[1]), name, _colour(colour), name.lower() == "ignore"))
    return entries


def _json_entries(text: str, path: Path) -> list[_Entry]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{path}: no JSON ({error}). Remedy: correct it, or write classes.txt") from None
    if isinstance(values, dict) and "classes" in values:
        values = values["classes"]
    if isinstance(values, dict):
        values = [{"id": k, "name": v} for k, v in values.items()]
    if not isinstance(values, list):
        raise DatasetError(f"{path}: holds no list of classes. Remedy: [{{\"id\": 0, \"name\": \"road\"}}, ...]")
    entries = []
    for index, value in enumerate(values):
        if isinstance(value, str):
            value = {"id": index, "name": value}
        try:
            name = value["name"]
            if not isinstance(name, str):
                raise TypeError(name)
            entries.append(_Entry(f"entry {index}", int(value["id"]), name.strip(),
                                  _colour(value.get("colour", value.get("color"))),
                                  bool(value.get("ignore")) or name.lower() == "ignore"))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DatasetError(f"{path}, entry {index}: {json.dumps(value)[:80]} is no class. Remedy: an object with "
                               "'id' (a number), 'name', and perhaps 'colour' and 'ignore'") from None
    return entries


def _colour(value: Any) -> Colour | None:
    if value is None:
        return None
    if isinstance(value, str):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", value):
            raise ValueError(value)
        return tuple(bytes.fromhex(value[1:]))
    colour = tuple(int(v) for v in value)
    if len(colour) != 3 or not all(0 <= v <= 255 for v in colour):
        raise ValueError(value)
    return colour


def _checked(entries: Sequence[_Entry], path: Path) -> ClassList:
    used: dict[Any, _Entry] = {}
    for entry in entries:
        if not 0 <= entry.id <= 65535:
            raise DatasetError(f"{path}, {entry.where}: the id {entry.id} is not within 0..65535")
        keys = [("id", entry.id)] + [("colour", entry.colour)] * (entry.colour is not None)
        for kind, value in keys + [("name", entry.name)] * (not entry.ignore):
            if (kind, value) in used:
                raise DatasetError(f"{path}, {entry.where}: the {kind} {value} is that of {used[kind, value].where} "
                                   "already. Remedy: make them differ")
            used[kind, value] = entry
    classes, ignored = ([e for e in entries if e.ignore is flag] for flag in (False, True))
    if len(classes) < 2:
        raise DatasetError(f"{path}: names {len(classes)} classes, segmentation needs two. Remedy: name the background "
                           "as well, such as '0 background'")
    with_colour = [e for e in classes if e.colour is not None]
    if with_colour and len(with_colour) < len(classes):
        bare = next(e for e in classes if e.colour is None)
        raise DatasetError(f"{path}, {bare.where}: {bare.name} has no colour, others have one. Remedy: all or none")
    ids = tuple(e.id for e in classes)
    return ClassList(
        tuple(e.name for e in classes), ids, tuple(e.colour for e in classes) if with_colour else None,
        tuple(e.id for e in ignored) + ((UNLABELLED,) if UNLABELLED not in (*ids, *(e.id for e in ignored)) else ()),
        tuple(e.colour for e in ignored if e.colour is not None), str(path))
