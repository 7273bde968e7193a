"""Classical methods."""
from __future__ import annotations

import numpy as np
import pytest

from dense.evaluation.baselines import grabcut


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 200), (3, 8)])
def test_a_tiny_picture_has_no_subject(size):
    mask = grabcut(np.full((*size, 3), 90, np.uint8))
    assert mask.dtype == np.uint8 and mask.shape == size and not mask.any()


@pytest.mark.parametrize("size", [(8, 8), (8, 300), (9, 64)])
def test_small_pictures_are_cut(size):
    for image in (np.full((*size, 3), 90, np.uint8), np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)):
        assert grabcut(image).shape == size


def test_a_bright_square_is_found():
    image = np.random.default_rng(0).integers(0, 40, (60, 80, 3), np.uint8)
    image[20:40, 30:60] = 220
    truth = np.zeros((60, 80), np.uint8)
    truth[20:40, 30:60] = 255
    assert np.array_equal(grabcut(image), truth)
