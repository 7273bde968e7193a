"""The cut-out task against PyTorch's interpolation, which the published code uses."""
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dense.tasks import CutoutTask, as_task, task_from_dict


def interpolate(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float (C, H, W), bilinear, align_corners=False, no antialiasing."""
    return F.interpolate(torch.from_numpy(array)[None], shape, mode="bilinear", align_corners=False)[0].numpy()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(64, 96), (40, 200), (333, 47), (1, 1), (1, 500), (3, 20000)])
@pytest.mark.parametrize("size", [(64, 96), (33, 57)])
def test_prepare_equals_torch(shape, size):
    task, image = CutoutTask(size), picture(*shape)
    tensor = task.prepare(image)
    reference = interpolate(image.transpose(2, 0, 1).astype(np.float32), size) / 255 - 0.5
    assert tensor.shape == (3, *size) and tensor.dtype == np.float32 and tensor.flags.c_contiguous
    assert np.abs(tensor - reference).max() <= 1.25 / 255  # 8 bits, and weights of 11 bits
    assert np.abs(tensor - reference).mean() <= 0.3 / 255
    assert tensor.min() >= -0.5 and tensor.max() <= 0.5


def test_prepare_uses_mean_and_std_of_each_channel():
    task = CutoutTask((32, 32), mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    image = picture(32, 32)
    expected = (image.astype(np.float64) - task.mean) / task.std
    assert np.allclose(task.prepare(image), expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("array", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_prepare_refuses_other_arrays(array):
    with pytest.raises(ValueError, match=r"uint8 RGB picture \(H, W, 3\)"):
        CutoutTask().prepare(array)


@pytest.mark.parametrize("shape", [(32, 48), (100, 37), (17, 400), (1, 1), (1, 30), (3, 5000)])
def test_decode_equals_torch_at_the_size_of_the_picture(shape):
    probability = np.random.default_rng(1).random((32, 48), np.float32)
    alpha = CutoutTask((32, 48)).decode(probability, shape)
    assert alpha.shape == shape and alpha.dtype == np.float32
    assert np.allclose(alpha, interpolate(probability[None], shape)[0], atol=2e-5)
    assert alpha.min() >= 0 and alpha.max() <= 1


def test_a_flat_low_map_stays_low_unless_the_stretch_is_asked_for():
    noise = 0.02 + 0.01 * np.random.default_rng(2).random((32, 32), np.float32)
    assert CutoutTask((32, 32)).decode(noise, (50, 60)).max() <= 0.03
    stretched = CutoutTask((32, 32), min_max=True)
    alpha = stretched.decode(noise, (50, 60))
    assert alpha.min() == 0 and alpha.max() == 1
    plain = interpolate(noise[None], (50, 60))[0]
    expected = (plain - plain.min()) / (plain.max() - plain.min())
    assert np.allclose(alpha, expected, atol=1e-3)
    assert not stretched.decode(np.full((32, 32), 0.4, np.float32), (5, 5)).any()  # nothing to stretch


def test_decode_takes_half_precision_and_leaves_its_input_alone():
    probability = np.random.default_rng(3).random((32, 32)).astype(np.float16)
    kept = probability.copy()
    for min_max in (False, True):
        assert CutoutTask((32, 32), min_max=min_max).decode(probability, (32, 32)).dtype == np.float32
        assert np.array_equal(probability, kept)


@pytest.mark.parametrize("shape", [(90, 60), (1, 1), (32, 48)])
def test_run(shape):
    seen = []

    def forward(batch: np.ndarray) -> np.ndarray:
        seen.append(batch)
        return batch[:, :1] / 255  # the red channel

    image = picture(*shape)
    alpha = CutoutTask((32, 48)).run(image, forward)
    assert seen[0].shape == (1, 3, 32, 48) and seen[0].dtype == np.float32 and alpha.shape == shape
    there = interpolate(image.transpose(2, 0, 1).astype(np.float32) / 255, (32, 48))[:1]
    assert np.abs(alpha - interpolate(there, shape)[0]).max() <= 1.01 / 255


def test_resize_keeps_what_fits():
    task = CutoutTask((32, 48))
    mask = np.zeros((32, 48), np.uint8)
    assert task.resize(mask) is mask
    assert task.resize(np.zeros((5, 7), np.uint8)).shape == (32, 48)


def test_round_trip_through_json():
    for task in (CutoutTask(), CutoutTask(320), CutoutTask((320, 480), (1, 2, 3), (4, 5, 6), True)):
        values = json.loads(json.dumps(task.to_dict()))
        assert values["kind"] == "cutout" and task_from_dict(values) == task == as_task(values)
        assert hash(task_from_dict(values)) == hash(task)
    assert CutoutTask(320).size == (320, 320)


def test_as_task():
    task = CutoutTask((64, 32))
    assert as_task(task) is task and as_task(None) == CutoutTask()
    assert as_task({"type": CutoutTask, "size": [64, 32]}) == as_task({"size": (64, 32)}) == task
    values = {"kind": "cutout", "size": (64, 32)}
    assert task_from_dict(values) == task and "kind" in values  # not consumed
    with pytest.raises(ValueError, match=r"unknown task 'depth'; known: cutout"):
        task_from_dict({"kind": "depth"})
    with pytest.raises(ValueError, match="unknown task None"):
        task_from_dict({})


@pytest.mark.parametrize("size", [(0, 32), (31, 64), (32.5, 64), (-64, 64), (64,), (64, 64, 3), 16])
def test_invalid_sizes(size):
    with pytest.raises(ValueError, match=r"size must be two whole numbers >= 32"):
        CutoutTask(size)


@pytest.mark.parametrize("values", [{"std": (0, 1, 1)}, {"std": (1, -1, 1)}, {"mean": (1, 2)}, {"std": (1.0,)}])
def test_invalid_constants(values):
    with pytest.raises(ValueError, match=r"mean|std"):
        CutoutTask(**values)


def test_importing_tasks_loads_no_torch():
    code = "import sys, dense.tasks, dense.tasks.pictures; sys.exit(bool({'torch', 'mmengine'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_values_are_cut_on_demand():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    exact = cv2.resize(image.astype(np.float32), (64, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(CutoutTask(64, cut=True).resize(image), np.floor(exact))
    assert abs((CutoutTask(64).resize(image) - exact).mean()) < 0.2  # rounded, by OpenCV's fixed point
    alpha = CutoutTask(64, cut=True).decode(np.float32([[0, 0.5, 0.9999, 1]]), (1, 4))
    np.testing.assert_allclose(alpha * 255, [[0, 127, 254, 255]], atol=1e-4)
