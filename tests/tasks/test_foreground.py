"""Foreground colours: what must be exact, and what must come close."""
import cv2
import numpy as np
import pytest

from dense.tasks import foreground
from dense.tasks.foreground import estimate_foreground, hide_transparent


def noise(height=150, width=210, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def soft_disc(height=150, width=210, edge=6.0):
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    return np.clip(0.5 + (0.35 * min(height, width) - distance) / edge, 0, 1).astype(np.float32)


def compose(front, back, alpha):
    a = alpha[..., None]
    return np.rint(a * front + (1 - a) * back).astype(np.uint8)


@pytest.mark.parametrize("value", [0, 1])
def test_nothing_between_leaves_the_picture_as_it_is(value):
    image = noise()
    np.testing.assert_array_equal(estimate_foreground(image, np.full(image.shape[:2], value, np.float32), 4), image)
    binary = (soft_disc() > 0.5).astype(np.float32)
    np.testing.assert_array_equal(estimate_foreground(image, binary), image)


def test_opaque_and_far_transparent_pixels_keep_their_bits():
    image, alpha = noise(), soft_disc()
    out = estimate_foreground(image, alpha, 4)
    same = (alpha == 1) | (soft_disc(edge=30) == 0)
    assert same.mean() > 0.3
    np.testing.assert_array_equal(out[same], image[same])
    assert (out != image).any()


@pytest.mark.parametrize("shape", [(150, 210), (301, 257)])
def test_constant_colours_come_back(shape):
    front, back = np.array([200.0, 40, 90]), np.array([10.0, 220, 130])
    alpha = soft_disc(*shape)
    out = estimate_foreground(compose(front, back, alpha), alpha).astype(int)
    visible = alpha > 0.1
    assert np.abs(out[visible] - front).max() <= 4


@pytest.mark.parametrize("shape", [(9, 500), (3, 2), (1, 1), (1, 40)])
def test_small_pictures_are_not_made_worse(shape):
    front, back = np.array([200.0, 40, 90]), np.array([10.0, 220, 130])
    alpha = np.random.default_rng(0).uniform(0.2, 1, shape).astype(np.float32)
    alpha[0, 0] = 1
    image = compose(front, back, alpha)
    out = estimate_foreground(image, alpha)
    assert out.shape == image.shape and out.dtype == np.uint8
    np.testing.assert_array_equal(out[0, 0], image[0, 0])
    assert np.abs(out - front).mean() <= np.abs(image - front).mean()


def test_it_is_far_nearer_to_the_truth_than_the_picture():
    y, x = np.mgrid[:150, :210]
    front = np.dstack([100 + 0.5 * x, 180 - 0.4 * y, 30 + 0.3 * (x + y)])
    back = np.dstack([220 - 0.7 * x, 30 + 0.9 * y, 200 - 0.2 * x])
    alpha = soft_disc(edge=10)
    image = compose(front, back, alpha)
    part = (alpha > 0.02) & (alpha < 0.98)

    def error(colours):
        return (alpha[part, None] * np.abs(colours[part] - front[part])).mean()

    assert error(estimate_foreground(image, alpha).astype(float)) < 0.1 * error(image.astype(float))


def test_over_the_true_background_it_makes_the_picture():
    back = noise(seed=1) // 4
    front = 160 + noise(seed=2) // 16
    alpha = soft_disc(edge=10)
    image = compose(front.astype(float), back.astype(float), alpha)
    again = compose(estimate_foreground(image, alpha).astype(float), back.astype(float), alpha)
    difference = np.abs(again.astype(int) - image)
    assert difference.mean() < 1 and np.percentile(difference, 99) <= 10


def test_blocks_and_stripes_do_not_show(monkeypatch):
    image, alpha = noise(300, 411), soft_disc(300, 411, edge=120)
    alpha = np.clip(alpha + np.random.default_rng(3).uniform(-0.2, 0.2, alpha.shape), 0, 1).astype(np.float32)
    expected = estimate_foreground(image, alpha, 4)
    for block, stripe in ((1 << 20, 1 << 20), (32, 64)):
        monkeypatch.setattr(foreground, "_BLOCK", block)
        monkeypatch.setattr(foreground, "_STRIPE", stripe)
        other = estimate_foreground(image, alpha, 4)
        assert np.abs(other.astype(int) - expected).max() <= 1


def test_colours_go_on_around_what_is_visible_and_end_there():
    front, back = np.array([250.0, 30, 30]), np.array([0.0, 0, 255])
    alpha = soft_disc(edge=4)
    out = estimate_foreground(compose(front, back, alpha), alpha, 4)
    hide_transparent(out, alpha, 4)
    visible = np.rint(alpha * 255) > 0
    away = cv2.distanceTransform((~visible).astype(np.uint8), cv2.DIST_C, 3)
    near = (away > 0) & (away <= 4)
    assert near.any() and np.abs(out[near].astype(int) - front).max() < 40
    assert (out[away > 4] == 0).all() and (away > 4).any()


@pytest.mark.parametrize("stripe", [7, 64])
def test_hiding_does_not_depend_on_stripes(monkeypatch, stripe):
    alpha, whole, parts = soft_disc(), noise(), noise()
    hide_transparent(whole, alpha)
    monkeypatch.setattr(foreground, "_STRIPE", stripe)
    hide_transparent(parts, alpha)
    np.testing.assert_array_equal(parts, whole)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="uint8 RGB"):
        estimate_foreground(noise(), np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="reach"):
        estimate_foreground(noise(), soft_disc(), 9)
