"""``DetectionResult``: boxes, selections, pictures and plain values of a result, and the inferencer that makes it."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from dense.inference import DetectionResult
from dense.io import read_image
from dense.tasks import DetectionTask
from dense.tasks.detection import Detections
from dense.tasks.detection_pictures import detection_row

TASK = DetectionTask((64, 96), longest=None, classes=("cat", "dog", "traffic light"),
                     palette=((255, 0, 0), (0, 255, 0), (0, 0, 128)))


def found(*rows) -> Detections:
    """(left, top, right, bottom, score, class)"""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


@pytest.fixture
def result() -> DetectionResult:
    image = np.full((120, 200, 3), 90, np.uint8)
    return DetectionResult(image, "a.jpg", found=found(
        (10, 40, 60.5, 100, 0.9, 1), (100, 30, 180, 110, 0.8, 0), (70, 50, 90, 90, 0.25, 1)), task=TASK)


def test_what_was_found(result):
    assert len(result) == 3 and result.names == ["dog", "cat", "dog"] and result.boxes.shape == (3, 4)
    assert result.xywh()[0].tolist() == [10, 40, 50.5, 60] and result.scores[0] == np.float32(0.9)
    assert result.select(["dog"]).scores.tolist() == pytest.approx([0.9, 0.25])
    assert result.select(threshold=0.8).names == ["dog", "cat"] and result.select(most=1).names == ["dog"]
    assert result.select(["cat"], most=1).names == ["cat"] and len(result.select([])) == 0
    with pytest.raises(ValueError, match="no class is called 'cow'; the classes are cat, dog, traffic light"):
        result.select(["cow"])


def test_plain_values(result):
    values = json.loads(json.dumps(result.to_dict()))
    assert (values["source"], values["width"], values["height"]) == ("a.jpg", 200, 120)
    assert values["objects"][0] == {"class": "dog", "index": 1, "score": 0.9, "box": [10, 40, 50.5, 60]}


def test_boxes_are_drawn_in_their_colours_the_surest_in_front(result, tmp_path):
    drawn = result.drawn(names=False, scores=False)
    assert (drawn[40, 15:55] == (0, 255, 0)).all() and (drawn[45:95, 10] == (0, 255, 0)).all()
    assert (drawn[30, 110:170] == (255, 0, 0)).all() and (drawn[109, 110:170] == (255, 0, 0)).all()
    assert (drawn[60:80, 120:160] == 90).all() and (result.image == 90).all()
    assert (result.drawn()[40, 12:55] == drawn[40, 12:55]).mean() > 0.9  # words are above the box
    assert (result.drawn() != drawn).any() and (result.drawn(scores=False) != result.drawn()).any()
    same = found((20, 20, 90, 90, 0.9, 0), (20, 20, 90, 90, 0.5, 1))
    over = DetectionResult(result.image, "a", found=same, task=TASK)
    assert (over.drawn(False, False)[20, 30:80] == (255, 0, 0)).all()
    np.testing.assert_array_equal(read_image(result.save(tmp_path / "a.png")), result.drawn())
    assert result.encode(".jpg")[:2] == b"\xff\xd8"


def test_boxes_at_and_beyond_the_edges_are_drawn():
    image = np.zeros((20, 30, 3), np.uint8)
    wild = DetectionResult(image, "a", found=found((-50, -50, 400, 400, 0.9, 0), (29, 19, 30, 20, 0.8, 1),
                                                  (5, 5, 5, 5, 0.7, 2)), task=TASK)
    assert wild.drawn().shape == image.shape
    assert [c.shape[:2] for c in wild.crops()] == [(20, 30), (1, 1), (1, 1)]


def test_crops_small_ones_and_panels(result):
    assert [c.shape[:2] for c in result.crops()] == [(60, 51), (80, 80), (40, 20)]
    assert result.crops(0.1)[1].shape[:2] == (96, 96) and result.crops(5)[0].shape[:2] == (120, 200)
    small = result.small(60)
    assert small.image.shape == (60, 100, 3) and small.boxes[1].tolist() == [50, 15, 90, 55]
    assert result.small(500) is result
    assert [p.shape for p in result.panels()] == [(120, 200, 3)] * 2 and result.plot(60).shape == (60, 204, 3)
    row = detection_row(result.image, result.found, result.found, TASK, "text", 60)
    assert row.shape == (82, 204, 3)


@pytest.mark.parametrize("mode", DetectionTask.modes)
def test_the_inferencer_finds_the_halves_in_every_mode(tmp_path, mode):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason="bundles need the extra 'deploy'")
    from toy_pictures import detection_bundle, write_colours

    from dense import Inferencer

    paths = write_colours(tmp_path, 3)
    model = Inferencer(detection_bundle(tmp_path / "b"), backend="onnxruntime", threads=1, mode=mode, batch=2)
    for one in model(paths):
        assert type(one) is DetectionResult and sorted(one.names) == ["green", "red"]
        assert one.boxes[one.names.index("red")].tolist() == [0, 0, 48, 64]
    low = Inferencer(detection_bundle(tmp_path / "c"), backend="onnxruntime", threads=1, task={"threshold": 0.75})
    assert [r.names for r in low(paths)] == [["red", "green"], ["green"], []]
