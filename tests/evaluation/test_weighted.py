"""Weighted F-measure against its definition on the whole image, with scipy's distance transform and convolution."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import convolve, distance_transform_edt

sys.path.insert(0, str(Path(__file__).parent))

from random_pairs import INVALID, layouts, random_pair

from dense.evaluation import weighted, weighted_f


def naive_weighted_f(pred: np.ndarray, gt: np.ndarray, beta2: float = 1.0) -> float:
    """pred float64 0..1, gt bool."""
    if not gt.any():
        return 0.0
    distance, (rows, columns) = distance_transform_edt(~gt, return_indices=True)
    error = np.abs(pred - gt)
    radius = np.arange(-3, 4)
    kernel = np.exp(-(radius**2 + radius[:, None] ** 2) / 50)
    around = convolve(error[rows, columns], kernel / kernel.sum(), mode="constant")
    weighted_error = np.where(gt, np.minimum(error, around), error * (2 - 0.5 ** (distance / 5)))
    hits = gt.sum() - weighted_error[gt].sum()
    recall, precision = hits / gt.sum(), hits / (hits + weighted_error[~gt].sum() + 1e-300)
    return (1 + beta2) * recall * precision / (recall + beta2 * precision) if hits > 1e-9 else 0.0


def test_definition():
    for seed in range(400):
        pred, gt = random_pair(seed)
        expected = naive_weighted_f(pred / 255, gt)
        assert weighted_f(pred, gt) == pytest.approx(expected, rel=0, abs=1e-9), seed
        assert weighted_f(pred / 255, gt) == pytest.approx(expected, rel=0, abs=1e-9), seed


@pytest.mark.parametrize("beta2", [0.3, 2.0])
def test_beta(beta2):
    for seed in range(30):
        pred, gt = random_pair(seed)
        expected = naive_weighted_f(pred / 255, gt, beta2)
        assert weighted_f(pred, gt, beta2) == pytest.approx(expected, rel=0, abs=1e-9)


def test_nearest_of_equally_near():
    """Background on axes of symmetry, where the choice decides which error is taken over."""
    rng = np.random.default_rng(5)
    for step in (2, 3, 4, 5, 6):
        for shift in (0, step // 2):
            gt = np.zeros((37, 44), bool)
            gt[::step, ::step] = True
            gt[step // 2 :: step, shift::step] = True
            pred = rng.random(gt.shape)
            assert weighted_f(pred, gt) == pytest.approx(naive_weighted_f(pred, gt), rel=0, abs=1e-12)


@pytest.mark.parametrize("share", [-1.0, 0.1, 2.0])
def test_whole_image_and_picked_pixels_agree(monkeypatch, share):
    """Steps on whole images down to the given share of open pixels: all of them, some, none."""
    cases = [random_pair(seed) for seed in range(80)]
    expected = [weighted_f(*case) for case in cases]
    monkeypatch.setattr(weighted, "_DENSE", share)
    assert [weighted_f(*case) for case in cases] == pytest.approx(expected, rel=0, abs=1e-14)
    assert [weighted_f(pred / 255, gt) for pred, gt in cases] == pytest.approx(expected, rel=0, abs=1e-12)


def test_crop():
    """Far corners, margins at each side of the frame, and distances as long as the image."""
    rng = np.random.default_rng(7)
    for y, x in ((0, 0), (0, 40), (60, 90), (119, 179), (3, 176), (117, 2)):
        gt = np.zeros((120, 180), bool)
        gt[max(0, y - 4) : y + 5, max(0, x - 3) : x + 4] = True
        pred = np.where(gt, rng.integers(0, 255, gt.shape), 0).astype(np.uint8)
        assert weighted_f(pred, gt) == pytest.approx(naive_weighted_f(pred / 255, gt), rel=0, abs=1e-9)
        pred[rng.random(gt.shape) < 0.01] = 200
        assert weighted_f(pred, gt) == pytest.approx(naive_weighted_f(pred / 255, gt), rel=0, abs=1e-9)
    gt = np.zeros((2, 3000), bool)
    gt[0, 5] = True
    pred = gt * np.uint8(200)
    pred[1, ::500] = 130
    assert weighted_f(pred, gt) == pytest.approx(naive_weighted_f(pred / 255, gt), rel=0, abs=1e-9)


def test_forms_and_layouts():
    for seed in range(60):
        pred, gt = random_pair(seed)
        expected = weighted_f(pred, gt)
        assert type(expected) is float
        for form in layouts(pred):
            assert weighted_f(form, gt) == expected
        for mask in (*layouts(gt), gt * np.uint8(255)):
            assert weighted_f(pred, mask) == expected
        assert weighted_f((pred / 255).astype(np.float32), gt) == pytest.approx(expected, rel=0, abs=1e-6)
        selected = pred > 99
        assert weighted_f(selected, gt) == weighted_f(selected * np.uint8(255), gt)


def test_input_stays_as_it_is():
    for seed in range(20):
        pred, gt = random_pair(seed)
        for form in (pred, pred / 255, pred > 99):
            before = form.copy(), gt.copy()
            weighted_f(form, gt)
            assert np.array_equal(form, before[0]) and np.array_equal(gt, before[1])


def test_empty_and_full():
    nothing, everything = np.zeros((20, 30), bool), np.ones((20, 30), bool)
    for pred in (nothing, everything):
        assert weighted_f(pred, nothing) == 0.0
    assert weighted_f(everything, everything) == pytest.approx(1.0)
    assert weighted_f(nothing, everything) == pytest.approx(naive_weighted_f(nothing * 1.0, everything), abs=1e-9)
    gt = nothing.copy()
    gt[5:9, 10:20] = True
    assert weighted_f(nothing, gt) == pytest.approx(0.0, abs=1e-12)
    assert weighted_f(gt, gt) == pytest.approx(1.0)


@pytest.mark.parametrize(("pred", "gt", "message"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
def test_invalid_arrays(pred, gt, message):
    with pytest.raises(ValueError, match=message):
        weighted_f(pred, gt)


@pytest.mark.parametrize("beta2", [0, -1, float("nan"), float("inf")])
def test_invalid_beta(beta2):
    with pytest.raises(ValueError, match="beta2"):
        weighted_f(np.ones((2, 2), bool), np.ones((2, 2), bool), beta2)
