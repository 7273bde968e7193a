"""Patches of volumes, and nnU-Net's augmentation: where they come from, how often, how much."""
from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from dense.datasets.transforms import (
    PackVolume,
    RandomVolumeBlur,
    RandomVolumeBrightness,
    RandomVolumeContrast,
    RandomVolumeGamma,
    RandomVolumeLowRes,
    RandomVolumeMirror,
    RandomVolumeNoise,
    RandomVolumeSpatial,
    VolumePatch,
)
from dense.datasets.transforms.volume import cut, rotation, sample
from dense.datasets.volume_cache import PreparedCase, find_places
from dense.errors import ConfigError
from dense.tasks import VolumeTask

TASK = VolumeTask(size=(8, 10, 12), spacing=(1.0, 1.0, 1.0), classes=("background", "a", "b"))
VALUES = (RandomVolumeNoise, RandomVolumeBlur, RandomVolumeBrightness, RandomVolumeContrast, RandomVolumeLowRes,
          RandomVolumeGamma)


def prepared(shape=(20, 24, 28)) -> PreparedCase:
    """Values tell the voxel's place; class 1 is a slab of many voxels, class 2 a single one."""
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    labels = np.zeros(shape, np.int16)
    labels[shape[0] // 6:shape[0] // 3], labels[tuple(int(0.8 * n) for n in shape)] = 1, 2
    return PreparedCase(values, labels, find_places(labels, 3))


def results(seed=0, task=TASK, case=None, **more) -> dict:
    return {"case": case or prepared(), "task": task, "rng": np.random.default_rng(seed)} | more


def smooth(seed=0, shape=(2, 16, 18, 20)) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).standard_normal(shape)
    return np.stack([gaussian_filter(c, 2) * 10 for c in noise]).astype(np.float32)


# patches

def test_patches_are_pieces_of_the_volume():
    case = prepared()
    for seed in range(20):
        out = VolumePatch()(results(seed, case=case))
        z, y, x = np.unravel_index(int(out["values"][0, 0, 0, 0]), case.labels.shape)
        box = (slice(z, z + 8), slice(y, y + 10), slice(x, x + 12))
        assert np.array_equal(out["values"][0], case.values[0][box])
        assert np.array_equal(out["labels"], case.labels[box])


def test_a_share_of_the_patches_holds_a_class_that_is_drawn_evenly():
    case, held = prepared(), Counter()
    for seed in range(600):
        labels = VolumePatch(foreground=1)(results(seed, case=case))["labels"]
        assert labels.any()
        held["rare"] += (labels == 2).any()
    assert 0.5 < held["rare"] / 600 < 0.62  # half of them are around it, and others hold it by chance
    rare = sum((VolumePatch()(results(s, case=case))["labels"] == 2).any() for s in range(600)) / 600
    none = sum((VolumePatch(0)(results(s, case=case))["labels"] == 2).any() for s in range(600)) / 600
    assert rare - none == pytest.approx((1 - none) / 6, abs=0.04)


def test_a_drawn_voxel_is_in_the_middle_where_the_volume_allows_it():
    task = replace(TASK, size=(8, 8, 8))
    case = prepared()
    inner = PreparedCase(case.values, case.labels, {1: np.array([[9, 10, 11]], np.int32)})
    out = VolumePatch(1)(results(case=inner, task=task))
    assert out["values"][0, 4, 4, 4] == case.values[0, 9, 10, 11]
    corner = PreparedCase(case.values, case.labels, {1: np.array([[0, 23, 1]], np.int32)})
    out = VolumePatch(1)(results(case=corner, task=task))
    assert out["values"][0, 0, 7, 1] == case.values[0, 0, 23, 1]


def test_small_volumes_are_surrounded_by_zeros():
    case = prepared((5, 9, 40))
    out = VolumePatch()(results(3, case=case))
    assert out["values"].shape == (1, 8, 10, 12)
    # as the task pads them at inference: half of what lacks, rounded down, before
    assert not out["values"][0, :1].any() and not out["values"][0, 6:].any() and not out["values"][0, :, 9:].any()
    x = int(out["values"][0, 1, 0, 1]) - 1
    assert np.array_equal(out["values"][0, 1:6, :9], case.values[0][:, :, x:x + 12])


def test_a_cut_beyond_the_array():
    array = np.arange(24).reshape(1, 2, 3, 4)
    out = cut(array, (-1, 1, 2), (3, 3, 3))
    expected = np.zeros((3, 3, 3), int)
    expected[1:, :2, :2] = array[0, :, 1:, 2:]
    assert np.array_equal(out[0], expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_quarter_turn_is_rot90(axis):
    rng = np.random.default_rng(1)
    values, labels = rng.standard_normal((2, 12, 12, 12)).astype(np.float32), rng.integers(-1, 4, (12, 12, 12))
    found, turned = sample(values, labels.astype(np.int16), (2, 2, 2), (8, 8, 8), rotation(axis, np.pi / 2))
    plane = tuple(i for i in range(3) if i != axis)
    middle = (slice(2, 10),) * 3
    assert np.allclose(found[0], np.rot90(values[0][middle], -1, plane), atol=1e-4)
    assert np.array_equal(turned, np.rot90(labels[middle], -1, plane))
    same, still = sample(values, labels.astype(np.int16), (2, 2, 2), (8, 8, 8), np.eye(3))
    assert np.allclose(same, values[(slice(None), *middle)], atol=1e-5) and np.array_equal(still, labels[middle])


def test_scaling_is_linear_interpolation_around_the_middle_and_zeros_beyond():
    grid = np.stack(np.meshgrid(*[np.arange(20.0)] * 3, indexing="ij")).astype(np.float32)
    found, labels = sample(grid, np.ones((20,) * 3, np.int16), (6, 6, 6), (8, 8, 8), np.eye(3) * 0.5)
    assert np.allclose(found[2, 3, 3], 9.5 + 0.5 * (np.arange(8) - 3.5), atol=1e-4) and labels.all()
    found, labels = sample(grid + 1, np.ones((20,) * 3, np.int16), (0, 6, 6), (8, 8, 8), np.eye(3) * 2)
    # from 3.5 - 7 on: two voxels lie outside
    assert not found[:, 0].any() and not labels[:2].any() and labels[2:].all()
    assert np.allclose(found[0, 2:, 3, 3], 3.5 + 2 * (np.arange(2, 8) - 3.5) + 1, atol=1e-4)


def test_spatial_changes_happen_as_often_and_as_far_as_nnunet_s():
    cube = replace(TASK, size=(16, 16, 16))
    rng = np.random.default_rng(0)
    matrices = [RandomVolumeSpatial()({"task": cube, "rng": rng}).get("matrix") for _ in range(1000)]
    changed = [m for m in matrices if m is not None]
    assert len(changed) / 1000 == pytest.approx(1 - 0.8**2, abs=0.04)
    scales = np.array([np.cbrt(np.linalg.det(m)) for m in changed])
    scaled = scales[np.abs(scales - 1) > 1e-9]
    assert len(scaled) / 1000 == pytest.approx(0.2, abs=0.04)
    assert scaled.min() > 0.69 and scaled.max() < 1.41 and np.mean(scaled < 1) == pytest.approx(0.5, abs=0.1)
    turned = [m for m, s in zip(changed, scales, strict=True) if not np.allclose(m, np.eye(3) * s)]
    assert len(turned) / 1000 == pytest.approx(0.2, abs=0.04)


def test_flat_patches_are_turned_in_their_plane():
    flat = replace(TASK, size=(8, 40, 40))
    matrices = [RandomVolumeSpatial(rotate=1, rescale=1)(results(s, task=flat, case=1))["matrix"] for s in range(50)]
    for matrix in matrices:
        assert np.allclose(matrix[0], [1, 0, 0]) and np.allclose(matrix[:, 0], [1, 0, 0])
    angles = [np.arctan2(m[2, 1], m[1, 1]) for m in matrices]
    assert max(angles) > 2 and min(angles) < -2


# values

@pytest.mark.parametrize("transform", VALUES)
def test_changes_of_values_happen_with_their_probability_and_leave_the_source(transform):
    change, values = transform(), smooth()
    before, changed, rng = values.copy(), 0, np.random.default_rng(0)
    for _ in range(300):
        out = change({"values": values, "rng": rng, "task": TASK})
        changed += not np.array_equal(out["values"], values)
        assert out["values"].dtype == np.float32 and out["values"].shape == values.shape
    assert np.array_equal(values, before) and change.random
    each = 0.75 if transform in (RandomVolumeBlur, RandomVolumeLowRes) else 1  # of two channels, each by half
    assert changed / 300 == pytest.approx(change.probability * each, abs=0.07)


def run(transform, seed=0, values=None):
    return transform(results(seed, values=smooth() if values is None else values))["values"]


def test_noise_and_blur():
    deviations = [(run(RandomVolumeNoise(1), s) - smooth()).std() for s in range(40)]
    assert min(deviations) > 0 and 0.08 < max(deviations) <= 0.101
    point = np.zeros((1, 17, 17, 17), np.float32)
    point[0, 8, 8, 8] = 1
    blurred = run(RandomVolumeBlur(1, channels=1), values=point)
    assert blurred.sum() == pytest.approx(1, abs=1e-3) and 0.06 < blurred.max() < 0.52


def test_brightness_and_contrast():
    values = smooth()
    for seed in range(20):
        ratio = run(RandomVolumeBrightness(1), seed) / values
        assert np.allclose(ratio[0], ratio[0, 0, 0, 0], rtol=1e-4) and 0.75 <= ratio.min() <= ratio.max() <= 1.2501
        found = run(RandomVolumeContrast(1), seed)
        for before, after in zip(values, found, strict=True):
            assert before.min() <= after.min() and after.max() <= before.max()
            slope = np.polyfit(before.ravel(), after.ravel(), 1)[0]
            assert 0.74 < slope < 1.26


def test_low_resolution_removes_what_is_fine():
    values = np.indices((1, 16, 16, 16)).sum(0).astype(np.float32) % 2
    found = run(RandomVolumeLowRes(1, zoom=(0.5, 0.5), channels=1), values=values)
    assert found.std() < 0.1 * values.std()
    flat = np.repeat(values[:, :4], 2, 2)  # 4 x 32 x 16: stripes along the short axis stay as they are
    stripes = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None] % 2, flat.shape)
    found = run(RandomVolumeLowRes(1, zoom=(0.5, 0.5), channels=1), values=stripes)
    assert np.allclose(found, stripes, atol=1e-5)


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_keeps_order_mean_and_deviation(inverted):
    values = smooth()
    for seed in range(10):
        found = run(RandomVolumeGamma(1, inverted=inverted), seed)
        for before, after in zip(values, found, strict=True):
            order = np.argsort(before.ravel())
            assert (np.diff(after.ravel()[order]) >= -1e-3).all()
            assert after.mean() == pytest.approx(before.mean(), abs=1e-3)
            assert after.std() == pytest.approx(before.std(), rel=1e-3)
            assert not np.allclose(before, after, atol=1e-3)


def test_values_that_are_all_the_same_stay_finite():
    for transform in VALUES:
        assert np.isfinite(run(transform(1), values=np.full((1, 8, 8, 8), 3, np.float32))).all()


def test_mirroring_takes_labels_along_and_keeps_to_the_task_s_axes():
    case = prepared()
    patch = VolumePatch()(results(case=case))
    out = RandomVolumeMirror(1)(dict(patch, task=replace(TASK, mirror=(0, 2))))
    assert np.array_equal(out["values"], np.flip(patch["values"], (1, 3)))
    assert np.array_equal(out["labels"], np.flip(patch["labels"], (0, 2)))


def test_what_lies_outside_stays_zero_where_the_task_normalises_within_a_mask():
    case = prepared()
    case.values[0, :10] = 0
    task = replace(TASK, masked=(True,))
    out = VolumePatch(0)(results(5, case=case, task=task))
    outside = out["values"][0] == 0
    out = RandomVolumeNoise(1)(out | {"name": "a", "image_path": "", "label_path": ""})
    assert outside.any() and out["values"][0][outside].any()
    assert not PackVolume()(out)["inputs"].numpy()[0][outside].any()


@pytest.mark.parametrize("make", [
    lambda: RandomVolumeSpatial(degrees=200), lambda: RandomVolumeSpatial(scale=(1.4, 0.7)), lambda: VolumePatch(1.5),
    lambda: PackVolume("whole")])
def test_settings_that_make_no_sense(make):
    with pytest.raises(ConfigError):
        make()
