"""Detection data: samples, what transforms do to boxes, the same draws every time."""
import json

import numpy as np
import pytest

pytest.importorskip("mmdet", reason="samples of detection need the extra 'det'")

from toy_coco import make_coco, save_annotations

from dense.datasets.detection import DetectionDataset
from dense.datasets.transforms import (
    LoadDetection,
    PackDetection,
    RandomCropDetection,
    RandomFlipDetection,
    ResizeDetection,
)
from dense.errors import ConfigError, DatasetError, ImageError
from dense.io import write_image
from dense.tasks import DetectionTask

TASK = DetectionTask((64, 96), longest=None, classes=("red", "light"))


@pytest.fixture
def root(tmp_path):
    make_coco(tmp_path, "val", 6)
    return tmp_path


def colour_inside(sample):
    """Mean colour in each box, to see whether it is on its object."""
    image, found = sample["inputs"].float(), sample["data_samples"].gt_instances
    out = []
    for left, top, right, bottom in found.bboxes.tolist():
        part = image[:, round(top + 1):max(round(top) + 2, round(bottom - 1)),
                     round(left + 1):max(round(left) + 2, round(right - 1))]
        out.append(part.mean((1, 2)).tolist())
    return out, found.labels.tolist()


def check(sample):
    colours, labels = colour_inside(sample)
    for (red, green, _), label in zip(colours, labels, strict=True):
        assert red > 150 and (green > 150) == (label == 1), (colours, labels)
    return len(labels)


@pytest.mark.parametrize("transforms", [
    [], [ResizeDetection()], [ResizeDetection(mode="global")], [RandomFlipDetection(1.0)],
    [RandomCropDetection(1.0, (60, 90), (30, 50))], [ResizeDetection((48, 100), 200)],
    [RandomFlipDetection(0.5), RandomCropDetection(0.5, (60, 90), (30, 50)), ResizeDetection((48, 100), 200)]])
def test_boxes_stay_on_their_objects(root, transforms):
    dataset = DetectionDataset(root, "val", [LoadDetection(), *transforms, PackDetection()], TASK)
    seen = sum(check(dataset[draw]) for draw in range(24))
    assert seen >= 24
    again = DetectionDataset(root, "val", [LoadDetection(), *transforms, PackDetection()], TASK)
    assert all((dataset[d]["inputs"] == again[d]["inputs"]).all() for d in (3, 11, 19))


def test_samples_say_how_they_were_made(root):
    dataset = DetectionDataset(root, "val", [LoadDetection(), ResizeDetection(), PackDetection(keep_truth=True)], TASK)
    sample = dataset[1]["data_samples"]
    assert sample.ori_shape == (60, 80) and sample.img_shape == (64, 85) and sample.name == "001"
    assert np.array_equal(sample.truth.boxes, dataset.pairs[1].objects.boxes)
    assert np.allclose(sample.gt_instances.bboxes.numpy() / [85, 64, 85, 64], sample.truth.boxes / [80, 60, 80, 60])
    assert dataset.metainfo["classes"] == ("red", "light")


def test_crowds_are_not_trained_on_and_empty_pictures_only_where_asked_for(root, caplog):
    content = json.loads((root / "annotations/instances_val.json").read_text())
    content["annotations"][0]["iscrowd"] = 1  # the only one of picture 0
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 2]
    content["annotations"][1]["bbox"] = [0, 0, 0, 5]
    save_annotations(root, "val", content)
    every = DetectionDataset(root, "val", [LoadDetection(), PackDetection()], TASK)
    assert "size not positive: 1 (annotation 2 of 001.png, light at 0,0,0,5): left out" in caplog.text
    assert len(every) == 6 and len(every[0]["data_samples"].gt_instances.bboxes) == 0
    some = DetectionDataset(root, "val", [LoadDetection(), PackDetection()], TASK, empty=False)
    assert [p.id for p in some.pairs] == [1, 3, 4, 5]


def test_faults_are_said(root):
    with pytest.raises(DatasetError, match="no category person"):
        DetectionDataset(root, "val", [], DetectionTask())
    with pytest.raises(DatasetError, match="no annotations of the split 'train'"):
        DetectionDataset(root, "train", [], TASK)
    write_image(root / "val/000.png", np.zeros((80, 60, 3), np.uint8))
    with pytest.raises(ImageError, match="60 x 80 pixels, its annotations say 80 x 60"):
        DetectionDataset(root, "val", [LoadDetection()], TASK)[0]
    for make in (lambda: ResizeDetection(short=()), lambda: RandomFlipDetection(2), lambda: RandomCropDetection(-1),
                 lambda: RandomCropDetection(sides=(5, 2))):
        with pytest.raises(ConfigError):
            make()
