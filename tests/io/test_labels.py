"""Class files and label pictures, as people have them."""
import json

import numpy as np
import pytest
from PIL import Image

from dense.errors import DatasetError, ImageError
from dense.io.classes import ClassList, find_class_file, read_classes
from dense.io.images import MaskFormError
from dense.io.labels import LabelValueError, label_png, read_labels

CLASSES = ClassList(("sky", "road", "car"), (0, 7, 11), ((70, 130, 180), (128, 64, 128), (0, 0, 142)),
                    (255, 9), ((0, 0, 0),), "classes.txt")
VALUES = np.array([[0, 7, 11], [9, 255, 7]], np.uint8)
INDICES = np.array([[0, 1, 2], [255, 255, 1]])


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return read_classes(path)


# class files

def test_ids_names_and_colours(tmp_path):
    found = write(tmp_path / "classes.txt", "// streets\n0 sky #4682b4\n\n7, road, #804080\n11\tparked car #00008E\n"
                                            "9 ignore #000000\n")
    assert found.names == ("sky", "road", "parked car") and found.ids == (0, 7, 11)
    assert found.colours == ((70, 130, 180), (128, 64, 128), (0, 0, 142))
    assert found.ignored == (9, 255) and found.ignored_colours == ((0, 0, 0),)
    assert found.origin == str(tmp_path / "classes.txt")


def test_names_alone(tmp_path):
    found = write(tmp_path / "classes.txt", "sky\nbig car\n")
    assert found.names == ("sky", "big car") and found.ids == (0, 1) and found.colours is None
    assert found.ignored == (255,)


def test_255_may_be_a_class(tmp_path):
    found = write(tmp_path / "classes.txt", "0 background\n255 subject\n")
    assert found.ids == (0, 255) and found.ignored == ()


@pytest.mark.parametrize("value", [
    ["sky", "road"], {"0": "sky", "1": "road"}, {"classes": [{"id": 0, "name": "sky"}, {"id": 1, "name": "road"}]},
    [{"id": 0, "name": "sky", "color": [1, 2, 3]}, {"id": 1, "name": "road", "colour": "#040506"}]])
def test_json(tmp_path, value):
    found = write(tmp_path / "classes.json", json.dumps(value))
    assert found.names == ("sky", "road") and found.ids == (0, 1)
    assert found.colours in (None, ((1, 2, 3), (4, 5, 6)))


@pytest.mark.parametrize(("text", "message"), [
    ("0 sky\nroad\n", "line 2: 'road' is no class"), ("0 sky\n0 road\n", "line 2: the id 0 is that of line 1"),
    ("0 sky\n1 sky\n", "the name sky is that of line 1"), ("0 sky #010203\n1 road\n", "road has no colour"),
    ("0 sky #010203\n1 road #010203\n", "the colour"), ("0 sky\n", "names 1 classes"), ("", "names 0 classes"),
    ("0 sky\n70000 road\n", "70000 is not within"), ("0 sky\n1 ignore\n", "names 1 classes")])
def test_bad_text(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message) as caught:
        write(tmp_path / "classes.txt", text)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [
    ("{", "no JSON"), ("3", "no list of classes"), ('[{"id": "x", "name": "sky"}]', "entry 0"),
    ('["sky", 3]', "entry 1"), ('[{"id": 0, "name": "sky", "colour": [1, 2]}]', "entry 0"), ('[{"id": 0}]', "entry 0")])
def test_bad_json(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        write(tmp_path / "classes.json", text)


def test_files_are_found_in_order(tmp_path):
    assert find_class_file(tmp_path) is None
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "classes.json").write_text("[]")
    assert find_class_file(tmp_path, tmp_path / "b").name == "classes.json"
    with pytest.raises(DatasetError, match="cannot be read"):
        read_classes(tmp_path / "none.txt")


# label pictures

def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    if mode:
        image = image.convert(mode)
    image.save(path, **options)
    return path


def test_values(tmp_path):
    found = read_labels(save(tmp_path / "a.png", VALUES), CLASSES)
    assert found.dtype == np.uint8 and np.array_equal(found, INDICES)
    assert read_labels(save(tmp_path / "a.png", VALUES), CLASSES, ignore_index=200)[1, 0] == 200


def test_sixteen_bits(tmp_path):
    classes = ClassList(tuple(f"c{i}" for i in range(400)), tuple(range(1000, 1400)))
    values = np.array([[1000, 1399], [255, 1256]], np.uint16)
    found = read_labels(save(tmp_path / "a.png", values), classes, ignore_index=65535)
    assert found.tolist() == [[0, 399], [65535, 256]] and found.dtype == np.uint16


def test_grey_stored_as_colour_is_values(tmp_path):
    assert np.array_equal(read_labels(save(tmp_path / "a.png", np.dstack([VALUES] * 3)), CLASSES), INDICES)
    opaque = np.dstack([VALUES] * 3 + [np.full_like(VALUES, 255)])
    assert np.array_equal(read_labels(save(tmp_path / "b.png", opaque), CLASSES), INDICES)


def test_palettes_are_indices_whatever_their_colours(tmp_path):
    image = Image.fromarray(VALUES)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(tmp_path / "p.png")
    assert np.array_equal(read_labels(tmp_path / "p.png", CLASSES), INDICES)


def test_one_bit_files_are_0_and_1(tmp_path):
    file = save(tmp_path / "a.png", np.array([[0, 255]], np.uint8), "1")
    assert read_labels(file, ClassList(("a", "b"), (0, 1))).tolist() == [[0, 1]]


def test_colours(tmp_path):
    table = dict(zip((0, 7, 11, 9), (*CLASSES.colours, (0, 0, 0)), strict=True))
    rgb = np.array([[table[v] for v in row] for row in VALUES[:, [0, 1, 2]].clip(max=11)], np.uint8)
    rgb[1, 1] = 0
    assert np.array_equal(read_labels(save(tmp_path / "c.png", rgb), CLASSES), INDICES)
    rgb[0, :2] = (1, 2, 3)
    with pytest.raises(LabelValueError, match=r"c.png: colours that are no class: #010203 \(2 pixels\)"):
        read_labels(save(tmp_path / "c.png", rgb), CLASSES)
    without = ClassList(CLASSES.names, CLASSES.ids, origin="my/classes.txt")
    with pytest.raises(MaskFormError, match=r"a colour mask, but my/classes\.txt gives no colours"):
        read_labels(tmp_path / "c.png", without)


def test_values_that_are_no_class_are_named_with_their_number(tmp_path):
    values = VALUES.copy()
    values[0, 0], values[1] = 3, 4
    with pytest.raises(LabelValueError) as caught:
        read_labels(save(tmp_path / "x.png", values), CLASSES)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'x.png'}: values that are no class: 4 (3 pixels), 3 (1 pixel); the classes "
                           "are 0 sky, 7 road, 11 car. Remedy:")
    assert "classes.txt" in text and caught.value.counts == {3: 1, 4: 3}


def test_masks_of_0_and_255(tmp_path):
    file = save(tmp_path / "m.png", np.array([[0, 255]], np.uint8))
    with pytest.raises(MaskFormError, match=r"0 and 255, but 255 means 'no label'.*id 255"):
        read_labels(file, ClassList(("ground", "subject"), (0, 1)))
    assert read_labels(file, ClassList(("ground", "subject"), (0, 255), ignored=())).tolist() == [[0, 1]]
    assert read_labels(file, CLASSES).tolist() == [[0, 255]]  # of three classes, one and no label


def test_lossy_and_transparent_labels_are_refused(tmp_path):
    with pytest.raises(MaskFormError, match="labels in JPEG"):
        read_labels(save(tmp_path / "a.jpg", np.zeros((9, 9), np.uint8)), CLASSES)
    with pytest.raises(MaskFormError, match="transparency"):
        read_labels(save(tmp_path / "b.png", np.zeros((9, 9, 4), np.uint8)), CLASSES)


def test_damaged_files(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 3, (60, 60), dtype=np.uint8))
    image.putpalette(bytes(768))
    image.save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(data[:len(data) // 2])
    with pytest.raises(ImageError, match=r"p\.png"):
        read_labels(tmp_path / "p.png", CLASSES)
    with pytest.raises(ImageError, match="does not exist"):
        read_labels(tmp_path / "none.png", CLASSES)
    with pytest.raises(ImageError, match="limit"):
        read_labels(save(tmp_path / "big.png", VALUES), CLASSES, max_pixels=3)


def test_written_labels_come_back_and_are_coloured(tmp_path):
    (tmp_path / "l.png").write_bytes(label_png(VALUES, [(9, 9, 9)] * 7 + [(1, 2, 3)]))
    assert np.array_equal(read_labels(tmp_path / "l.png", CLASSES), INDICES)
    assert np.asarray(Image.open(tmp_path / "l.png").convert("RGB"))[0, 1].tolist() == [1, 2, 3]
    many = ClassList(tuple(f"c{i}" for i in range(400)), tuple(range(400)), ignored=())
    values = np.array([[0, 399]], np.uint16)
    assert read_labels(label_png(values, ()), many, ignore_index=65535, name="x").tolist() == [[0, 399]]
