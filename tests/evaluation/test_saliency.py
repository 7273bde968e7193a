"""Saliency measures against their definitions, one threshold after the other."""

import numpy as np
import pytest

import dense.evaluation
from dense.evaluation import PRCounts, f_curve, iou, mae, max_f, mean_f, precision_recall


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


def test_against_pysodmetrics():
    oracle = pytest.importorskip("py_sod_metrics")
    f, error = oracle.Fmeasure(), oracle.MAE()
    handler = oracle.IOUHandler(with_dynamic=True, with_adaptive=False)
    overlap = oracle.FmeasureV2({"iou": handler})
    curves = []
    for pred, gt in PAIRS:
        for step in (f.step, error.step, overlap.step):
            step(pred / 255.0, gt > 128, normalize=False)
        curves.append(precision_recall(pred, gt))
    results = f.get_results()
    assert np.allclose(f_curve(curves, average="image"), results["fm"]["curve"][::-1], atol=1e-12)
    for name, key in (("precision", "p"), ("recall", "r")):
        mean = np.mean([getattr(curve, name) for curve in curves], axis=0)
        assert np.allclose(mean, results["pr"][key][::-1], atol=1e-12)
    assert np.mean([mae(pred, gt) for pred, gt in PAIRS]) == pytest.approx(error.get_results()["mae"])
    both_empty = [not (gt > 128).any() and not (pred > 127).any() for pred, gt in PAIRS]
    ours = np.mean([0.0 if void else iou(*pair) for void, pair in zip(both_empty, PAIRS, strict=True)])
    assert ours == pytest.approx(overlap.get_results()["iou"]["dynamic"][255 - 128])


GOOD = np.zeros((4, 5), np.uint8)


@pytest.mark.parametrize("measure", [precision_recall, mae, iou])
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


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dense.evaluation.nothing
    assert set(dense.evaluation.__all__) <= set(dir(dense.evaluation))
