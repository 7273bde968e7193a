"""Boxes as Pascal VOC has them: an XML file a picture, corners in pixels.

    ROOT/Annotations/NAME.xml    ROOT/JPEGImages/NAME.jpg

VOC counts pixels from 1 and names the last one inside (origin 1); many programs write corners counted from 0 (origin
0). XML is read without document types and entities: a file that has some is refused.
"""
from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from dense.errors import DatasetError
from dense.io.atomic import write_text
from dense.io.boxes import Box, BoxFindings, BoxPicture, BoxSet, check_boxes, check_stems, relative_name

LARGEST = 32 * 2**20  # bytes of one file


def read_voc(root: str | Path, classes: tuple[str, ...] | None = None,
             origin: int = 1) -> tuple[BoxSet, BoxFindings]:
    """The boxes of a folder of XML files (ROOT/Annotations, or ROOT itself), and what was found in it.

    classes: names in their order; None: those that occur, by the alphabet. origin: 1 or 0, see above.
    Raises DatasetError for a folder without such files.
    """
    root = Path(root)
    folder = root / "Annotations" if (root / "Annotations").is_dir() else root
    files = sorted(folder.rglob("*.xml")) if folder.is_dir() else []
    if not files:
        raise DatasetError(f"{folder}: holds no .xml files. Remedy: the folder of VOC's annotations")
    findings = BoxFindings()
    read = [(path, tree) for path in files if (tree := _parse(path, findings)) is not None]
    if classes is None:
        classes = tuple(sorted({_text(o, "name") for _, t in read for o in t.iter("object")} - {""}))
    pictures = []
    names: dict[str, Path] = {}
    for number, (path, tree) in enumerate(read, 1):
        picture = _picture(path, folder, tree, classes, origin, number, findings)
        if picture is None:
            continue
        if picture.name in names:
            raise DatasetError(f"{path}: is about {picture.name}, as is {names[picture.name]}. Remedy: one file a "
                               "picture")
        names[picture.name] = path
        pictures.append(picture)
    found = BoxSet(classes, tuple(pictures), tuple(range(1, len(classes) + 1)), str(root))
    check_boxes(found, findings)
    return found, findings


def parse_xml(path: str | Path) -> ET.Element:
    """The root element. DatasetError for what is no XML, is too large, or declares a document type (entities)."""
    path = Path(path)
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()

    def refuse(*_) -> None:
        raise DatasetError(f"{path}: declares a document type, which is not read (entities can be harmful). Remedy: "
                           "remove the <!DOCTYPE ...>")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda name, attributes: builder.start(name, attributes)
    parser.EndElementHandler = lambda name: builder.end(name)
    parser.CharacterDataHandler = lambda data: builder.data(data)
    try:
        if path.stat().st_size > LARGEST:
            raise DatasetError(f"{path}: is larger than {LARGEST >> 20} MB. Remedy: one file a picture")
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (expat.ExpatError, AssertionError, ValueError, LookupError) as error:
        raise DatasetError(f"{path}: is no XML ({error}). Remedy: restore it from its source") from None


def _parse(path: Path, findings: BoxFindings) -> ET.Element | None:
    try:
        return parse_xml(path)
    except DatasetError as error:
        findings.add("malformed", path, str(error).removeprefix(f"{path}: "))
        return None


def _text(element: ET.Element, key: str) -> str:
    return (element.findtext(key) or "").strip()


def _number(element: ET.Element | None, key: str) -> float | None:
    try:
        value = float(_text(element, key)) if element is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _picture(path: Path, folder: Path, tree: ET.Element, classes: tuple[str, ...], origin: int, number: int,
             findings: BoxFindings) -> BoxPicture | None:
    size = tree.find("size")
    width, height = _number(size, "width"), _number(size, "height")
    if not width or not height or width != int(width) or height != int(height) or min(width, height) < 1:
        findings.add("malformed", path, "has no <size> with width and height in whole pixels")
        return None
    below = path.relative_to(folder).parent
    name = relative_name((below / (_text(tree, "filename") or f"{path.stem}.jpg")).as_posix(), path)
    boxes = []
    for index, one in enumerate(tree.iter("object"), 1):
        where = f"{path}, object {index}"
        corners = [_number(one.find("bndbox"), key) for key in ("xmin", "ymin", "xmax", "ymax")]
        if None in corners:
            findings.add("box is no numbers", where, f"of class {_text(one, 'name')!r}")
        elif _text(one, "name") not in classes:
            findings.add("unknown category", where, repr(_text(one, "name")))
        else:
            left, top, right, bottom = corners
            xywh = (left - origin, top - origin, right - left + origin, bottom - top + origin)
            extra = {"difficult": 1} if _text(one, "difficult") == "1" and _text(one, "crowd") != "1" else {}
            boxes.append(Box(classes.index(_text(one, "name")), tuple(round(v, 10) for v in xywh),
                             _text(one, "crowd") == "1", extra=extra))
    return BoxPicture(name, int(width), int(height), tuple(boxes), number)


def write_voc(found: BoxSet, root: str | Path, origin: int = 1) -> dict[str, int]:
    """Write Annotations/NAME.xml and classes.txt into a folder; what could not be kept, by kind and number.

    Crowds are 'difficult' objects, with an element <crowd> beside. Boxes without a size or outside the picture are left
    out. Pictures are not copied.
    """
    root = Path(root)
    check_stems(found.pictures, found.origin)
    masks = 0
    for picture in found.pictures:
        masks += sum("segmentation" in b.extra for b in picture.usable())
        path = root / "Annotations" / Path(picture.name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        tree = _tree(picture, found.classes, origin)
        ET.indent(tree)
        write_text(path, ET.tostring(tree, encoding="unicode") + "\n")
    write_text(root / "classes.txt", "".join(f"{name}\n" for name in found.classes))
    return {"mask": masks} if masks else {}


def _tree(picture: BoxPicture, classes: tuple[str, ...], origin: int) -> ET.Element:
    tree = ET.Element("annotation")
    _add(tree, "filename", Path(picture.name).name)
    size = ET.SubElement(tree, "size")
    for key, value in (("width", picture.width), ("height", picture.height), ("depth", 3)):
        _add(size, key, value)
    _add(tree, "segmented", 0)
    for box in picture.usable():
        one = ET.SubElement(tree, "object")
        _add(one, "name", classes[box.label])
        _add(one, "truncated", 0)
        _add(one, "difficult", int(box.crowd or bool(box.extra.get("difficult"))))
        if box.crowd:
            _add(one, "crowd", 1)
        x, y, w, h = box.xywh
        corners = ET.SubElement(one, "bndbox")
        for key, value in (("xmin", x + origin), ("ymin", y + origin), ("xmax", x + w), ("ymax", y + h)):
            value = round(value, 10)
            _add(corners, key, int(value) if value == int(value) else value)
    return tree


def _add(parent: ET.Element, key: str, value: object) -> None:
    ET.SubElement(parent, key).text = str(value)
