"""Saliency measures against their definitions, one threshold after the other."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from random_pairs import layouts

import dense.evaluation
from dense.evaluation import (
    PRCounts,
    _inputs,
    adaptive_f,
    f_curve,
    iou,
    mae,
    max_f,
    mean_f,
    precision_recall,
    stretch,
)


def naive_precision_recall(pred: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """256 comparisons; pred uint8, gt bool."""
    precision, recall = np.zeros(256), np.zeros(256)
    for threshold in range(256):
        selected = pred >= threshold
        hits = (selected & gt).sum()
        if selected.any():
            precision[threshold] = hits / selected.sum()
        if gt.any():
            recall[threshold] = hits / gt.sum()
    return precision, recall


def naive_f(precision: float, recall: float, beta2: float) -> float:
    return (1 + beta2) * precision * recall / (beta2 * precision + recall) if precision + recall > 0 else 0.0


def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """uint8 predictions and ground truths of several sizes and kinds, empty and full ones among them."""
    rng = np.random.default_rng(0)
    result = []
    for shape in [(1, 1), (1, 17), (23, 1), (20, 31), (64, 48)]:
        gt = rng.integers(0, 256, shape, np.uint8)
        near = np.clip(gt.astype(int) + rng.integers(-60, 61, shape), 0, 255).astype(np.uint8)
        empty, full = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
        binary = np.where(near > 128, full, empty)
        predictions = (near, binary, empty, full, near // 4)
        result += [(pred, mask) for pred in predictions for mask in (gt, empty, full)]
    return result


PAIRS = pairs()


def test_precision_recall():
    for pred, gt in PAIRS:
        counts = precision_recall(pred, gt)
        precision, recall = naive_precision_recall(pred, gt > 128)
        assert isinstance(counts, PRCounts)
        assert np.allclose(counts.precision, precision, rtol=0, atol=1e-15)
        assert np.allclose(counts.recall, recall, rtol=0, atol=1e-15)
        assert counts.predicted[0] == pred.size and counts.positives == (gt > 128).sum()
        assert counts.true_positives.shape == counts.predicted.shape == (256,)
        assert counts.true_positives.dtype == counts.predicted.dtype == np.int64


def test_forms_of_the_prediction():
    for pred, gt in PAIRS:
        expected = precision_recall(pred, gt)
        for dtype in (np.float32, np.float64):
            scaled = pred.astype(dtype) / dtype(255)
            for form in (scaled, np.asfortranarray(scaled)):
                result = precision_recall(form, gt > 128)
                assert all(map(np.array_equal, result, expected))
            assert mae(scaled, gt) == pytest.approx(mae(pred, gt), abs=1e-7)
            for threshold in (0.1, 0.5, 0.9):
                assert iou(scaled, gt, threshold) == iou(pred, gt, threshold)
        selected = pred > 100
        as_uint8 = selected.astype(np.uint8) * 255
        assert all(map(np.array_equal, precision_recall(selected, gt), precision_recall(as_uint8, gt)))
        assert mae(selected, gt) == pytest.approx(mae(as_uint8, gt))
        assert iou(selected, gt) == iou(as_uint8, gt)


def test_half_precision():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    gt = levels > 77
    result = precision_recall((levels / 255).astype(np.float16), gt)
    assert all(map(np.array_equal, result, precision_recall(levels, gt)))


def test_rounding_to_levels():
    """To the nearest level, not down: 0.999 * 255 = 254.7 is 255."""
    gt = np.ones((1, 1), bool)
    assert precision_recall(np.array([[0.999]]), gt).predicted[255] == 1
    assert precision_recall(np.array([[0.997]]), gt).predicted[255] == 0
    assert precision_recall(np.array([[1 + 5e-7]]), gt).predicted[255] == 1
    assert precision_recall(np.array([[-5e-7]]), gt).predicted[1] == 0


def test_mae():
    for pred, gt in PAIRS:
        assert mae(pred, gt) == pytest.approx(np.abs(pred / 255 - (gt > 128)).mean(), abs=1e-12)
        assert mae(pred, gt, binary=False) == pytest.approx(np.abs(pred / 255 - gt / 255).mean(), abs=1e-12)
        assert mae(pred, gt > 128, binary=False) == mae(pred, gt)
        assert mae(gt, gt, binary=False) == 0.0
    assert type(mae(*PAIRS[0])) is float


def test_iou():
    for pred, gt in PAIRS:
        for threshold in (0.01, 0.5, 1.0):
            a, b = pred / 255 >= threshold, gt > 128
            expected = (a & b).sum() / (a | b).sum() if (a | b).any() else 1.0
            assert iou(pred, gt, threshold) == pytest.approx(expected, abs=1e-15)
    assert type(iou(*PAIRS[0])) is float
    half = np.array([[127, 128]], np.uint8)
    assert iou(half, np.array([[False, True]])) == 1.0
    assert iou(np.array([[0.5]]), np.array([[True]])) == 1.0


@pytest.mark.parametrize("beta2", [0.3, 1.0])
def test_f_measures(beta2):
    curves = [precision_recall(pred, gt) for pred, gt in PAIRS]
    parts = [naive_precision_recall(pred, gt > 128) for pred, gt in PAIRS]
    precision, recall = (np.mean([part[k] for part in parts], axis=0) for k in (0, 1))
    dataset = [naive_f(precision[t], recall[t], beta2) for t in range(256)]
    image = [np.mean([naive_f(p[t], r[t], beta2) for p, r in parts]) for t in range(256)]
    assert np.allclose(f_curve(curves, beta2), dataset, rtol=0, atol=1e-12)
    assert max_f(curves, beta2) == pytest.approx(max(dataset))
    assert mean_f(curves, beta2) == pytest.approx(np.mean(dataset))
    assert np.allclose(f_curve(curves, beta2, average="image"), image, rtol=0, atol=1e-12)
    assert max_f(curves, beta2, average="image") == pytest.approx(max(image))
    assert mean_f(curves, beta2, average="image") == pytest.approx(np.mean(image))
    assert max_f(iter(curves), beta2) == max_f(curves, beta2)
    assert type(max_f(curves)) is type(mean_f(curves)) is float


def test_mean_of_the_curves_is_not_the_mean_of_f():
    """The best threshold is common to all images."""
    gt = np.array([[True, False]])
    curves = [precision_recall(np.array([levels], np.uint8), gt) for levels in ([50, 20], [250, 220])]
    assert [max_f(curve) for curve in curves] == pytest.approx([1.0, 1.0])
    assert max_f(curves) == pytest.approx(1.3 * 0.75 / (0.3 * 0.75 + 1))
    assert max_f(curves, average="image") == pytest.approx((1 + 1.3 * 0.5 / (0.3 * 0.5 + 1)) / 2)


def test_one_image():
    counts = precision_recall(*PAIRS[-1])
    assert max_f(counts) == max_f([counts])


def test_perfect_and_empty():
    gt = np.zeros((5, 6), bool)
    gt[1:3, 2:5] = True
    nothing = np.zeros_like(gt)
    perfect = precision_recall(gt, gt)
    assert (perfect.precision[1:] == 1).all() and (perfect.recall == 1).all()
    assert max_f([perfect]) == pytest.approx(1.0)
    assert (mae(gt, gt), iou(gt, gt)) == (0.0, 1.0)

    unpredicted = precision_recall(nothing, gt)
    assert unpredicted.precision[0] == pytest.approx(6 / 30) and not unpredicted.precision[1:].any()
    assert unpredicted.recall[0] == 1.0 and not unpredicted.recall[1:].any()
    assert iou(nothing, gt) == 0.0

    for pred in (nothing, gt):
        counts = precision_recall(pred, nothing)
        assert not counts.precision.any() and not counts.recall.any()
        assert max_f([counts]) == 0.0 and max_f([counts], average="image") == 0.0
    assert (mae(nothing, nothing), iou(nothing, nothing), iou(gt, nothing)) == (0.0, 1.0, 0.0)


def test_adaptive_f():
    for pred, gt in PAIRS:
        selected = pred / 255 >= min(2 * (pred / 255).mean(), 1)
        if (pred.astype(int) * pred.size == 2 * int(pred.sum())).any():
            selected = (pred.astype(int) * pred.size >= 2 * int(pred.sum())) | (pred == 255)  # a tie, exactly
        hits = (selected & (gt > 128)).sum()
        for beta2 in (0.3, 1.0):
            expected = naive_f(hits / selected.sum(), hits / (gt > 128).sum(), beta2) if hits else 0.0
            assert adaptive_f(pred, gt, beta2) == pytest.approx(expected, rel=0, abs=1e-12)
    assert type(adaptive_f(*PAIRS[0])) is float


def test_adaptive_f_of_floats_is_not_rounded():
    """A threshold of 0.4008 lies between two values of the same level."""
    pred, gt = np.array([[0.4007, 0.4009, 0.0, 0.0]]), np.array([[False, True, False, False]])
    assert adaptive_f(pred, gt) == pytest.approx(1.0)
    full = np.array([[1.0, 1.0, 0.9, 0.2]])  # twice the mean is above 1
    assert adaptive_f(full, np.array([[True, True, False, False]])) == pytest.approx(1.0)


def test_stretch():
    pred = np.array([[51, 102], [153, 51]], np.uint8)
    expected = np.array([[0, 0.5], [1, 0]])
    for form in (pred, pred / 255, (pred / 255).astype(np.float32), *layouts(pred)):
        result = stretch(form)
        assert result.dtype == np.float64 and np.allclose(result, expected, rtol=0, atol=1e-6)
    for level in (0, 77, 255):  # no contrast to stretch
        assert np.array_equal(stretch(np.full((2, 3), level, np.uint8)), np.full((2, 3), level / 255))
    selected = np.array([[False, True]])
    assert np.array_equal(stretch(selected), [[0.0, 1.0]]) and stretch(selected).dtype == np.float64
    for wrong, message in ((pred[0], "shape"), (pred[:0], "shape"), (pred + 0.5, "0..1"), (pred.astype(int), "dtype")):
        with pytest.raises(ValueError, match=message):
            stretch(wrong)


def test_rounding_down():
    gt = np.ones((1, 1), bool)
    assert precision_recall(np.array([[0.999]]), gt, rounding="down").predicted[255] == 0
    assert precision_recall(np.array([[0.999]]), gt, rounding="down").predicted[254] == 1
    for pred, mask in PAIRS:
        down = precision_recall(pred / 255, mask, rounding="down")
        assert all(map(np.array_equal, down, precision_recall(pred, mask)))
    with pytest.raises(ValueError, match="rounding"):
        precision_recall(np.ones((1, 1)), gt, rounding="up")


def test_layouts():
    for pred, gt in PAIRS:
        counts, values = precision_recall(pred, gt), (mae(pred, gt), iou(pred, gt), adaptive_f(pred, gt))
        for form, mask in zip(layouts(pred), layouts(gt), strict=True):
            assert all(map(np.array_equal, precision_recall(form, mask), counts))
            assert (mae(form, mask), iou(form, mask), adaptive_f(form, mask)) == values


def test_large_images_are_counted_exactly(monkeypatch):
    """Sums beyond 31 bits, and the strips in which levels are counted."""
    pred = np.full((3000, 3000), 255, np.uint8)
    pred[0, 0] = 254
    assert mae(pred, pred < 0) == (255 * 3000 * 3000 - 1) / (255 * 3000 * 3000)
    cases = [precision_recall(*pair) for pair in PAIRS]
    for limit in (1, 50, 333):
        monkeypatch.setattr(_inputs, "_EXACT", limit)
        for pair, expected in zip(PAIRS, cases, strict=True):
            assert all(map(np.array_equal, precision_recall(*pair), expected))


GOOD = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize("measure", [precision_recall, mae, iou, adaptive_f])
@pytest.mark.parametrize(
    ("pred", "gt", "message"),
    [
        (GOOD, GOOD.T, "resize pred"),
        (GOOD[..., None], GOOD, "resize pred"),
        (GOOD[..., None], GOOD[..., None], "expected \\(H, W\\)"),
        (GOOD[0], GOOD[0], "expected \\(H, W\\)"),
        (GOOD[:0], GOOD[:0], "no pixel"),
        (GOOD.astype(np.int64), GOOD, "pred has dtype int64"),
        (GOOD.astype(np.uint16), GOOD, "pred has dtype uint16"),
        (GOOD.astype(np.float32) + 255, GOOD, "0..1"),
        (GOOD - 0.01, GOOD, "0..1"),
        (np.full(GOOD.shape, np.nan), GOOD, "0..1"),
        (np.full(GOOD.shape, np.inf), GOOD, "0..1"),
        (GOOD, GOOD.astype(np.float32), "gt has dtype float32"),
        (GOOD, GOOD.astype(np.int32), "gt has dtype int32"),
        (GOOD, GOOD + np.uint8(1), "gt is uint8 with the values 0 and 1"),
    ],
)
def test_invalid_arrays(measure, pred, gt, message):
    with pytest.raises(ValueError, match=message):
        measure(pred, gt)


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, 128, float("nan")])
def test_invalid_threshold(threshold):
    with pytest.raises(ValueError, match="threshold"):
        iou(GOOD, GOOD, threshold)


@pytest.mark.parametrize("measure", [f_curve, max_f, mean_f])
def test_invalid_data_set(measure):
    curves = [precision_recall(GOOD, GOOD)]
    with pytest.raises(ValueError, match="at least one image"):
        measure([])
    for beta2 in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="beta2"):
            measure(curves, beta2)
    with pytest.raises(ValueError, match="average"):
        measure(curves, average="pixel")


def test_invalid_beta_of_one_image():
    for beta2 in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="beta2"):
            adaptive_f(GOOD, GOOD, beta2)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dense.evaluation.nothing
    assert set(dense.evaluation.__all__) <= set(dir(dense.evaluation))
