"""S-measure against its definition, region by region on float arrays."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from random_pairs import INVALID, layouts, random_pair

from dense.evaluation import s_measure


def object_score(values: np.ndarray) -> float:
    spread = values.std(ddof=1) if len(values) > 1 else 0
    return 2 * values.mean() / (values.mean() ** 2 + 1 + spread)


def ssim(pred: np.ndarray, gt: np.ndarray) -> float:
    if pred.min() == pred.max() and gt.min() == gt.max():
        return 1.0
    x, y, n = pred.mean(), gt.mean(), pred.size
    variance_x, variance_y = (((a - a.mean()) ** 2).sum() / (n - 1) for a in (pred, gt))
    covariance = ((pred - x) * (gt - y)).sum() / (n - 1)
    if x * y == 0 or abs(covariance) < 1e-15:
        return 1.0 if (x**2 + y**2) * (variance_x + variance_y) == 0 else 0.0
    return 4 * x * y * covariance / ((x**2 + y**2) * (variance_x + variance_y))


def naive_s(pred: np.ndarray, gt: np.ndarray, alpha: float) -> float:
    """pred uint8, gt bool."""
    pred = pred / 255
    if gt.all():
        return pred.mean()
    if not gt.any():
        return 1 - pred.mean()
    share = gt.mean()
    objects = share * object_score(pred[gt]) + (1 - share) * object_score(1 - pred[~gt])
    y, x = (int(np.round(axis.mean())) + 1 for axis in np.nonzero(gt))
    regions = 0.0
    for rows in (slice(0, y), slice(y, None)):
        for columns in (slice(0, x), slice(x, None)):
            if gt[rows, columns].size:
                score = ssim(pred[rows, columns], gt[rows, columns].astype(float))
                regions += gt[rows, columns].size / gt.size * score
    return max(0.0, alpha * objects + (1 - alpha) * regions)


@pytest.mark.parametrize("alpha", [0, 0.5, 0.8, 1])
def test_definition(alpha):
    for seed in range(300):
        pred, gt = random_pair(seed)
        assert s_measure(pred, gt, alpha) == pytest.approx(naive_s(pred, gt, alpha), rel=0, abs=1e-9), seed


def test_forms_and_layouts():
    for seed in range(60):
        pred, gt = random_pair(seed)
        expected = s_measure(pred, gt)
        assert type(expected) is float
        assert s_measure(pred / 255, gt) == pytest.approx(expected, rel=0, abs=1e-12)
        assert s_measure((pred / 255).astype(np.float32), gt) == pytest.approx(expected, rel=0, abs=1e-5)
        assert s_measure(pred, np.where(gt, 129, 128).astype(np.uint8)) == expected
        selected = pred > 99
        assert s_measure(selected, gt) == s_measure(selected * np.uint8(255), gt)
        for form in (pred, pred / 255):
            plain = s_measure(form, gt)
            for other, mask in zip(layouts(form), layouts(gt), strict=True):
                assert s_measure(other, mask) == pytest.approx(plain, rel=0, abs=1e-12)


def test_centroid_in_the_last_row_or_column():
    """Two of the regions are empty there."""
    for shape, index in (((6, 7), (-1, slice(2, 5))), ((6, 7), (slice(1, 3), -1)), ((1, 9), (0, 4)), ((9, 1), (4, 0))):
        gt = np.zeros(shape, bool)
        gt[index] = True
        assert s_measure(gt, gt) == pytest.approx(1.0)
        assert 0 <= s_measure(~gt, gt) < 0.5


@pytest.mark.parametrize("level", range(1, 255, 23))
def test_constant_regions_are_exact(level):
    """Grey regions whose variance is nothing but rounding errors, were they summed up."""
    gt = np.zeros((30, 41), bool)
    gt[:11, :13] = True  # the three other regions are background; y, x = 6, 7
    pred = np.full(gt.shape, level, np.uint8)
    region_scores = [1.0 if not gt[rows, columns].any() or gt[rows, columns].all() else 0.0
                     for rows in (slice(6), slice(6, None)) for columns in (slice(7), slice(7, None))]
    shares = [6 * 7, 6 * 34, 24 * 7, 24 * 34]
    expected = sum(a * b for a, b in zip(shares, region_scores, strict=True)) / gt.size
    for form in (pred, pred / 255, (pred / 255).astype(np.float32)):
        assert s_measure(form, gt, alpha=0) == pytest.approx(expected, rel=0, abs=1e-12)


def test_empty_and_full():
    pred = np.array([[0, 51], [102, 204]], np.uint8)
    nothing, everything = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert s_measure(pred, nothing) == pytest.approx(1 - 0.35)
    assert s_measure(pred, everything) == pytest.approx(0.35)
    assert (s_measure(nothing, nothing), s_measure(everything, everything)) == (1.0, 1.0)
    assert (s_measure(everything, nothing), s_measure(nothing, everything)) == (0.0, 0.0)
    assert s_measure(np.array([[255]], np.uint8), np.array([[True]])) == 1.0


@pytest.mark.parametrize(("pred", "gt", "message"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
def test_invalid_arrays(pred, gt, message):
    with pytest.raises(ValueError, match=message):
        s_measure(pred, gt)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_invalid_alpha(alpha):
    with pytest.raises(ValueError, match="alpha"):
        s_measure(np.ones((2, 2), bool), np.ones((2, 2), bool), alpha)
