"""Measures of semantic segmentation against mmseg's own, and against their definitions."""
import csv

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, PixelData

from dense.errors import DatasetError
from dense.evaluation import boundary_iou, count_semantic, draw_confusion, summarise_semantic
from dense.evaluation.semantic import SemanticCounts, class_table, majority_counts, most_frequent
from dense.io import read_image
from dense.registry import METRICS

NAMES = ("sky", "road", "house", "tree", "car", "cat")


def random_maps(seed: int, shape=(40, 60), classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth in blocks that mostly agree, some pixels without label; the last class never occurs."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, classes, (shape[0] // 10, shape[1] // 10)), np.ones((10, 10), int))
    pred = np.where(rng.random(shape) < 0.2, rng.integers(0, classes, shape), truth)
    truth = np.where(rng.random(shape) < 0.1, 255, truth)
    return pred, truth


def sample(pred, truth, **meta) -> BaseDataElement:
    element = BaseDataElement(metainfo=meta)
    element.pred_sem_seg = PixelData(data=torch.from_numpy(pred)[None])
    element.gt_sem_seg = PixelData(data=torch.from_numpy(truth)[None])
    return element


def evaluate(metric, pairs, names=NAMES) -> dict:
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = {"classes": names}
    for pred, truth in pairs:
        evaluator.process([sample(pred, truth)], None)
    return evaluator.evaluate(len(pairs))


def test_figures_are_those_of_mmsegs_metric():
    iou_metric = pytest.importorskip("mmseg.evaluation.metrics", reason="the comparison needs mmseg").IoUMetric
    pairs = [random_maps(seed) for seed in range(6)]
    theirs = evaluate(iou_metric(iou_metrics=["mIoU"]), pairs)
    ours = evaluate(METRICS.build(dict(type="SemanticMetrics")), pairs)
    for name in ("mIoU", "mAcc", "aAcc"):
        assert 100 * ours[name] == pytest.approx(theirs[name], abs=0.006), name  # theirs are rounded
    raw = [iou_metric.intersect_and_union(*map(torch.from_numpy, pair), 6, 255) for pair in pairs]
    intersect, union, _, label = (torch.stack(t).sum(0).double() for t in zip(*raw, strict=True))
    for index, name in enumerate(NAMES[:5]):
        assert ours[f"IoU.{name}"] == pytest.approx(float(intersect[index] / union[index]))
        assert ours[f"Acc.{name}"] == pytest.approx(float(intersect[index] / label[index]))
    assert "IoU.cat" not in ours and all(type(v) is float for v in ours.values())


def test_a_class_that_is_only_predicted_counts_and_has_no_accuracy():
    figures = summarise_semantic(count_semantic(np.array([[0, 1, 2]]), np.array([[0, 0, 0]]), 3), ("a", "b", "c"))
    assert figures["mIoU"] == pytest.approx((1 / 3 + 0 + 0) / 3)
    assert figures["mAcc"] == figures["aAcc"] == pytest.approx(1 / 3)
    assert "Acc.b" not in figures and figures["IoU.b"] == 0


def test_confusion_has_truth_in_rows():
    counts = count_semantic(np.array([[1, 1, 2]]), np.array([[0, 1, 255]]), 3)
    assert counts.confusion.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_counts_add_up():
    pairs = [random_maps(seed) for seed in range(3)]
    single = [count_semantic(*pair, 6) for pair in pairs]
    stacked = count_semantic(*(np.concatenate(maps) for maps in zip(*pairs, strict=True)), 6, boundary=False)
    assert np.array_equal((single[0] + single[1] + single[2]).confusion, stacked.confusion)
    assert summarise_semantic(single, NAMES)["aAcc"] == summarise_semantic(stacked, NAMES)["aAcc"]
    assert "mBIoU" not in summarise_semantic(stacked, NAMES)


def test_boundary_iou_of_one_image_is_that_of_each_classs_mask():
    pred, truth = random_maps(3, (200, 300))
    figures = summarise_semantic(count_semantic(pred, truth, 6), NAMES)
    known = truth != 255
    each = [boundary_iou((pred == i) & known, truth == i) for i in range(5)]
    assert [figures[f"BIoU.{n}"] for n in NAMES[:5]] == pytest.approx(each)
    assert figures["mBIoU"] == pytest.approx(np.mean(each))
    perfect = np.where(known, truth, 0)  # what is predicted where there is no label does not matter
    assert summarise_semantic(count_semantic(perfect, truth, 6), NAMES)["mBIoU"] == 1


def test_the_majority_is_a_baseline():
    truths = [np.array([[0, 0, 1, 255]]), np.array([[1, 1, 0, 1]])]
    assert most_frequent(truths, 2) == 1
    figures = summarise_semantic(majority_counts(truths, most_frequent(truths, 2), 2), ("a", "b"))
    assert figures["aAcc"] == pytest.approx(4 / 7) and figures["IoU.a"] == 0
    assert figures["mIoU"] == pytest.approx(4 / 7 / 2)


@pytest.mark.parametrize(("pred", "truth", "message"), [
    (np.array([[0, 7]]), np.array([[0, 1]]), "pred has the values 7, which are none of the 3"),
    (np.array([[0, 1]]), np.array([[-1, 9]]), "truth has the values -1, 9"),
    (np.array([[0, 1]]), np.array([[0], [1]]), "shape"),
    (np.array([[0.5, 1]]), np.array([[0, 1]]), "float64"),
    (np.zeros((1, 2, 3), int), np.zeros((1, 2), int), "pred is")])
def test_bad_arrays(pred, truth, message):
    with pytest.raises(ValueError, match=message):
        count_semantic(pred, truth, 3)


def test_a_prediction_of_nothing_where_there_is_no_label_is_allowed():
    assert count_semantic(np.array([[99, 0]]), np.array([[255, 0]]), 2).confusion.sum() == 1


def test_the_metric_names_the_file_and_what_never_occurs(caplog, tmp_path):
    metric = METRICS.build(dict(type="SemanticMetrics"))
    metric.dataset_meta = {"classes": NAMES}
    with pytest.raises(DatasetError, match=r"street.png: truth has the values 77"):
        metric.process(None, [sample(np.array([[0]]), np.array([[77]]), seg_map_path="street.png").to_dict()])
    metric.dataset_meta = None
    with pytest.raises(DatasetError, match="names no classes"):
        metric.process(None, [sample(np.array([[0]]), np.array([[0]])).to_dict()])
    file, table = tmp_path / "confusion.png", tmp_path / "figures.csv"
    evaluate(METRICS.build(dict(type="SemanticMetrics", picture=file, table=table)), [random_maps(0), random_maps(1)])
    assert "no pixel of the evaluated pictures is cat" in caplog.text
    assert read_image(file).shape[2] == 3
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 2
    expected = summarise_semantic(count_semantic(*random_maps(1), 6), NAMES)
    assert float(rows[1]["mIoU"]) == expected["mIoU"] and float(rows[1]["BIoU.sky"]) == expected["BIoU.sky"]


def test_the_table_of_classes():
    text = class_table(summarise_semantic(count_semantic(np.array([[0, 1]]), np.array([[0, 0]]), 3), "abc"), "abc")
    assert text.splitlines()[2:] == ["| a | 0.500 | 0.500 | 0.500 |", "| b | 0.000 | 0.000 | - |", "| c | - | - | - |",
                                     "| mean | 0.250 | 0.250 | 0.500 |"]


def test_the_picture_shows_shares_of_rows():
    right = draw_confusion(np.diag([5, 50, 500]), ("a", "b$", "never"))
    wrong = draw_confusion(np.array([[0, 5, 0], [50, 0, 0], [0, 0, 500]]), ("a", "b$", "never"))
    assert right.dtype == np.uint8 and right.shape == wrong.shape and right.ndim == 3
    assert (right != wrong).any()
    empty = draw_confusion(np.diag([5, 50, 0]), ("a", "b$", "never"))
    assert (empty != right).any()
    assert np.array_equal(right, draw_confusion(np.diag([1, 1, 1]), ("a", "b$", "never")))  # shares, not counts


def test_counts_without_bands_make_sums_without_bands():
    with_bands, without = (count_semantic(*random_maps(0), 6, boundary=b) for b in (True, False))
    assert (with_bands + without).boundary is None and isinstance(with_bands + without, SemanticCounts)
