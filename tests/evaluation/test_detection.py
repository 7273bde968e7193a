"""Average precision: known cases, and pycocotools' own files."""
import json

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="average precision needs the extra 'det'")

from dense.evaluation.detection import average_precision
from dense.io.coco import Objects
from dense.tasks.detection import Detections

CLASSES = ("cat", "dog")


def objects(*rows):
    """(left, top, right, bottom, class[, crowd])"""
    boxes = np.array([r[:4] for r in rows], np.float32).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    return Objects(boxes, np.array([r[4] for r in rows], np.int64), np.array([len(r) > 5 for r in rows], bool),
                   sides.prod(1))


def detections(*rows):
    """(left, top, right, bottom, class, score)"""
    return Detections(np.array([r[:4] for r in rows], np.float32).reshape(-1, 4),
                      np.array([r[5] for r in rows], np.float32), np.array([r[4] for r in rows], np.int64))


def test_all_found():
    truth = [objects((10, 10, 60, 60, 0), (0, 0, 20, 20, 1)), objects((5, 5, 200, 200, 0))]
    found = [detections((10, 10, 60, 60, 0, 0.9), (0, 0, 20, 20, 1, 0.8)), detections((5, 5, 200, 200, 0, 0.7))]
    figures = average_precision(found, truth, CLASSES, by_class=True)
    assert list(figures.values()) == pytest.approx([1.0] * 13)
    assert {"AP_S", "AP_M", "AP_L", "AR", "AP.cat", "AP.dog", "AP50.dog", "AR.cat"} <= set(figures)
    assert all(type(v) is float for v in figures.values())


def test_half_found_wrong_class_and_crowds():
    truth = [objects((10, 10, 60, 60, 0)), objects((10, 10, 60, 60, 0))]
    one = detections((10, 10, 60, 60, 0, 0.9))
    half = average_precision([one, detections()], truth, CLASSES)
    assert half["AP50"] == pytest.approx(51 / 101) and half["AR"] == pytest.approx(0.5)
    wrong = average_precision([detections((10, 10, 60, 60, 1, 0.9))] * 2, truth, CLASSES)
    assert wrong["AP"] == 0
    crowd = [objects((10, 10, 60, 60, 0), (100, 100, 200, 200, 0, "crowd"))]
    seen = detections((110, 110, 140, 140, 0, 0.95), (10, 10, 60, 60, 0, 0.9))
    assert average_precision([seen], crowd, CLASSES)["AP"] == pytest.approx(1)  # what is in a crowd is no mistake
    assert average_precision([seen], [objects((10, 10, 60, 60, 0))], CLASSES)["AP"] == pytest.approx(0.5)


def test_thresholds():
    truth = [objects((0, 0, 100, 100, 0))]
    figures = average_precision([detections((0, 0, 100, 72, 0, 0.9))], truth, CLASSES)  # IoU 0.72
    assert (figures["AP50"], figures["AP75"]) == pytest.approx((1, 0)) and figures["AP"] == pytest.approx(0.5)
    assert np.isnan(figures["AP_S"]) and np.isnan(average_precision([detections()], [objects()], CLASSES)["AP"])
    assert average_precision([detections()], truth, CLASSES)["AP"] == 0


def test_it_equals_pycocotools_on_files(tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    truths, founds = [], []
    content = {"images": [], "annotations": [], "categories": [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}]}
    rows = []
    for image in range(6):
        content["images"].append({"id": 100 + image})
        corner, side = rng.uniform(0, 200, (4, 2)), rng.uniform(8, 150, (4, 2))
        truth = objects(*((*c, *(c + s), int(rng.integers(2))) for c, s in zip(corner, side, strict=True)))
        truths.append(truth)
        for box, label, area in zip(truth.boxes, truth.labels, truth.areas, strict=True):
            content["annotations"].append({
                "id": len(content["annotations"]) + 1, "image_id": 100 + image, "category_id": (5, 9)[label],
                "bbox": [*map(float, box[:2]), *map(float, box[2:] - box[:2])], "area": float(area), "iscrowd": 0})
        boxes = np.float32(truth.boxes[rng.integers(0, 4, 12)] + rng.normal(0, 6, (12, 4)))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        found = Detections(boxes, np.float32(rng.random(12)), rng.integers(0, 2, 12))
        founds.append(found)
        rows += [{"image_id": 100 + image, "category_id": (5, 9)[k], "score": float(s),
                  "bbox": [*map(float, b[:2]), *map(float, b[2:] - b[:2])]}
                 for b, s, k in zip(found.boxes, found.scores, found.labels, strict=True)]
    (tmp_path / "truth.json").write_text(json.dumps(content))
    (tmp_path / "found.json").write_text(json.dumps(rows))
    truth = COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    figures = average_precision(founds, truths, CLASSES)
    assert 0.05 < figures["AP"] < 0.9
    for index, name in enumerate(("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L")):
        assert figures[name] == pytest.approx(float(evaluation.stats[index]), abs=1e-6), name
