"""Thinning equals scikit-image's, whose answers are the reference of HCE."""
import cv2
import numpy as np
import pytest
from skimage.morphology import skeletonize

from dense.evaluation.thinning import thin


def side_by_side(masks: np.ndarray) -> np.ndarray:
    """One large mask of many small ones (n, h, w), kept apart by background."""
    count, height, width = masks.shape
    columns = int(count**0.5)
    apart = np.pad(masks[: count // columns * columns], ((0, 0), (1, 1), (1, 1)))
    grid = apart.reshape(-1, columns, height + 2, width + 2)
    return np.ascontiguousarray(grid.transpose(0, 2, 1, 3).reshape(-1, columns * (width + 2)))


def assert_equal(mask: np.ndarray) -> None:
    before = mask.copy()
    found = thin(mask)
    assert found.dtype == np.bool_ and np.array_equal(mask, before)
    assert np.array_equal(found, skeletonize(mask))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 3), (4, 4), (2, 7)])
def test_all_small_masks(height, width):
    bits = np.arange(2 ** (height * width))[:, None] >> np.arange(height * width) & 1
    assert_equal(side_by_side(bits.astype(bool).reshape(-1, height, width)))


@pytest.mark.parametrize("side", [5, 6, 9, 14])
def test_many_random_masks(side):
    rng = np.random.default_rng(side)
    masks = rng.random((20_000, side, side)) < rng.uniform(0.2, 0.97, (20_000, 1, 1))
    assert_equal(side_by_side(masks))


@pytest.mark.parametrize("seed", range(40))
def test_shapes_that_touch_the_frame(seed):
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 200, 2))
    blur = cv2.GaussianBlur(rng.random((height, width)), (0, 0), rng.uniform(0.5, 12))
    assert_equal(blur.reshape(height, width) > np.quantile(blur, rng.uniform(0.05, 0.8)))


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (30, 41), (2, 2)])
def test_full_and_empty(shape):
    assert_equal(np.ones(shape, bool))
    assert_equal(np.zeros(shape, bool))


def test_a_broad_disc_and_its_ring():
    y, x = np.mgrid[:700, :800]
    distance = np.hypot(y - 340, x - 420)
    assert_equal(distance < 330)
    assert_equal((distance < 330) & (distance > 150))


def test_views_are_taken_as_they_are():
    mask = np.random.default_rng(1).random((60, 80)) < 0.8
    for view in (mask[::-1, ::2], mask.T, np.asfortranarray(mask)):
        assert np.array_equal(thin(view), skeletonize(np.ascontiguousarray(view)))
