"""COCO's annotations: layouts, and every kind of faulty entry named and counted."""
import json

import numpy as np
import pytest
from toy_coco import make_coco, save_annotations

from dense.errors import DatasetError
from dense.io.coco import find_coco, read_coco


@pytest.fixture
def root(tmp_path):
    make_coco(tmp_path, "val", 4)
    return tmp_path


def reread(root, change):
    content = json.loads((root / "annotations/instances_val.json").read_text())
    change(content)
    save_annotations(root, "val", content)
    return read_coco(*find_coco(root, "val"))


def test_boxes_and_classes(root):
    found = read_coco(*find_coco(root, "val"))
    assert found.classes == ("light", "red") and found.category_ids == (3, 7) and not found.describe_problems()
    content = json.loads((root / "annotations/instances_val.json").read_text())
    assert [p.id for p in found.pictures] == [0, 1, 2, 3] and found.pictures[0].shape == (60, 80)
    first = content["annotations"][0]
    x, y, width, height = first["bbox"]
    objects = found.pictures[0].objects
    assert objects.boxes.tolist() == [[x, y, x + width, y + height]] and objects.labels.tolist() == [1]
    assert objects.areas.tolist() == [width * height] and not objects.crowd.any()
    turned = read_coco(*find_coco(root, "val"), classes=("red", "light"))
    assert turned.pictures[0].objects.labels.tolist() == [0]
    only = read_coco(*find_coco(root, "val"), classes=("light",))
    assert len(only.pictures) == 4 and len(only.pictures[0].objects) == 0
    assert not only.describe_problems()


@pytest.mark.parametrize(("box", "words"), [
    ([5, 5, 0, 10], "size not positive"), ([5, 5, 10, -3], "size not positive"),
    ([90, 5, 10, 10], "outside the picture"), ([-30, 5, 20, 10], "outside the picture"),
    ([5, 5, float("nan"), 4], "box is no numbers"), ([5, 5, 4], "box is no numbers"), (None, "box is no numbers")])
def test_boxes_that_are_left_out(root, box, words):
    found = reread(root, lambda c: c["annotations"][0].update(bbox=box))
    assert len(found.pictures[0].objects) == 0
    (line,) = found.describe_problems()
    assert line.startswith(f"{words}: 1 (annotation 1") and "000.png" in line and "left out. Remedy: " in line


def test_boxes_that_reach_out_are_cut(root):
    found = reread(root, lambda c: c["annotations"][0].update(bbox=[70, -5, 40, 20]))
    assert found.pictures[0].objects.boxes.tolist() == [[70, 0, 80, 15]]
    assert [f.kind for f in found.findings] == ["partly outside the picture"]


def test_other_faults_are_named_and_the_rest_is_read(root):
    def change(content):
        content["annotations"].append(dict(content["annotations"][0]))
        content["annotations"].append({"id": 90, "image_id": 99, "category_id": 3, "bbox": [0, 0, 5, 5]})
        content["annotations"].append({"id": 91, "image_id": 0, "category_id": 99, "bbox": [0, 0, 5, 5]})
        content["annotations"].append({"id": 92, "image_id": 2, "category_id": 3, "bbox": [0, 0, 9, 5], "iscrowd": 1})
        content["images"].append({"id": 50, "file_name": "gone.png", "height": 5, "width": 5})
        content["images"].append(dict(content["images"][0], file_name="001.png"))

    found = reread(root, change)
    assert len(found.pictures) == 4 and len(found.pictures[0].objects) == 2  # the annotation of the same id as well
    assert found.pictures[2].objects.crowd.tolist() == [False, True]
    assert found.pictures[2].objects.areas.tolist()[1] == 45
    assert {kind: [str(f) for f in items] for kind, items in found.findings.by_kind().items()} == {
        "missing picture": [str(root / "val/gone.png")],
        "duplicate picture id": ["001.png: 000.png has the id 0 already"],
        "unknown category": ["annotation 91: of 000.png: no category has the id 99"],
        "unknown picture": ["annotation 90: no picture has the id 99"],
        "duplicate annotation id": ["annotation 1: of 000.png"],
        "duplicate box": ["annotation 1 of 000.png, red at {},{},{},{}".format(*boxes(root)[0])],
        "crowd": ["annotation 92 of 002.png, light at 0,0,9,5"],
        "picture without objects": ["gone.png"]}
    assert found.findings.count("error") == 4


def boxes(root):
    return [a["bbox"] for a in json.loads((root / "annotations/instances_val.json").read_text())["annotations"]]


def test_files_that_are_no_annotations(root):
    path = root / "annotations/instances_val.json"
    with pytest.raises(DatasetError, match="no category cow; it has light, red"):
        read_coco(*find_coco(root, "val"), classes=("light", "cow"))
    for text, words in (("{", "JSON"), ("[]", "images, annotations and categories"),
                        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "has no 'file_name'")):
        path.write_text(text)
        with pytest.raises(DatasetError, match=words):
            read_coco(path, root / "val")


def test_layouts(tmp_path):
    make_coco(tmp_path, "val2017", 1)
    assert find_coco(tmp_path, "val") == find_coco(tmp_path, "val2017")
    with pytest.raises(DatasetError, match=r"no annotations of the split 'test'\. Looked for annotations/instances_t"):
        find_coco(tmp_path, "test")
    with pytest.raises(DatasetError, match="no such folder"):
        find_coco(tmp_path / "x", "val")
    flat = tmp_path / "flat"
    (flat / "images").mkdir(parents=True)
    (flat / "all.json").write_text("{}")
    assert find_coco(flat, None) == (flat / "all.json", flat / "images")


def test_numbers_are_as_documented(root):
    objects = read_coco(*find_coco(root, "val")).pictures[1].objects
    assert len(objects) == 2 and objects.boxes.dtype == np.float32 and objects.labels.dtype == np.int64
