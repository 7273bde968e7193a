"""Transparent inputs through a network, estimated colours in results, and the legacy stretch."""
import numpy as np
import pytest
from PIL import Image
from toy_pictures import disc

from dense import Inferencer
from dense.errors import ConfigError
from dense.inference import CutoutResult
from dense.tasks.foreground import estimate_foreground


def half_transparent():
    """A light grey picture (alpha of the toy network: 0.9 where it is not seen through), alpha in four strips."""
    rgba = np.full((64, 64, 4), 230, np.uint8)
    rgba[..., 3] = np.repeat(np.uint8([0, 100, 200, 255]), 16)
    return rgba


def test_alpha_is_the_product_and_colours_are_the_inputs(model):
    result = model(half_transparent())
    given = half_transparent()[..., 3] / 255
    seen = 230 / 255 * given  # over black, and the network takes brightness for alpha
    np.testing.assert_allclose(result.alpha, seen * given, atol=0.01)
    assert (result.alpha[:, :16] == 0).all()
    out = result.rgba()
    assert (out[:, 16:48, :3] == 230).all()
    assert (out[:, :8] == 0).all()  # nothing is visible, nothing is kept


def test_original_colours_are_kept_under_transparency(model):
    rgba = half_transparent()
    rgba[:, :16, :3] = (1, 2, 3)
    np.testing.assert_array_equal(model(rgba).with_colours("original").rgba()[..., :3], rgba[..., :3])


def test_alpha_of_the_input_can_be_ignored(bundle):
    model = Inferencer(bundle, backend="onnxruntime", threads=1, input_alpha=False)
    result = model(half_transparent())
    assert result.given is None
    np.testing.assert_allclose(result.alpha, 230 / 255, atol=1e-3)
    (again,) = list(model([half_transparent()]))
    np.testing.assert_array_equal(again.alpha, result.alpha)


def test_transparency_of_a_file_is_in_the_result(model, tmp_path):
    Image.fromarray(half_transparent()).save(tmp_path / "a.png")
    saved = np.asarray(Image.open(model(tmp_path / "a.png").save(tmp_path / "out.png")))
    assert (saved[:, :16, 3] == 0).all() and (saved[:, 48:, 3] > 200).all()


def test_without_a_subject_alpha_is_empty_unless_it_is_stretched(bundle):
    noise = np.random.default_rng(0).integers(0, 4, (64, 64, 3), np.uint8)
    plain = Inferencer(bundle, backend="onnxruntime", threads=1)
    assert plain(noise).alpha.max() < 0.02
    legacy = Inferencer(bundle, backend="onnxruntime", threads=1, task=dict(min_max=True))
    assert legacy(noise).alpha.max() == 1 and legacy(noise).alpha.mean() > 0.2
    with pytest.raises(ConfigError, match="toy: the task cutout has no entry 'halo'"):
        Inferencer(bundle, task=dict(halo=3))


@pytest.fixture
def soft():
    y, x = np.mgrid[:90, :120]
    alpha = np.clip(0.5 + (30 - np.hypot(y - 45, x - 60)) / 8, 0, 1).astype(np.float32)
    image = np.rint(alpha[..., None] * (250, 20, 20) + (1 - alpha[..., None]) * (0, 0, 250)).astype(np.uint8)
    return CutoutResult(image, "soft.png", alpha=alpha)


def test_colours_are_estimated_by_default(soft):
    part = (soft.alpha > 0.1) & (soft.alpha < 0.9)
    assert soft.image[part, 2].max() > 200 and soft.rgba()[part, 2].max() < 30
    np.testing.assert_array_equal(soft.rgba()[soft.alpha == 1, :3], soft.image[soft.alpha == 1])
    np.testing.assert_array_equal(soft.foreground(), estimate_foreground(soft.image, soft.alpha))
    assert soft.over("white")[part, 2].min() < soft.with_colours("original").over("white")[part, 2].min()
    assert soft.over("#00ff00")[part, 2].max() < 30
    np.testing.assert_array_equal(soft.mask(), soft.with_colours("original").mask())
    assert (soft.rgba()[0, 0] == 0).all() and (soft.with_colours("original").rgba()[0, 0] == (0, 0, 250, 0)).all()


def test_blurred_surroundings_show_nothing_that_the_input_hid():
    rgba = np.dstack([disc(60, 80), np.full((60, 80), 255, np.uint8)])
    rgba[:, :30] = (255, 0, 0, 0)
    model_alpha = np.zeros((60, 80), np.float32)
    picture = rgba[..., :3].copy()
    picture[:, :30] = 255
    out = CutoutResult(picture, "x", alpha=model_alpha, given=rgba).over("blur")
    assert (np.ptp(out.astype(int), axis=2) <= 1).all()  # no red


def test_unknown_colours(soft):
    with pytest.raises(ValueError, match="estimated, original"):
        soft.with_colours("best")
