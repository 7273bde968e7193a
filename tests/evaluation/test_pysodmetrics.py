"""Saliency measures against stored values of PySODMetrics 1.6.2 (tests/oracles/make_sod_reference.py)."""

from pathlib import Path

import numpy as np
import pytest

from dense.evaluation import (
    adaptive_f,
    e_adaptive,
    e_curve,
    f_curve,
    iou,
    mae,
    precision_recall,
    s_measure,
    stretch,
    weighted_f,
)

DATA = np.load(Path(__file__).parents[1] / "data" / "sod.npz")
CASES = [tuple(key.split("/")[:2]) for key in DATA.files if key.endswith("/scalars")]


def load(name: str, kind: str) -> tuple[np.ndarray, np.ndarray, dict[str, float], np.ndarray, float]:
    """Prediction, ground truth, scalars, curves by ascending threshold, tolerance."""
    pred, gt = DATA[f"{name}/pred"], DATA[f"{name}/gt"]
    scalars = dict(zip(DATA["names"].tolist(), DATA[f"{name}/{kind}/scalars"].tolist(), strict=True))
    tolerance = 1e-6 if pred.dtype == np.float32 else 1e-9  # the library calculates in the prediction's precision
    return stretch(pred) if kind == "on" else pred, gt, scalars, DATA[f"{name}/{kind}/curves"][:, ::-1], tolerance


def test_enough_pairs():
    for kind in ("off", "on"):
        assert len([case for case in CASES if case[1] == kind]) >= 20


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_scalars(name, kind):
    pred, gt, expected, _, tolerance = load(name, kind)
    result = {
        "mae": mae(pred, gt),
        "s": s_measure(pred, gt),
        "weighted_f": weighted_f(pred, gt),
        "adaptive_f": adaptive_f(pred, gt),
        "adaptive_e": e_adaptive(pred, gt),
        "iou": iou(pred, gt, np.nextafter(0.5, 1)),  # there: above 0.5
    }
    assert all(type(value) is float for value in result.values())
    if name == "both_empty":  # the one difference: there 0, here the two agree
        assert (expected.pop("iou"), result.pop("iou")) == (0.0, 1.0)
    assert result == pytest.approx(expected, rel=0, abs=tolerance)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_curves(name, kind):
    pred, gt, _, (f, e, precision, recall, overlap), tolerance = load(name, kind)
    rounding = "nearest" if pred.dtype == np.uint8 else "down"
    counts = precision_recall(pred, gt, rounding=rounding)
    for ours, theirs in (
        (f_curve(counts, average="image"), f),
        (e_curve(pred, gt, rounding=rounding), e),
        (counts.precision, precision),
        (counts.recall, recall),
    ):
        assert ours.dtype == np.float64 and ours.shape == (256,)
        assert np.abs(ours - theirs).max() <= tolerance
    if pred.dtype == np.uint8 and name != "both_empty":
        for threshold in (1, 64, 128, 255):
            assert iou(pred, gt, threshold / 255) == pytest.approx(overlap[threshold], rel=0, abs=tolerance)


def test_maximum_and_mean_over_the_data_set():
    cases = [name for name, kind in CASES if kind == "off" and "float" not in name]
    pairs = [(DATA[f"{name}/pred"], DATA[f"{name}/gt"]) for name in cases]
    stored = np.mean([DATA[f"{name}/off/curves"][:2] for name in cases], axis=0)
    f = f_curve((precision_recall(*pair) for pair in pairs), average="image")
    e = np.mean([e_curve(*pair) for pair in pairs], axis=0)
    assert (f.max(), f.mean()) == pytest.approx((stored[0].max(), stored[0].mean()), rel=0, abs=1e-9)
    assert (e.max(), e.mean()) == pytest.approx((stored[1].max(), stored[1].mean()), rel=0, abs=1e-9)
