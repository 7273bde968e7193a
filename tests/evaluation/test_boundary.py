"""Boundary IoU against its definition: d erosions, one after the other, in plain numpy."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from random_pairs import INVALID, layouts, random_pair

from dense.evaluation import boundary_iou


def eroded(mask: np.ndarray) -> np.ndarray:
    """By the 3x3 square; outside the frame there is background."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    parts = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.logical_and.reduce(parts)


def naive_boundary_iou(pred: np.ndarray, gt: np.ndarray, ratio: float) -> float:
    """Both bool."""
    height, width = gt.shape
    d = max(1, round(ratio * (height**2 + width**2) ** 0.5))
    bands = []
    for mask in (pred, gt):
        kept = mask
        for _ in range(d):
            kept = eroded(kept)
        bands.append(mask & ~kept)
    union = (bands[0] | bands[1]).sum()
    return (bands[0] & bands[1]).sum() / union if union else 1.0


@pytest.mark.parametrize("ratio", [0.001, 0.02, 0.1, 0.4, 3])
def test_definition(ratio):
    for seed in range(150):
        pred, gt = random_pair(seed, largest=50)
        expected = naive_boundary_iou(pred >= 128, gt, ratio)
        assert boundary_iou(pred, gt, ratio) == pytest.approx(expected, rel=0, abs=1e-15), seed


def test_wide_band():
    """One wide erosion for the 40 that the definition asks for, in the frame's corners too."""
    rng = np.random.default_rng(2)
    for _ in range(4):
        gt = np.ones((260, 310), bool)
        for y, x in zip(rng.integers(0, 260, 3), rng.integers(0, 310, 3), strict=True):
            gt[y : y + rng.integers(1, 30), x : x + rng.integers(1, 30)] = False
        pred = np.roll(gt, (3, -4), (0, 1))
        assert boundary_iou(pred, gt, 0.1) == naive_boundary_iou(pred, gt, 0.1)


def test_frame_is_part_of_the_outline():
    everything = np.ones((50, 50), bool)
    inner = np.zeros_like(everything)
    inner[1:-1, 1:-1] = True  # both bands are one pixel wide and do not meet
    assert boundary_iou(inner, everything, 0.01) == 0.0
    assert boundary_iou(everything, everything) == 1.0
    assert boundary_iou(inner, everything, 1) == pytest.approx(48**2 / 50**2)


def test_forms_and_layouts():
    for seed in range(60):
        pred, gt = random_pair(seed)
        expected = boundary_iou(pred, gt)
        assert type(expected) is float
        for form in (pred / 255, (pred / 255).astype(np.float32), pred >= 128, *layouts(pred), *layouts(pred >= 128)):
            assert boundary_iou(form, gt) == expected
        for mask in (*layouts(gt), gt * np.uint8(255)):
            assert boundary_iou(pred, mask) == expected


def test_empty():
    nothing, part = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    part[5:9, 10:20] = True
    assert boundary_iou(nothing, nothing) == 1.0
    assert boundary_iou(part, nothing) == boundary_iou(nothing, part) == 0.0
    assert boundary_iou(np.full((20, 30), 127, np.uint8), part) == 0.0
    assert boundary_iou(np.where(part, 128, 127).astype(np.uint8), part) == 1.0


@pytest.mark.parametrize(("pred", "gt", "message"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID])
def test_invalid_arrays(pred, gt, message):
    with pytest.raises(ValueError, match=message):
        boundary_iou(pred, gt)


@pytest.mark.parametrize("ratio", [0, -0.1, float("nan"), float("inf")])
def test_invalid_ratio(ratio):
    with pytest.raises(ValueError, match="dilation_ratio"):
        boundary_iou(np.ones((2, 2), bool), np.ones((2, 2), bool), ratio)
