"""Boxes of COCO, YOLO and VOC: what is wrong is named and counted, what is right comes back as it was."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.errors import DatasetError
from dense.io import write_image
from dense.io.boxes import KINDS, Box, BoxFindings, BoxPicture, BoxSet, check_pictures
from dense.io.coco_file import coco_dict, read_coco_file, write_coco_file
from dense.io.voc import parse_xml, read_voc, write_voc
from dense.io.yolo import read_yolo, write_yolo

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("cat", "traffic light", "größer")


def make_set(*pictures: BoxPicture) -> BoxSet:
    return BoxSet(CLASSES, pictures, (3, 1, 90), "made here")


def plain(found: BoxSet) -> dict:
    """What must survive a conversion: name -> size and (class, box, crowd) in order."""
    return {p.name: (p.width, p.height, [(found.classes[b.label], b.xywh, b.crowd) for b in p.boxes])
            for p in found.pictures}


def write_pictures(found: BoxSet, folder: Path) -> None:
    for picture in found.pictures:
        (folder / picture.name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / picture.name, np.zeros((picture.height, picture.width, 3), np.uint8))


# decimals as files have them, in pictures of awkward sizes
decimals = st.integers(0, 30_000).map(lambda v: v / 100)


@st.composite
def sets(draw, crowds: bool = True) -> BoxSet:
    pictures = []
    for number in range(draw(st.integers(1, 3))):
        width, height = draw(st.integers(7, 700)), draw(st.integers(7, 700))
        boxes = []
        for _ in range(draw(st.integers(0, 4))):
            x, y, w, h = (draw(decimals) for _ in range(4))
            xywh = (x % width, y % height, w + 0.01, h + 0.01)
            xywh = tuple(round(v, 2) for v in xywh)
            boxes.append(Box(draw(st.integers(0, 2)), xywh, crowds and draw(st.booleans())))
        pictures.append(BoxPicture(f"part/{number}.png", width, height, tuple(boxes)))
    return make_set(*pictures)


@settings(max_examples=25, deadline=None)
@given(found=sets(crowds=False))
def test_yolo_and_back(tmp_path_factory, found):
    root = tmp_path_factory.mktemp("yolo")
    write_pictures(found, root / "images")
    assert write_yolo(found, root) == {}
    again, _ = read_yolo(root)
    assert again.classes == CLASSES and plain(again) == plain(found)
    texts = {p: p.read_text() for p in root.rglob("*.txt")}
    write_yolo(again, root)
    assert {p: p.read_text() for p in root.rglob("*.txt")} == texts


@settings(max_examples=25, deadline=None)
@given(found=sets(), origin=st.sampled_from((0, 1)))
def test_voc_and_back(tmp_path_factory, found, origin):
    root = tmp_path_factory.mktemp("voc")
    write_voc(found, root, origin)
    again, _ = read_voc(root, CLASSES, origin)
    assert plain(again) == plain(found)


@settings(max_examples=25, deadline=None)
@given(found=sets())
def test_coco_and_back(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("coco") / "a.json"
    write_coco_file(found, path)
    again, _ = read_coco_file(path)
    assert (again.classes, again.ids) == (CLASSES, (3, 1, 90)) and plain(again) == plain(found)
    content = path.read_bytes()
    write_coco_file(again, path)
    assert path.read_bytes() == content


def test_known_numbers_of_the_forms(tmp_path):
    found = make_set(BoxPicture("a.jpg", 100, 50, (Box(1, (10, 20, 30, 10)),)))
    write_yolo(found, tmp_path)
    assert (tmp_path / "labels/a.txt").read_text() == "1 0.250000 0.500000 0.300000 0.200000\n"
    assert "  1: \"traffic light\"\n" in (tmp_path / "data.yaml").read_text()
    write_voc(found, tmp_path)  # the first pixel is 1, the last one is inside
    corners = {e.tag: e.text for e in parse_xml(tmp_path / "Annotations/a.xml").find("object/bndbox")}
    assert corners == {"xmin": "11", "ymin": "21", "xmax": "40", "ymax": "30"}
    (note,) = coco_dict(found)["annotations"]
    assert note == {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 10], "area": 300, "iscrowd": 0}


def test_everything_of_coco_is_kept(tmp_path):
    values = json.loads((ROOT / "data/detection/annotations/instances_val.json").read_text())
    path = tmp_path / "a.json"
    write_coco_file(read_coco_file(ROOT / "data/detection/annotations/instances_val.json")[0], path)
    assert json.loads(path.read_text()) == values


def coco(**changes) -> dict:
    return {"images": [{"id": 0, "file_name": "a.png", "width": 40, "height": 30},
                       {"id": 7, "file_name": "b.png", "width": 40, "height": 30}],
            "annotations": [{"id": 1, "image_id": 0, "category_id": 5, "bbox": [1, 2, 3, 4]}],
            "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}]} | changes


def read(tmp_path, values):
    path = tmp_path / "a.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return read_coco_file(path)


def note(**changes) -> dict:
    return {"id": 1, "image_id": 0, "category_id": 5, "bbox": [1, 2, 3, 4]} | changes


@pytest.mark.parametrize(("notes", "kind", "left"), [
    ([note(bbox=[1, 2, 0, 4])], "size not positive", 0), ([note(bbox=[1, 2, -3, 4])], "size not positive", 0),
    ([note(bbox=[40, 2, 3, 4])], "outside the picture", 0), ([note(bbox=[-9, 2, 9, 4])], "outside the picture", 0),
    ([note(bbox=[30, 2, 20, 4])], "partly outside the picture", 1), ([note(bbox=[1, 2, 3])], "box is no numbers", 0),
    ([note(bbox=[1, 2, 3, "4"])], "box is no numbers", 0), ([note(bbox=[1, 2, 3, float("inf")])],
                                                           "box is no numbers", 0),
    ([note(category_id=9)], "unknown category", 0), ([note(image_id=9)], "unknown picture", 0),
    ([note(image_id=[0])], "unknown picture", 0), ([note(), note(bbox=[0, 0, 9, 9])], "duplicate annotation id", 2),
    ([note(), note(id=2)], "duplicate box", 2), ([3], "malformed", 0), ([note(iscrowd=1)], "crowd", 1)])
def test_faulty_annotations_are_named_counted_and_handled(tmp_path, notes, kind, left):
    found, findings = read(tmp_path, coco(annotations=notes))
    assert len(findings.by_kind()[kind]) == 1
    level, handled, remedy = KINDS[kind]
    assert [f.level for f in findings if f.kind == kind] == [level]
    (line,) = [ln for ln in findings.lines(("error", "warning", "note")) if ln.startswith(f"{kind}: 1 (")]
    assert handled in line and line.endswith(remedy)
    assert sum(len(p.usable()) for p in found.pictures) == left == len(coco_dict(found)["annotations"])


def test_pictures_without_objects_and_rounding_are_no_faults(tmp_path):
    found, findings = read(tmp_path, coco(annotations=[note(bbox=[-0.4, 0, 40.9, 5])]))
    assert [str(f) for f in findings] == ["b.png"] and findings.by_kind().keys() == {"picture without objects"}
    assert found.pictures[0].clipped(found.pictures[0].boxes[0]) == (0, 0, 40, 5)


@pytest.mark.parametrize(("values", "words"), [
    ("{", "is no JSON"), ("[[[" * 9000, "is no JSON"), ([{"image_id": 1, "score": 0.5}], "of a detector's results"),
    ({"images": []}, "has no list 'annotations'"), (coco(categories=[]), "names no categories"),
    (coco(categories=[{"id": 5, "name": "cat"}, {"id": 5, "name": "dog"}]), "two categories have the id 5"),
    (coco(categories=[{"id": 5, "name": "cat"}, {"id": 6, "name": "cat"}]), "two categories have the name 'cat'"),
    (coco(images=[{"id": 0, "file_name": "a.png"}]), "has no 'width'"),
    (coco(images=[{"id": 0, "file_name": "a.png", "width": 0, "height": 3}]), "no width or height"),
    (coco(images=[{"id": 0, "file_name": "../a.png", "width": 9, "height": 3}]), "leads out of the folder"),
    (coco(images=[{"id": 0, "file_name": "/etc/a.png", "width": 9, "height": 3}]), "leads out of the folder")])
def test_files_that_cannot_be_read(tmp_path, values, words):
    with pytest.raises(DatasetError, match=words):
        read(tmp_path, values)


def test_the_files_of_the_pictures_are_looked_at(tmp_path):
    found, _ = read(tmp_path, coco(images=[{"id": i, "file_name": f"{n}.png", "width": 40, "height": 30}
                                           for i, n in enumerate("abc")]))
    folder = tmp_path / "images"
    folder.mkdir()
    for name, shape in (("a", (30, 40, 3)), ("b", (40, 30, 3)), ("new", (5, 5, 3))):
        write_image(folder / f"{name}.png", np.zeros(shape, np.uint8))
    findings = BoxFindings()
    check_pictures(found, folder, findings)
    assert [(f.kind, Path(f.where).name) for f in findings] == [
        ("size differs from the file", "b.png"), ("missing picture", "c.png"), ("file without entry", "new.png")]
    (folder / "c.png").write_bytes(b"<html>")
    findings = BoxFindings()
    check_pictures(found, folder, findings)
    assert findings.by_kind().keys() == {"size differs from the file", "unreadable picture", "file without entry"}


def test_faulty_lines_of_yolo_are_named(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    write_image(tmp_path / "images/a.png", np.zeros((30, 40, 3), np.uint8))
    (tmp_path / "data.yaml").write_text("names: {0: cat, 1: dog}\n")
    (tmp_path / "labels/a.txt").write_text("0 .5 .5 .2 .2\n\n2 .5 .5 .2 .2\n0 .5 .5 .2\n1 .5 .5 nan .2\nx y\n"
                                           "1 .1 .1 .2 .2 .3 .3\n1 .5 .5 0 .2\n1 5 .5 .1 .2\n")
    (tmp_path / "labels/gone.txt").write_text("0 .5 .5 .2 .2\n")
    found, findings = read_yolo(tmp_path)
    assert found.classes == ("cat", "dog") and [b.xywh for b in found.pictures[0].usable()] == [(16, 12, 8, 6)]
    counts = {kind: len(items) for kind, items in findings.by_kind().items()}
    assert counts == {"unknown category": 1, "malformed": 3, "box is no numbers": 1, "size not positive": 1,
                      "outside the picture": 1, "missing picture": 1}
    assert any("a.txt, line 3: class 2, there are 2, counted from 0" in str(f) for f in findings)
    for text, words in (("names: 3", "no 'names'"), ("names: [", "no 'names'"), ("nc: 3", "no 'names'")):
        (tmp_path / "data.yaml").write_text(text)
        with pytest.raises(DatasetError, match=words):
            read_yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(DatasetError, match="no file names the classes"):
        read_yolo(tmp_path)


def test_yaml_runs_nothing(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((3, 3, 3), np.uint8))
    (tmp_path / "data.yaml").write_text("names: !!python/object/apply:os.system ['touch ran']\n")
    with pytest.raises(DatasetError, match="names"):
        read_yolo(tmp_path)


def voc(body: str, size: str = "<size><width>40</width><height>30</height></size>") -> str:
    return f"<annotation><filename>a.png</filename>{size}{body}</annotation>"


def one(name="cat", corners=(1, 1, 10, 10), more="") -> str:
    names = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, corners, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{box}</bndbox></object>"


def test_faulty_objects_of_voc_are_named(tmp_path):
    (tmp_path / "a.xml").write_text(voc(
        one() + one("cow") + one(corners=(5, 5, 3, 9)) + one(corners=("x", 1, 2, 3)) + one(corners=(60, 1, 70, 9))
        + one(more="<difficult>1</difficult>", corners=(2, 2, 9, 9)) + "<object><name>cat</name></object>"))
    (tmp_path / "b.xml").write_text("<annotation>")
    (tmp_path / "c.xml").write_text(voc(one(), ""))
    found, findings = read_voc(tmp_path, ("cat",))
    assert [b.xywh for b in found.pictures[0].usable()] == [(0, 0, 10, 10), (1, 1, 8, 8)]
    assert {kind: len(items) for kind, items in findings.by_kind().items()} == {
        "unknown category": 1, "size not positive": 1, "box is no numbers": 2, "outside the picture": 1,
        "difficult": 1, "malformed": 2}
    assert read_voc(tmp_path)[0].classes == ("cat", "cow")
    (tmp_path / "d.xml").write_text(voc(one()))
    with pytest.raises(DatasetError, match=r"is about a\.png, as is"):
        read_voc(tmp_path)


@pytest.mark.parametrize("head", [
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>', '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">]>',
    '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd">'])
def test_xml_with_entities_is_refused(tmp_path, head):
    for encoding in ("utf-8", "utf-16"):
        path = tmp_path / "a.xml"
        path.write_text(f"<?xml version='1.0' encoding='{encoding}'?>{head}<annotation>{'&x;' * ('x ' in head)}"
                        "</annotation>", encoding=encoding)
        with pytest.raises(DatasetError, match="declares a document type"):
            parse_xml(path)
    path.write_text("<a/>")
    assert parse_xml(path).tag == "a"


def test_two_pictures_of_one_file_of_labels_are_told(tmp_path):
    found = make_set(BoxPicture("a.jpg", 9, 9), BoxPicture("A.png", 9, 9))
    for write in (write_yolo, write_voc):
        with pytest.raises(DatasetError, match=r"a\.jpg and A\.png would share"):
            write(found, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def convert(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools/data"))
    sys.modules.pop("convert_detection", None)
    import convert_detection

    return lambda *arguments: convert_detection.main([str(a) for a in arguments])


def test_the_tool_checks_and_converts_all_ways(convert, tmp_path, capsys):
    source, images = ROOT / "data/detection/annotations/instances_val.json", ROOT / "data/detection/val"
    assert convert(source, "--images", images) == 0
    assert "16 pictures, 60 boxes, 8 classes\n0 errors, 0 warnings" in capsys.readouterr().out
    assert convert(source, "--to", "voc", "-o", tmp_path / "voc") == 0
    assert "60 boxes written" in capsys.readouterr().out
    order = tmp_path / "voc/classes.txt"
    assert convert(tmp_path / "voc", "--to", "yolo", "-o", tmp_path / "yolo", "--classes", order) == 0
    assert convert(tmp_path / "yolo", "--images", images, "--to", "coco", "-o", tmp_path / "a.json") == 0
    first, last = (plain(read_coco_file(p)[0]) for p in (source, tmp_path / "a.json"))
    assert first == last
    capsys.readouterr()
    assert convert(source, "--to", "yolo", "-o", tmp_path / "yolo") == 2
    assert "holds labels already. Remedy: --overwrite" in capsys.readouterr().err
    assert convert(source, "--to", "yolo", "-o", tmp_path / "yolo", "--overwrite") == 0


def test_the_tool_counts_what_is_wrong_and_what_is_lost(convert, tmp_path, capsys):
    (tmp_path / "a.json").write_text(json.dumps(coco(annotations=[note(), note(id=2, iscrowd=1), note(id=3, bbox=[
        1, 1, 0, 5])])))
    options = "--to", "yolo", "-o", tmp_path / "out", "--json", tmp_path / "found.json"
    assert convert(tmp_path / "a.json", *options) == 1
    out = capsys.readouterr().out
    assert "error: size not positive: 1. Left out. Remedy: remove the box, or correct it\n    annotation 3" in out
    assert "1 boxes written" in out and "1 crowds not kept" in out
    assert json.loads((tmp_path / "found.json").read_text())["counts"] == {
        "size not positive": 1, "crowd": 1, "picture without objects": 1}
    for arguments, words in (([tmp_path / "no"], "is not there"), ([tmp_path / "out/labels/a.txt"], "neither"),
                             ([tmp_path / "a.json", "--to", "coco", "-o", tmp_path / "x"], "one .json file"),
                             ([tmp_path / "a.json", "--images", tmp_path / "no"], "does not exist")):
        assert convert(*arguments) == 2
        assert words in capsys.readouterr().err
