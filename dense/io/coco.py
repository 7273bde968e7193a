"""Data sets of detection in COCO's layouts: pictures on disk, and the objects in them as arrays."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dense.errors import DatasetError
from dense.io.boxes import Box, BoxFindings, BoxPicture
from dense.io.coco_file import read_coco_file

LAYOUTS = (("annotations/instances_{split}.json", "{split}"), ("annotations/instances_{split}.json", "images/{split}"),
           ("annotations/{split}.json", "{split}"), ("annotations/{split}.json", "images/{split}"),
           ("{split}.json", "{split}"), ("{split}/_annotations.coco.json", "{split}"))
"""(annotations, pictures) below the root: COCO's own layout first."""
SOME = 5  # names in messages


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

    id: int | str
    name: str
    image: Path
    shape: tuple[int, int]
    objects: Objects


@dataclass(frozen=True)
class CocoSet:
    """classes: names in the order of the categories' ids, or as asked for; category_ids: of them; pictures: by id.

    findings: what is wrong with some entries, and what was done about them.
    """

    path: Path
    classes: tuple[str, ...]
    category_ids: tuple[int | str, ...]
    pictures: list[CocoPicture]
    findings: BoxFindings = field(default_factory=BoxFindings)

    def describe_problems(self) -> list[str]:
        """A line for each kind of error and warning, with how many, the first of them, and the remedy."""
        return self.findings.lines(examples=SOME)


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
    """Read annotations; faulty entries are named in the ``findings``.

    folder: where the pictures are. classes: names, in an order of the caller's, that are to be kept; None: all.
    Boxes are cut at the picture's edges. Left out are boxes without a size or outside of their picture, pictures that
    are not there, second pictures of an id, and annotations of unknown pictures or categories.

    Raises DatasetError if the file is not there, not JSON or not of this format, or lacks one of ``classes``.
    """
    path, folder = Path(path), Path(folder)
    found, findings = read_coco_file(path, keep=False)
    own = dict(sorted(zip(found.ids, found.classes, strict=True), key=lambda c: (isinstance(c[0], str), c[0])))
    names = tuple(own.values()) if classes is None else tuple(classes)
    if missing := [n for n in names if n not in own.values()]:
        raise DatasetError(f"{path}: has no category {', '.join(missing[:SOME])}; it has "
                           f"{', '.join(list(own.values())[:20])}. Remedy: make task['classes'] and the file agree")
    labels = {index: names.index(n) for index, n in enumerate(found.classes) if n in names}
    pictures = []
    for one in sorted(found.pictures, key=lambda p: (isinstance(p.id, str), p.id)):
        image = folder / one.name
        if not image.is_file():
            findings.add("missing picture", image)
            continue
        boxes = [b for b in one.usable() if b.label in labels]
        pictures.append(CocoPicture(one.id, image.stem, image, (one.height, one.width), _objects(one, boxes, labels)))
    ids = tuple(next(i for i, n in own.items() if n == name) for name in names)
    return CocoSet(path, names, ids, pictures, findings)


def _objects(picture: BoxPicture, boxes: Sequence[Box], labels: dict[int, int]) -> Objects:
    corners = np.array([picture.clipped(b) for b in boxes], np.float64).reshape(-1, 4)
    areas = [b.area or c[2] * c[3] for b, c in zip(boxes, corners, strict=True)]
    corners[:, 2:] += corners[:, :2]
    return Objects(corners.astype(np.float32), np.array([labels[b.label] for b in boxes], np.int64),
                   np.array([b.crowd for b in boxes], bool), np.array(areas, np.float32))
