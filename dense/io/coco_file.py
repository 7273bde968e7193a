"""COCO's JSON of objects: read with everything wrong named, written back as it was."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dense.errors import DatasetError
from dense.io.atomic import write_text
from dense.io.boxes import Box, BoxFindings, BoxPicture, BoxSet, check_boxes, numbers, relative_name

_PARTS = ("images", "annotations", "categories")
_OWN = ("id", "image_id", "category_id", "bbox", "iscrowd", "area")


def read_coco_file(path: str | Path, keep: bool = True) -> tuple[BoxSet, BoxFindings]:
    """The boxes of an instances file, and what was found in it.

    keep: masks and other entries of annotations and pictures as well (memory).
    Left out are annotations without numbers, of no category, or of no picture, and second pictures of an id; boxes
    without a size or outside of their picture are in the set, but not ``BoxPicture.usable``.
    Raises DatasetError for a file that is no such JSON, or has two categories of one id or name.
    """
    path = Path(path)
    values = _load(path)
    for part in _PARTS:
        if not isinstance(values.get(part), list):
            raise DatasetError(f"{path}: has no list {part!r}; found: {', '.join(map(str, values)) or 'nothing'}. "
                               "Remedy: an instances file of COCO: images, annotations, categories (results of a "
                               "detector alone are none)")
    categories = [_entry(c, path, f"categories[{i}]", "id", "name") for i, c in enumerate(values["categories"])]
    ids = tuple(_identity(c["id"], path, f"categories[{i}]") for i, c in enumerate(categories))
    findings = BoxFindings()
    pictures = _pictures(values["images"], path, findings, keep)
    boxes: dict[int | str, list[Box]] = {i: [] for i in pictures}
    labels = {identity: index for index, identity in enumerate(ids)}
    seen: set[Any] = set()
    for index, note in enumerate(values["annotations"]):
        if not isinstance(note, dict):
            findings.add("malformed", f"annotations[{index}]", "is no object")
            continue
        where = f"annotation {note['id']}" if "id" in note else f"annotations[{index}]"
        box = _box(note, where, labels, pictures, findings, keep)
        if box is None:
            continue
        if "id" in note and _hashable(note["id"]) in seen:
            findings.add("duplicate annotation id", where, f"of {pictures[note['image_id']].name}")
        seen.add(_hashable(note.get("id")))
        boxes[note["image_id"]].append(box)
    found = BoxSet(tuple(str(c["name"]) for c in categories),
                   tuple(replace(p, boxes=tuple(boxes[i])) for i, p in pictures.items()), ids, str(path),
                   {k: v for k, v in values.items() if k not in _PARTS} if keep else {})
    check_boxes(found, findings)
    return found, findings


def _load(path: Path) -> dict:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error}). Remedy: name COCO's JSON "
                           "file") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: is no JSON ({error}). Remedy: copy it anew from its source") from None
    if not isinstance(values, dict):
        hint = "a list: of a detector's results?" if isinstance(values, list) else type(values).__name__
        raise DatasetError(f"{path}: holds {hint}, not COCO's images, annotations and categories")
    return values


def _entry(value: Any, path: Path, where: str, *keys: str) -> dict:
    if not isinstance(value, dict) or (missing := [k for k in keys if k not in value]):
        what = f"has no {missing[0]!r}" if isinstance(value, dict) else "is no object"
        raise DatasetError(f"{path}, {where}: {what}. Remedy: correct the file")
    return value


def _identity(value: Any, path: Path, where: str) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DatasetError(f"{path}, {where}: {value!r} is no id. Remedy: a whole number")
    return value


def _side(value: Any, path: Path, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 2**31 or value != int(value):
        raise DatasetError(f"{path}, {where}: {value!r} is no width or height in pixels. Remedy: correct the file")
    return int(value)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | float | str | None) else json.dumps(value)


def _pictures(entries: list, path: Path, findings: BoxFindings, keep: bool) -> dict[int | str, BoxPicture]:
    pictures: dict[int | str, BoxPicture] = {}
    names: dict[str, int | str] = {}
    for index, entry in enumerate(entries):
        where = f"images[{index}]"
        _entry(entry, path, where, "id", "file_name", "width", "height")
        identity = _identity(entry["id"], path, where)
        width, height = (_side(entry[k], path, where) for k in ("width", "height"))
        name = relative_name(str(entry["file_name"]), f"{path}, {where}")
        extra = {k: v for k, v in entry.items() if k not in ("id", "file_name", "width", "height")} if keep else {}
        picture = BoxPicture(name, width, height, id=identity, extra=extra)
        if identity in pictures:
            findings.add("duplicate picture id", name, f"{pictures[identity].name} has the id {identity} already")
            continue
        if name in names:
            findings.add("duplicate picture", name, f"listed with the ids {names[name]} and {identity}")
        pictures[identity], names[name] = picture, identity
    return pictures


def _box(note: dict, where: str, labels: Mapping[int | str, int], pictures: Mapping[int | str, BoxPicture],
         findings: BoxFindings, keep: bool) -> Box | None:
    identity, category = _hashable(note.get("image_id")), _hashable(note.get("category_id"))
    if identity not in pictures:
        findings.add("unknown picture", where, f"no picture has the id {identity!r}")
        return None
    if category not in labels:
        findings.add("unknown category", where, f"of {pictures[identity].name}: no category has the id {category!r}")
        return None
    xywh = numbers(note.get("bbox"))
    if xywh is None:
        shown = json.dumps(note.get("bbox"))[:60]
        findings.add("box is no numbers", where, f"of {pictures[identity].name}: {shown}")
        return None
    area = note.get("area")
    area = None if isinstance(area, bool) or not isinstance(area, int | float) or not area >= 0 else float(area)
    extra = {k: v for k, v in note.items() if k not in _OWN} if keep else {}
    return Box(labels[category], xywh, bool(note.get("iscrowd", 0)), area,
               note["id"] if isinstance(note.get("id"), int | str) else None, extra)


def coco_dict(found: BoxSet) -> dict[str, Any]:
    """The set as COCO's JSON: annotations counted from 1, boxes without a size or outside the picture left out."""
    images, notes = [], []
    for number, picture in enumerate(found.pictures, 1):
        identity = number if picture.id is None else picture.id
        images.append({"id": identity, "file_name": picture.name, "width": picture.width, "height": picture.height,
                       **picture.extra})
        for box in picture.usable():
            notes.append({"id": len(notes) + 1, "image_id": identity, "category_id": found.ids[box.label],
                          "bbox": [_plain(v) for v in box.xywh], "area": _plain(box.pixels),
                          "iscrowd": int(box.crowd), **box.extra})
    return {**found.info, "images": images, "annotations": notes,
            "categories": [{"id": i, "name": n} for i, n in zip(found.ids, found.classes, strict=True)]}


def write_coco_file(found: BoxSet, path: str | Path) -> Path:
    """Write ``coco_dict``. Raises DenseError where the file cannot be written."""
    path = Path(path)
    write_text(path, coco_text(coco_dict(found)))
    return path


def coco_text(values: Mapping[str, Any]) -> str:
    """JSON with a line for each entry of a list."""
    parts = []
    for key, value in values.items():
        head = f"{json.dumps(key)}: "
        if isinstance(value, list) and value:
            entries = ",\n".join(json.dumps(v, ensure_ascii=False, allow_nan=False) for v in value)
            parts.append(f"{head}[\n{entries}]")
        else:
            parts.append(head + json.dumps(value, ensure_ascii=False, allow_nan=False))
    return "{" + ",\n".join(parts) + "}\n"


def _plain(value: float) -> int | float:
    value = round(value, 10)
    return int(value) if value == int(value) else value
