"""E-measure against the enhanced alignment matrix of its definition, threshold by threshold."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from random_pairs import INVALID, layouts, random_pair

from dense.evaluation import e_adaptive, e_curve, e_curve_of, precision_recall


def naive_e(selected: np.ndarray, gt: np.ndarray) -> float:
    """Both bool."""
    if not gt.any():
        matrix = 1.0 - selected
    elif gt.all():
        matrix = selected.astype(float)
    else:
        a, b = selected - selected.mean(), gt - gt.mean()
        matrix = (2 * a * b / (a * a + b * b) + 1) ** 2 / 4
    return matrix.sum() / max(gt.size - 1, 1)


def test_definition():
    for seed in range(120):
        pred, gt = random_pair(seed, largest=24)
        curve = e_curve(pred, gt)
        assert curve.shape == (256,) and curve.dtype == np.float64
        assert np.allclose(curve, [naive_e(pred >= t, gt) for t in range(256)], rtol=0, atol=1e-9), seed
        assert np.array_equal(curve, e_curve_of(precision_recall(pred, gt)))


def test_adaptive_definition():
    for seed in range(300):
        pred, gt = random_pair(seed)
        scaled, twice = pred.astype(int) * pred.size, 2 * int(pred.sum())  # both sides times 255 * size
        selected = (scaled >= twice) | (pred == 255)
        expected = pytest.approx(naive_e(selected, gt), rel=0, abs=1e-9)
        assert e_adaptive(pred, gt) == expected, seed
        if not (scaled == twice).any():  # no tie, which rounding might break
            assert e_adaptive(pred / 255, gt) == expected
        assert type(e_adaptive(pred, gt)) is float


def test_forms_and_layouts():
    for seed in range(40):
        pred, gt = random_pair(seed)
        curve, adaptive = e_curve(pred, gt), e_adaptive(pred, gt)
        for form in (pred / 255, (pred / 255).astype(np.float32), *layouts(pred), *layouts(pred / 255)):
            assert np.array_equal(e_curve(form, gt), curve)
        for mask in (*layouts(gt), gt * np.uint8(255)):
            assert np.array_equal(e_curve(pred, mask), curve) and e_adaptive(pred, mask) == adaptive
        selected = pred > 99
        assert np.array_equal(e_curve(selected, gt), e_curve(selected * np.uint8(255), gt))
        assert e_adaptive(selected, gt) == e_adaptive(selected * np.uint8(255), gt)


def test_rounding():
    """0.999 * 255 = 254.7: the nearest level is 255, the one below 254."""
    pred, gt = np.array([[0.999, 0, 0]]), np.array([[True, False, False]])
    perfect = 3 / 2
    assert e_curve(pred, gt)[255] == pytest.approx(perfect)
    assert e_curve(pred, gt, rounding="down")[255] < 1 < e_curve(pred, gt, rounding="down")[254]


def test_one_pixel():
    on, off = np.ones((1, 1), bool), np.zeros((1, 1), bool)
    assert (e_curve(on, on) == 1).all() and e_adaptive(on, on) == 1.0
    assert (e_curve(off, off)[1:] == 1).all() and e_curve(off, off)[0] == 0
    assert not e_curve(on, off).any() and not e_curve(off, on)[1:].any()


def test_empty_and_full():
    nothing, everything = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    assert e_adaptive(nothing, nothing) == 0.0  # the threshold is 0 and selects everything
    assert e_curve(nothing, nothing)[1:] == pytest.approx(np.full(255, 20 / 19))
    assert e_adaptive(everything, everything) == pytest.approx(20 / 19)
    assert e_adaptive(everything, nothing) == 0.0
    part = nothing.copy()
    part[1, 2] = True
    assert e_curve(nothing, part)[1:] == pytest.approx(np.full(255, naive_e(nothing, part)))


@pytest.mark.parametrize("measure", [e_curve, e_adaptive])
@pytest.mark.parametrize(("pred", "gt", "message"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
def test_invalid_arrays(measure, pred, gt, message):
    with pytest.raises(ValueError, match=message):
        measure(pred, gt)


def test_invalid_rounding():
    with pytest.raises(ValueError, match="rounding"):
        e_curve(np.ones((2, 2)), np.ones((2, 2), bool), rounding="up")
