"""Figures of classes, matches at one threshold, the metric's files: hand-worked cases."""
import csv
import json

import numpy as np
import pytest
import torch

pytest.importorskip("pycocotools", reason="average precision needs the extra 'det'")

from mmengine.structures import BaseDataElement, InstanceData

from dense.errors import DatasetError
from dense.evaluation.detection import Matches, average_precision, box_table, draw_curves, match_objects
from dense.evaluation.detection_metrics import DetectionMetrics
from dense.io import read_image
from dense.io.coco import Objects
from dense.tasks.detection import Detections

CLASSES = ("cat", "dog", "cow")


def objects(*rows):
    """(left, top, right, bottom, class[, crowd])"""
    boxes = np.array([r[:4] for r in rows], np.float32).reshape(-1, 4)
    return Objects(boxes, np.array([r[4] for r in rows], np.int64), np.array([len(r) > 5 for r in rows], bool),
                   (boxes[:, 2:] - boxes[:, :2]).prod(1))


def detections(*rows):
    """(left, top, right, bottom, class, score)"""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 5].astype(np.float32), table[:, 4].astype(np.int64))


A, B, C = (0, 0, 50, 50), (100, 0, 150, 50), (0, 100, 50, 150)


def test_figures_of_each_class_by_hand():
    """Cats: right at 0.9, made up at 0.8, right at 0.7, one of three missed. Precision is 1 up to recall 1/3, then 2/3
    up to recall 2/3, then 0: of the 101 recalls 34, 33 and 34. The second cat is found with an IoU of 0.64."""
    truth = [objects((*A, 0), (*B, 0), (*C, 0), (*A, 1))]
    found = [detections((*A, 0, 0.9), (200, 200, 250, 250, 0, 0.8), (100, 0, 150, 32, 0, 0.7))]
    figures = average_precision(found, truth, CLASSES, by_class=True)
    assert figures["AP50.cat"] == pytest.approx((34 + 33 * 2 / 3) / 101)
    alone = 34 / 101  # from IoU 0.65 on the second one is wrong as well
    assert figures["AP.cat"] == pytest.approx((3 * (34 + 33 * 2 / 3) / 101 + 7 * alone) / 10)
    assert figures["AR.cat"] == pytest.approx((3 * 2 / 3 + 7 / 3) / 10)
    assert (figures["AP.dog"], figures["AP50.dog"], figures["AR.dog"]) == (0, 0, 0)
    assert np.isnan(figures["AP.cow"]) and figures["AP50"] == pytest.approx(figures["AP50.cat"] / 2)
    table = box_table(figures, CLASSES).splitlines()
    assert table[2] == f"| cat | {figures['AP.cat']:.3f} | {figures['AP50.cat']:.3f} | {figures['AR.cat']:.3f} |"
    assert table[4] == "| cow | - | - | - |" and table[-1].startswith(f"| mean | {figures['AP']:.3f} |")


def test_matches_at_one_threshold():
    truth = objects((*A, 0), (*B, 0), (*C, 1), (200, 0, 300, 100, 0, "crowd"))
    assert match_objects(detections(), truth) == Matches(0, 3, 0)
    assert match_objects(detections((*A, 0, 0.9), (*B, 0, 0.4)), truth) == Matches(1, 2, 0)
    assert match_objects(detections((*A, 0, 0.9), (*B, 0, 0.4)), truth, threshold=0.3) == Matches(2, 1, 0)
    assert match_objects(detections((*A, 0, 0.9), (*A, 0, 0.8)), truth) == Matches(1, 2, 1)  # each is found once
    assert match_objects(detections((*A, 1, 0.9), (*C, 1, 0.9)), truth) == Matches(1, 2, 1)  # of another class
    assert match_objects(detections((210, 10, 240, 40, 0, 0.9)), truth) == Matches(0, 3, 0)  # in a crowd
    assert match_objects(detections((210, 10, 240, 40, 1, 0.9)), truth) == Matches(0, 3, 1)  # a crowd of others
    assert match_objects(detections((0, 0, 50, 24, 0, 0.9)), truth) == Matches(0, 3, 1)  # IoU 0.48
    # the surer one takes what both overlap, whatever the order
    both = objects((0, 0, 50, 50, 0), (0, 10, 50, 60, 0))
    assert match_objects(detections((0, 10, 50, 60, 0, 0.6), (0, 0, 50, 50, 0, 0.9)), both) == Matches(2, 0, 0)
    assert Matches(2, 1, 1).f1 == pytest.approx(2 / 3) and Matches(0, 0, 0).f1 == 1 and Matches(0, 0, 2).f1 == 0


def sample(name, number, found, truth):
    out = BaseDataElement(metainfo=dict(name=name, img_id=number, truth=truth))
    out.pred_instances = InstanceData(bboxes=torch.from_numpy(found.boxes), scores=torch.from_numpy(found.scores),
                                      labels=torch.from_numpy(found.labels))
    return out.to_dict()


def test_the_metric_and_its_files(tmp_path, caplog):
    metric = DetectionMetrics(tmp_path / "t.csv", tmp_path / "p.png", tmp_path / "r.json")
    metric.dataset_meta = {"classes": CLASSES, "category_ids": [3, 7, 9]}
    metric.process({}, [sample("a", 11, detections((*A, 0, 0.9)), objects((*A, 0))),
                        sample("b", 12, detections((*B, 1, 0.5)), objects((*B, 1)))])
    figures = metric.evaluate(2)
    assert figures["AP"] == pytest.approx(1) and figures["AP.dog"] == pytest.approx(1)
    assert "no object of the evaluated pictures is cow" in caplog.text
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["name"], r["class"], r["left"], r["right"]) for r in rows] == [
        ("a", "cat", "0.0", "50.0"), ("b", "dog", "100.0", "150.0")]
    assert json.loads((tmp_path / "r.json").read_text()) == [
        {"image_id": 11, "category_id": 3, "score": 0.9, "bbox": [0, 0, 50, 50]},
        {"image_id": 12, "category_id": 7, "score": 0.5, "bbox": [100, 0, 50, 50]}]
    assert read_image(tmp_path / "p.png").std() > 5


def test_problems_of_the_metric(tmp_path, caplog):
    metric = DetectionMetrics(tmp_path / "no" / "folder" / "t.csv")
    with pytest.raises(DatasetError, match="a sample has no truth"):
        metric.process({}, [sample("a", 1, detections(), None)])
    metric.process({}, [sample("a", 1, detections(), objects((*A, 0)))])
    with pytest.raises(DatasetError, match="names no classes"):
        metric.compute_metrics(metric.results)
    (tmp_path / "no").write_text("")
    metric.dataset_meta = {"classes": CLASSES}
    assert metric.compute_metrics(metric.results)["AP"] == 0 and "not written" in caplog.text


def test_curves_say_nothing_of_classes_without_objects():
    from dense.evaluation.detection import accumulate

    evaluation = accumulate([detections((*A, 0, 0.9))], [objects((*A, 0))], CLASSES)
    one, none = draw_curves(evaluation, CLASSES), draw_curves(evaluation, ("cow", "cow", "cow"))
    assert one.shape[2] == 3 and one.dtype == np.uint8 and (one != none).any()
    assert accumulate([detections((*A, 0, 0.9))], [objects()], CLASSES) is None
