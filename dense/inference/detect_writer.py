"""Files of what was found: the picture with boxes, YOLO's text beside it; a CSV and COCO's JSON of a run."""
from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dense.errors import ConfigError, DatasetError, DenseError
from dense.inference.detection import DetectionResult
from dense.inference.run_table import RunTable
from dense.inference.sinks import Owners
from dense.inference.sources import Item
from dense.io import write_text
from dense.io.coco_file import coco_text, read_coco_file
from dense.io.images import natural_key
from dense.io.picture import format_of
from dense.io.yolo import yolo_line

LABELS = ("all", "class", "none")
COLUMNS = ("picture", "time", "class", "score", "x", "y", "width", "height")


@dataclass(frozen=True)
class DetectWriter:
    """Writes the picture with boxes, and with ``yolo`` NAME.txt beside it.

    label: at the boxes: 'all' (class and score), 'class', 'none'.
    """

    label: str = "all"
    yolo: bool = False
    marker: ClassVar[str] = "-detect"
    transparent: ClassVar[bool] = False
    _owned: Owners = field(default_factory=Owners, compare=False, repr=False)
    _named: set[Path] = field(default_factory=set, compare=False, repr=False)  # lists of classes that are written
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def __post_init__(self):
        if self.label not in LABELS:
            raise ConfigError(f"label {self.label!r}: one of {', '.join(LABELS)}")

    def check(self, target: Path) -> None:
        """See ``Writer``."""
        format_of(target)

    def files(self, target: Path) -> tuple[Path, ...]:
        """See ``dense.inference.sinks.files_of``."""
        return (target.with_suffix(".txt"), target) if self.yolo else (target,)

    def write(self, result: DetectionResult, path: Path) -> Path:
        """Write the text, then the picture: where that is there, so is the text.

        DenseError where the text is another result's of this run, or the list of classes.
        """
        if self.yolo:
            text, classes = path.with_suffix(".txt"), path.with_name("classes.txt")
            self._owned.claim((classes,), classes)
            self._owned.claim((text,), path)
            self._write_classes(classes, result.classes)
            write_text(text, yolo_text(result))
        return result.save(path, *self._shown())

    def _write_classes(self, path: Path, classes: Sequence[str]) -> None:
        """Once in each folder. DenseError where another list is there."""
        text = "".join(f"{name}\n" for name in classes)
        with self._lock:
            if path in self._named:
                return
            if path.exists() and path.read_bytes() != text.encode():
                raise DenseError(f"{path}: names other classes. Remedy: another output folder")
            write_text(path, text)
            self._named.add(path)

    def _shown(self) -> tuple[bool, bool]:
        return self.label != "none", self.label == "all"

    def encode(self, result: DetectionResult, suffix: str) -> bytes:
        """The picture, as ``write`` would write it into a file of this suffix."""
        return result.encode(suffix, *self._shown())

    def frame(self, result: DetectionResult) -> np.ndarray:
        """uint8 RGB (H, W, 3)."""
        return result.drawn(*self._shown())


def yolo_text(result: DetectionResult) -> str:
    """YOLO's lines: index of the class, centre, width and height as shares of the picture; without scores."""
    height, width = result.image.shape[:2]
    return "".join(f"{yolo_line(int(label), tuple(box), width, height)}\n"
                   for label, box in zip(result.labels, result.xywh().round(3).tolist(), strict=True))


def box_table() -> RunTable:
    """A row for each object: picture, seconds of its video (frames only), class, score, box in pixels."""
    return RunTable("table of objects", COLUMNS, _box_rows)


def _box_rows(result: DetectionResult) -> list[dict]:
    time = result.metadata.time
    return [{"picture": result.source, "time": "" if time is None else f"{float(time):.3f}", "class": one["class"],
             "score": f"{one['score']:.5f}", **dict(zip(COLUMNS[4:], one["box"], strict=True))}
            for one in result.objects()]


class CocoTable(RunTable):
    """COCO's JSON of a run: images, categories, and annotations with scores, as labelling tools read it.

    ids: from an instances file, ``coco_ids``; then it is a list of results, as COCO's evaluation reads it, and pictures
    that the file does not name are an error.
    """

    suffix = ".json"

    def __init__(self, classes: Sequence[str] = (), ids: CocoIds | None = None):
        super().__init__("file of COCO objects", (), self._entry)
        self.classes, self.ids = tuple(classes), ids

    def name(self, result: DetectionResult, item: Item) -> str:
        """The picture's path below the folder that was given, or that of the file of ids."""
        if self.ids:
            return self.ids.names[self.ids.picture(result.source)]
        return "/".join(p for p in item.relative.parts if p not in ("..", item.relative.anchor))

    def _entry(self, result: DetectionResult) -> dict:
        """What stays of a picture. DatasetError for a picture or class that has no id."""
        if self.ids:
            self.ids.check(result.source, {one["class"] for one in result.objects()})
        height, width = result.image.shape[:2]
        return {"width": width, "height": height, "objects": [(o["class"], o["score"], o["box"])
                                                              for o in result.objects()]}

    def text(self, rows: Mapping[str, dict]) -> str:
        """See ``RunTable``."""
        if self.ids:
            found = [{"image_id": self.ids.picture(name), "category_id": self.ids.categories[kind], "bbox": box,
                      "score": score} for name, entry in rows.items() for kind, score, box in entry["objects"]]
            return "[" + ",\n".join(map(json.dumps, found)) + "]\n"
        used = {kind for entry in rows.values() for kind, _, _ in entry["objects"]}
        classes = [*self.classes, *sorted(used - set(self.classes), key=lambda n: natural_key(Path(n)))]
        values: dict[str, Any] = {
            "info": {"description": "objects found by dense detect"},
            "images": [{"id": i, "file_name": name, "width": e["width"], "height": e["height"]}
                       for i, (name, e) in enumerate(rows.items(), 1)],
            "annotations": [], "categories": [{"id": i, "name": n} for i, n in enumerate(classes, 1)]}
        for image, entry in enumerate(rows.values(), 1):
            for kind, score, box in entry["objects"]:
                values["annotations"].append({
                    "id": len(values["annotations"]) + 1, "image_id": image, "category_id": classes.index(kind) + 1,
                    "bbox": box, "area": round(box[2] * box[3], 2), "iscrowd": 0, "score": score})
        return coco_text(values)

    def parse(self, text: str) -> dict[str, dict] | None:
        """See ``RunTable``."""
        try:
            values = json.loads(text)
            if self.ids:
                pictures, kinds = self.ids.names, {v: k for k, v in self.ids.categories.items()}
                entries = {name: {"width": 0, "height": 0, "objects": []} for name in pictures.values()}
                notes = values
            else:
                pictures = {i["id"]: i["file_name"] for i in values["images"]}
                kinds = {c["id"]: c["name"] for c in values["categories"]}
                entries = {i["file_name"]: {"width": i["width"], "height": i["height"], "objects": []}
                           for i in values["images"]}
                notes = values["annotations"]
            for one in notes:
                entries[pictures[one["image_id"]]]["objects"].append(
                    (kinds[one["category_id"]], float(one["score"]), one["bbox"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return entries


class CocoIds:
    """Ids of the pictures and classes of an instances file. Raises DatasetError for a file that is none."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        found, _ = read_coco_file(self.path, keep=False)
        self.names = {p.id: p.name for p in found.pictures}
        self.categories = dict(zip(found.classes, found.ids, strict=True))
        self._by_name: dict[str, Any] = {}
        for picture in found.pictures:
            for name in {picture.name, Path(picture.name).name}:
                self._by_name[name] = None if name in self._by_name and name != picture.name else picture.id

    def picture(self, source: str) -> int | str:
        """The id of a picture, by its path below the pictures' folder or, if that is unique, its name."""
        parts = Path(source).as_posix().split("/")
        for start in range(len(parts)):  # the longest end of the path that the file knows
            if (found := self._by_name.get("/".join(parts[start:]))) is not None:
                return found
        raise DatasetError(f"{source}: {self.path} names no such picture, or several; it has no id")

    def check(self, source: str, classes: set[str]) -> None:
        """DatasetError where the picture or one of the classes has no id."""
        self.picture(source)
        if unknown := sorted(classes - set(self.categories)):
            raise DatasetError(f"{source}: {self.path} has no category {unknown[0]!r}. Remedy: --classes, those it has")
