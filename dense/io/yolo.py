"""Boxes as YOLO has them: a text file a picture, "CLASS CENTRE_X CENTRE_Y WIDTH HEIGHT" in shares of the picture.

    ROOT/images/[SPLIT/]NAME.jpg    ROOT/labels/[SPLIT/]NAME.txt    ROOT/data.yaml or ROOT/classes.txt
"""
from __future__ import annotations

import json
import math
from pathlib import Path

from dense.errors import DatasetError, ImageError
from dense.io.atomic import write_text
from dense.io.boxes import Box, BoxFindings, BoxPicture, BoxSet, check_boxes, check_stems
from dense.io.images import image_size, list_images

CLASS_FILES = ("data.yaml", "dataset.yaml", "data.yml", "classes.txt", "obj.names", "labels/classes.txt")
_EXACT = 1e-15  # shares nearer than this are one: pixels of pictures up to 50,000 wide come back to ten decimals


def read_yolo(root: str | Path, images: str | Path | None = None) -> tuple[BoxSet, BoxFindings]:
    """The boxes of a folder, and what was found in it. images: the folder of pictures, by default ROOT/images, or ROOT
    itself where the labels are beside the pictures.

    Pictures without a text file have no objects. Lines with more numbers than five are taken for outlines, which this
    does not read. Raises DatasetError for a folder that is none of this form.
    """
    root = Path(root)
    labels = root / "labels" if (root / "labels").is_dir() else root
    images = Path(images) if images else root / "images" if (root / "images").is_dir() else root
    if not root.is_dir():
        raise DatasetError(f"{root}: the folder does not exist. Remedy: one with images/, labels/ and data.yaml")
    classes = _classes(root)
    findings = BoxFindings()
    pictures = []
    used: set[Path] = set()
    files = list_images(images, recursive=True)
    for number, path in enumerate(files, 1):
        name = path.relative_to(images)
        try:
            height, width = image_size(path)
        except ImageError as error:
            findings.add("unreadable picture", path, str(error).removeprefix(f"{path}: "))
            continue
        text = labels / name.with_suffix(".txt")
        used.add(text)
        boxes = _read_file(text, classes, width, height, findings) if text.is_file() else ()
        pictures.append(BoxPicture(name.as_posix(), width, height, tuple(boxes), number))
    for text in sorted(labels.rglob("*.txt")):
        if text not in used and text.name not in ("classes.txt", "train.txt", "val.txt", "test.txt"):
            findings.add("missing picture", text, f"no picture of this name in {images}")
    if not pictures:
        raise DatasetError(f"{images}: holds no pictures, whose sizes are needed. Remedy: name their folder")
    found = BoxSet(classes, tuple(pictures), tuple(range(1, len(classes) + 1)), str(root))
    check_stems(found.pictures, root)
    check_boxes(found, findings)
    return found, findings


def _classes(root: Path) -> tuple[str, ...]:
    path = next((root / name for name in CLASS_FILES if (root / name).is_file()), None)
    if path is None:
        raise DatasetError(f"{root}: no file names the classes. Remedy: data.yaml with 'names', or classes.txt with a "
                           "name a line")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}). Remedy: UTF-8 text") from None
    if path.suffix not in (".yaml", ".yml"):
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    import yaml

    try:
        names = yaml.safe_load(text)["names"]
        names = [names[i] for i in range(len(names))]  # a list, or a mapping from 0, 1 ...
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: has no 'names' that are a list, or a mapping from 0, 1 ... ({error}). Remedy: "
                           "names: [cat, dog]") from None
    return tuple(map(str, names))


def _read_file(path: Path, classes: tuple[str, ...], width: int, height: int, findings: BoxFindings) -> list[Box]:
    boxes = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        findings.add("malformed", path, f"cannot be read ({error})")
        return []
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts:
            continue
        where = f"{path}, line {number}"
        try:
            label, shares = float(parts[0]), [float(p) for p in parts[1:]]
        except ValueError:
            findings.add("malformed", where, f"{line[:60]!r} is not CLASS and four numbers")
            continue
        if len(shares) != 4 or label != int(label):
            what = "an outline or a box with a score" if len(shares) > 4 else "too few numbers"
            findings.add("malformed", where, f"{line[:60]!r} is not CLASS and four numbers ({what})")
        elif not all(math.isfinite(v) for v in shares):
            findings.add("box is no numbers", where, line[:60])
        elif not 0 <= label < len(classes):
            findings.add("unknown category", where, f"class {parts[0]}, there are {len(classes)}, counted from 0")
        else:
            boxes.append(Box(int(label), _to_pixels(shares, width, height)))
    return boxes


def _to_pixels(shares: list[float], width: int, height: int) -> tuple[float, float, float, float]:
    x, y, w, h = (share * side for share, side in zip(shares, (width, height, width, height), strict=True))
    return tuple(round(v, 10) for v in (x - w / 2, y - h / 2, w, h))


def yolo_line(label: int, xywh: tuple[float, ...], width: int, height: int) -> str:
    """A line of a box in pixels, with as few decimals, six or more, as bring the same box back."""
    x, y, w, h = xywh
    return " ".join([str(label), *map(_share, ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height))])


def _share(value: float) -> str:
    for digits in range(6, 17):
        text = f"{value:.{digits}f}"
        if abs(float(text) - value) < _EXACT:
            break
    return text


def write_yolo(found: BoxSet, root: str | Path) -> dict[str, int]:
    """Write labels/NAME.txt, classes.txt and data.yaml into a folder; what could not be kept, by kind and number.

    Crowds have no form there and are left out, as are boxes without a size or outside the picture; boxes partly outside
    keep their numbers. Pictures are not copied.
    """
    root = Path(root)
    check_stems(found.pictures, found.origin)
    lost = {"crowd": 0, "mask": 0}
    for picture in found.pictures:
        usable = picture.usable()
        lost["crowd"] += sum(b.crowd for b in usable)
        lost["mask"] += sum("segmentation" in b.extra for b in usable if not b.crowd)
        lines = [yolo_line(b.label, b.xywh, picture.width, picture.height) for b in usable if not b.crowd]
        path = root / "labels" / Path(picture.name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(f"{line}\n" for line in lines))
    write_text(root / "classes.txt", "".join(f"{name}\n" for name in found.classes))
    names = "".join(f"  {i}: {json.dumps(n, ensure_ascii=False)}\n" for i, n in enumerate(found.classes))
    write_text(root / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")
    return {kind: count for kind, count in lost.items() if count}
