"""``SegmentResult``: labels, areas, masks and pictures of a result, and the inferencer that makes it."""
import io
import json

import numpy as np
import pytest
from PIL import Image

from dense.errors import ImageError
from dense.inference import SegmentResult
from dense.inference.segment_writer import mask_names, write_masks
from dense.io import read_image
from dense.io.classes import ClassList
from dense.io.labels import read_labels
from dense.io.rle import decode_rle
from dense.tasks import SemanticTask

TASK = SemanticTask(classes=("road", "parked car", "sky"), palette=((128, 64, 128), (0, 0, 142), (70, 130, 180)))


def result(labels, task=TASK):
    labels = np.asarray(labels, np.uint8)
    image = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    return SegmentResult(image, "street.jpg", labels=labels, task=task)


@pytest.fixture
def street():
    labels = np.full((60, 90), 2, np.uint8)
    labels[30:], labels[40:50, 10:25] = 0, 1
    return result(labels)


def test_areas_masks_and_rle_say_the_same(street):
    areas = {area.name: area for area in street.areas()}
    assert list(areas) == list(TASK.classes) and [a.index for a in areas.values()] == [0, 1, 2]
    assert areas["parked car"].pixels == 150 and areas["parked car"].share == 150 / 5400
    assert sum(a.share for a in areas.values()) == 1 and areas["sky"].pixels == 2700
    for name, mask in street.masks().items():
        assert mask.dtype == bool and mask.sum() == areas[name].pixels
        np.testing.assert_array_equal(mask, street.mask(name))
        np.testing.assert_array_equal(mask, street.mask(areas[name].index))
        for compress in (True, False):
            np.testing.assert_array_equal(decode_rle(street.coco_rle(compress)[name]), mask)


def test_one_class_and_pixels_without_a_class():
    one = result(np.zeros((5, 7)))
    assert one.present == [0] and list(one.masks()) == ["road"] and [a.share for a in one.areas()] == [1, 0, 0]
    labels = np.full((40, 50), 255)
    labels[:10] = 1
    partly = result(labels)
    assert partly.present == [1] and [a.pixels for a in partly.areas()] == [0, 500, 0]
    assert partly.areas()[1].share == 0.25
    np.testing.assert_array_equal(partly.overlay()[11:], partly.image[11:])  # row 10 is an outline
    assert (partly.colours()[10:] == 0).all() and (partly.colours()[:10] == (0, 0, 142)).all()
    nothing = result(np.full((40, 50), 255))
    assert nothing.present == [] and nothing.masks() == {} and nothing.to_dict()["segments"] == []
    np.testing.assert_array_equal(nothing.overlay(), nothing.image)
    assert nothing.overlay(legend=True).shape[1] == 50


def test_what_is_asked_of_no_class_is_an_error(street):
    with pytest.raises(ValueError, match="no class is called 'car'; the classes are road, parked car, sky"):
        street.mask("car")
    with pytest.raises(ValueError, match="0 to 2"):
        street.mask(3)
    with pytest.raises(ValueError, match="labels"):
        SegmentResult(street.image, "x", labels=street.labels[1:], task=TASK)


def test_overlays_mix_colour_and_picture(street):
    inner = np.s_[2:28, 2:88]  # of the sky, without outlines
    expected = 0.25 * street.image[inner] + 0.75 * np.array(TASK.palette[2])
    assert np.abs(street.overlay(0.75)[inner] - expected).max() <= 1
    assert street.overlay().shape == street.image.shape
    with_legend = street.overlay(legend=True)
    assert with_legend.shape[1] == 90 and len(with_legend) > 60
    np.testing.assert_array_equal(with_legend[:60], street.overlay())
    assert len(result(np.zeros((60, 90))).legend()) < len(result(np.zeros((60, 90))).legend(all_classes=True))
    for colour in TASK.palette:  # each class that occurs is named
        assert (street.legend() == colour).all(-1).any()
    with pytest.raises(ValueError, match="opacity"):
        street.overlay(2)


def test_saved_labels_come_back(street, tmp_path):
    path = street.save(tmp_path / "labels.png")
    with Image.open(path) as image:
        assert image.mode == "P" and image.getpalette()[:9] == [v for c in TASK.palette for v in c]
        np.testing.assert_array_equal(np.asarray(image), street.labels)
    np.testing.assert_array_equal(read_labels(path, ClassList(TASK.classes, (0, 1, 2))), street.labels)


def test_labels_of_many_classes_are_16_bit(tmp_path):
    task = SemanticTask(classes=tuple(f"c{i}" for i in range(300)), ignore_index=65535)
    labels = np.arange(300, dtype=np.uint16).reshape(15, 20)
    made = SegmentResult(np.zeros((15, 20, 3), np.uint8), "x", labels=labels, task=task)
    np.testing.assert_array_equal(np.asarray(Image.open(made.save(tmp_path / "a.png"))), labels)
    assert len(made.present) == 300 and made.overlay().shape == (15, 20, 3)


def test_overlays_and_colours_are_saved(street, tmp_path):
    np.testing.assert_array_equal(read_image(street.save(tmp_path / "c.png", "colours")), street.colours())
    saved = read_image(street.save(tmp_path / "o.png", "overlay", 0.3, False))
    np.testing.assert_array_equal(saved, street.overlay(0.3))
    assert Image.open(io.BytesIO(street.encode(".jpg", "overlay"))).size[0] == 90
    for suffix, kind in ((".jpg", "labels"), (".webp", "labels"), (".jpg", "colours")):
        with pytest.raises(ImageError, match=r"\.png"):
            street.encode(suffix, kind)
    with pytest.raises(ValueError, match="kind must be one of"):
        street.encode(".png", "masks")


def test_plain_values(street):
    values = json.loads(json.dumps(street.to_dict()))
    assert (values["source"], values["width"], values["height"]) == ("street.jpg", 90, 60)
    car = next(s for s in values["segments"] if s["class"] == "parked car")
    assert (car["index"], car["pixels"], car["box"], car["colour"]) == (1, 150, [10, 40, 15, 10], [0, 0, 142])
    np.testing.assert_array_equal(decode_rle(car["rle"]), street.mask("parked car"))


def test_panels_and_small_ones(street):
    assert [p.shape for p in street.panels()] == [(60, 90, 3)] * 3
    assert street.plot(30).shape == (30, 3 * 45 + 8, 3)
    small = street.small(30)
    assert small.labels.shape == (30, 45) and set(np.unique(small.labels)) == {0, 1, 2}
    assert street.small(100) is street


def test_masks_have_names_that_file_systems_take(street, tmp_path):
    assert mask_names(["a/b", "parked car", "..", "Sky", "sky"]) == ["a_b", "parked_car", "class2", "Sky-3", "sky-4"]
    write_masks(street, tmp_path / "m")
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["parked_car.png", "road.png", "sky.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "m/sky.png")), 255 * (street.labels == 2))
    write_masks(result(np.zeros((60, 90))), tmp_path / "m")
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["road.png"]


@pytest.mark.parametrize("mode", SemanticTask.modes)
def test_the_inferencer_finds_the_colours_in_every_mode(tmp_path, mode):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="bundles need the extra 'deploy'")
    from toy_pictures import semantic_bundle, write_colours

    from dense import Inferencer

    paths = write_colours(tmp_path, 3)
    model = Inferencer(semantic_bundle(tmp_path / "b"), backend="onnxruntime", threads=1, mode=mode, batch=2)
    for i, found in enumerate(model(paths)):
        assert type(found) is SegmentResult and found.labels.dtype == np.uint8 and found.labels.shape == (64, 96)
        assert found.present == [0, 1] + [2] * (i > 0)
        assert abs(found.areas()[2].pixels - 400 * i) <= 60 and (found.labels[:15, 60:] == 1).all()
