"""Annotations of objects in COCO's format: JSON with ``images``, ``annotations`` and ``categories``."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dense.errors import DatasetError

LAYOUTS = (("annotations/instances_{split}.json", "{split}"), ("annotations/instances_{split}.json", "images/{split}"),
           ("annotations/{split}.json", "{split}"), ("annotations/{split}.json", "images/{split}"),
           ("{split}.json", "{split}"), ("{split}/_annotations.coco.json", "{split}"))
"""(annotations, pictures) below the root: COCO's own layout first."""
SOME = 5  # names of faulty entries in messages


@dataclass(frozen=True, eq=False)
class Objects:
    """What is in one picture.

    boxes: float32 (n, 4), left, top, right, bottom in pixels; labels: int64 (n,), indices of classes; crowd: bool (n,),
    boxes around many objects that are not told apart; areas: float32 (n,) in pixels, of the outlines where the file has
    them.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, which: np.ndarray) -> Objects:
        return Objects(self.boxes[which], self.labels[which], self.crowd[which], self.areas[which])


@dataclass(frozen=True, eq=False)
class CocoPicture:
    """A picture and what is in it. shape: (height, width) that the file says."""

    id: int
    name: str
    image: Path
    shape: tuple[int, int]
    objects: Objects


@dataclass(frozen=True)
class CocoSet:
    """classes: names in the order of the categories' ids; pictures: by id; category_ids: of the classes.

    problems: what is wrong with some entries -> those entries, in words. They were left out, or mended where the words
    say so.
    """

    path: Path
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    pictures: list[CocoPicture]
    problems: dict[str, list[str]] = field(default_factory=dict)

    def describe_problems(self) -> list[str]:
        """A line for each kind, with how many and the first of them."""
        return [f"{len(found)} {what}: {', '.join(found[:SOME])}{' ...' * (len(found) > SOME)}"
                for what, found in self.problems.items()]


def find_coco(root: str | Path, split: str | None) -> tuple[Path, Path]:
    """The annotations' file and the pictures' folder of a split. DatasetError that says where it looked.

    split: as files are named ('val2017'), also without the year; None: ``root`` holds one JSON and the pictures.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root.resolve()}: no such folder. Expected there: annotations/instances_{split}.json and "
                           f"the pictures in {split}/. Remedy: put or link it there, or --data-root FOLDER")
    if split is None:
        files = sorted(root.glob("*.json"))
        if len(files) == 1:
            return files[0], root / "images" if (root / "images").is_dir() else root
        raise DatasetError(f"{root}: {len(files)} JSON files, one is needed where there are no splits")
    for places in LAYOUTS:
        for name in (split, f"{split}2017"):
            file, folder = (root / place.format(split=name) for place in places)
            if file.is_file() and folder.is_dir():
                return file, folder
    raise DatasetError(f"{root}: no annotations of the split {split!r}. Looked for "
                       f"{', '.join(f'{a} with {p}/'.format(split=split) for a, p in LAYOUTS)}")


def read_coco(path: str | Path, folder: str | Path, classes: Sequence[str] | None = None) -> CocoSet:
    """Read annotations; faulty entries are told in ``problems``.

    folder: where the pictures are. classes: names, in an order of the caller's, that are to be kept; None: all.
    Boxes are cut at the picture's edges. Left out are boxes that then have no area, as in COCO's own code, pictures
    that are not there, second entries of an id, and annotations of unknown pictures or categories.

    Raises DatasetError if the file is not there, not JSON or not of this format, or lacks one of ``classes``.
    """
    path = Path(path)
    content = _load(path)
    problems: dict[str, list[str]] = {}
    named = {}
    for entry in sorted(content["categories"], key=lambda c: c["id"]):
        if entry["id"] in named:
            problems.setdefault("categories whose id is taken", []).append(f"{entry['id']} {entry['name']}")
        named.setdefault(entry["id"], str(entry["name"]))
    names = tuple(named.values()) if classes is None else tuple(classes)
    if missing := [n for n in names if n not in named.values()]:
        raise DatasetError(f"{path}: has no category {', '.join(missing[:SOME])}; it has "
                           f"{', '.join(list(named.values())[:20])}. Remedy: make task['classes'] and the file agree")
    index = {i: names.index(n) for i, n in named.items() if n in names}
    pictures = _pictures(content, Path(folder), problems)
    objects: dict[int, list[tuple]] = {i: [] for i in pictures}
    seen: set = set()
    for entry in content["annotations"]:
        picture = pictures.get(entry.get("image_id"))
        mark = f"annotation {entry.get('id')}"
        if entry.get("id") in seen:
            problems.setdefault("annotations whose id is taken, left out", []).append(mark)
        elif picture is None:
            problems.setdefault("annotations of pictures that are not there, left out", []).append(mark)
        elif entry.get("category_id") not in named:
            problems.setdefault("annotations of unknown categories, left out", []).append(
                f"{mark} ({entry.get('category_id')})")
        elif entry["category_id"] in index:
            row = _row(entry, picture, f"{mark} of {picture['file_name']}", problems)
            if row is not None:
                objects[entry["image_id"]].append((*row, index[entry["category_id"]]))
        seen.add(entry.get("id"))
    made = [CocoPicture(i, Path(p["file_name"]).stem, Path(folder) / p["file_name"], (p["height"], p["width"]),
                        _objects(objects[i])) for i, p in sorted(pictures.items())]
    ids = tuple(next(i for i, n in named.items() if n == name) for name in names)
    return CocoSet(path, names, ids, made, problems)


def _load(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error})") from None
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in keys):
        raise DatasetError(f"{path}: not in COCO's format, which has the lists {', '.join(keys)}")
    try:
        for entry in content["images"]:
            entry["id"], str(entry["file_name"]), int(entry["height"]), int(entry["width"])
        for entry in content["categories"]:
            int(entry["id"]), str(entry["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: an image needs id, file_name, height and width, a category id and name "
                           f"({type(error).__name__}: {error})") from None
    return content


def _pictures(content: dict, folder: Path, problems: dict[str, list[str]]) -> dict[int, dict]:
    pictures: dict[int, dict] = {}
    for entry in content["images"]:
        if entry["id"] in pictures:
            problems.setdefault("pictures whose id is taken, left out", []).append(entry["file_name"])
        elif not (folder / entry["file_name"]).is_file():
            problems.setdefault("pictures that are not there, left out", []).append(entry["file_name"])
        else:
            pictures[entry["id"]] = entry
    return pictures


def _row(entry: dict, picture: dict, mark: str, problems: dict[str, list[str]]) -> tuple | None:
    """Box, crowd and area of an annotation, or None if it is left out."""
    try:
        x, y, width, height = map(float, entry["bbox"])
        finite = np.isfinite([x, y, width, height]).all()
    except (KeyError, TypeError, ValueError):
        finite = False
    if not finite:
        problems.setdefault("annotations without a box of four numbers, left out", []).append(mark)
        return None
    if width <= 0 or height <= 0:
        problems.setdefault("boxes without area, left out", []).append(mark)
        return None
    box = (max(0.0, x), max(0.0, y), min(float(picture["width"]), x + width), min(float(picture["height"]), y + height))
    if box[0] >= box[2] or box[1] >= box[3]:
        problems.setdefault("boxes outside of their picture, left out", []).append(mark)
        return None
    if np.abs(np.subtract(box, (x, y, x + width, y + height))).max() > 1:  # less is rounding
        problems.setdefault("boxes that reach out of their picture, cut", []).append(mark)
    area = entry.get("area")
    area = float(area) if isinstance(area, int | float) and area > 0 else (box[2] - box[0]) * (box[3] - box[1])
    return box, bool(entry.get("iscrowd", 0)), area


def _objects(rows: list[tuple]) -> Objects:
    boxes = np.array([r[0] for r in rows], np.float32).reshape(-1, 4)
    return Objects(boxes, np.array([r[3] for r in rows], np.int64), np.array([r[1] for r in rows], bool),
                   np.array([r[2] for r in rows], np.float32))
