"""The semantic task against PyTorch's interpolation and argmax, which the published evaluation uses."""
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dense.tasks import SemanticTask, as_task, task_from_dict
from dense.tasks.palettes import CITYSCAPES, distinct_colours
from dense.tasks.plan import blend_weights

CLASSES = ("sky", "road", "house", "tree", "car")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def random_logits(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def interpolate(array: np.ndarray, shape: tuple[int, int], align_corners: bool) -> np.ndarray:
    """In double: PyTorch works out where each pixel lies in the precision of the values."""
    values = torch.from_numpy(array)[None].double()
    return F.interpolate(values, shape, mode="bilinear", align_corners=align_corners)[0].numpy()


# logits -> classes

@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("shape", "cells"), [((64, 96), (16, 24)), ((130, 1100), (33, 275)), ((97, 131), (25, 33)),
                                              ((64, 64), (1, 1)), ((64, 70), (64, 70))])
def test_decode_is_interpolate_and_argmax(shape, cells, align_corners):
    task = SemanticTask(classes=CLASSES, align_corners=align_corners)
    logits = random_logits(5, *cells)
    expected = interpolate(logits, shape, align_corners)
    plan = task.plan(shape, "whole")
    found = task.upsampled(logits, plan, plan.overview)(slice(0, shape[0]), slice(0, shape[1]))
    assert np.abs(found - expected).max() < 1e-5
    labels = task.decode(logits, plan)
    assert labels.shape == shape and labels.dtype == np.uint8
    best, second = np.sort(expected, 0)[:-3:-1]
    clear = best - second > 1e-4
    assert clear.mean() > 0.99
    assert np.array_equal(labels[clear], expected.argmax(0)[clear])


def test_equal_logits_give_the_first_class():
    logits = np.zeros((5, 8, 8), np.float32)
    logits[[2, 3]] = 1
    task = SemanticTask(classes=CLASSES)
    assert np.array_equal(task.decode(logits, task.plan((64, 64), "whole")), np.full((64, 64), 2))


def test_many_classes_need_sixteen_bits():
    task = SemanticTask(classes=tuple(f"c{i}" for i in range(300)), ignore_index=65535)
    logits = np.zeros((300, 4, 4), np.float32)
    logits[299] = 1
    labels = task.decode(logits, task.plan((64, 64), "whole"))
    assert labels.dtype == np.uint16 and (labels == 299).all()
    assert task.colour(np.array([[299, 65535]], np.uint16)).tolist() == [[list(task.palette[299]), [0, 0, 0]]]


@pytest.mark.parametrize("align_corners", [False, True])
def test_padding_and_scaling_are_undone(align_corners):
    """A picture whose classes are vertical stripes comes back where it was, whatever was done to it."""
    task = SemanticTask((128, 256), classes=CLASSES, align_corners=align_corners)
    for shape in [(300, 300), (128, 256), (60, 200), (400, 500)]:
        plan = task.plan(shape)
        stripes = np.repeat((np.arange(shape[1]) * 5 // shape[1])[None], shape[0], 0)
        image = np.repeat((stripes * 50).astype(np.uint8)[..., None], 3, 2)
        tensor = task.tensor(image, plan)
        assert tensor.shape == (3, 128, 256)
        logits = np.stack([-np.abs(tensor[0] - 50 * k) for k in range(5)])[:, ::2, ::2]
        wrong = task.decode(logits, plan) != stripes
        assert wrong.mean() < 0.05, shape  # a pixel or two at each of the four borders


def test_the_padding_is_the_mean_colour_and_the_content_keeps_its_shape():
    task = SemanticTask((128, 256), classes=CLASSES)
    plan = task.plan((300, 200))
    assert task.content(plan, plan.overview) == (128, 85)
    normal = task.normalise(task.tensor(picture(300, 200), plan))
    assert np.abs(normal[:, :, 85:]).max() < 1e-6 and np.abs(normal[:, :, :85]).max() > 1
    stretched = SemanticTask((128, 256), classes=CLASSES, fit="stretch")
    assert stretched.content(plan, plan.overview) == (128, 256)


# windows

def test_plans():
    task = SemanticTask((128, 256), classes=CLASSES, overlap=0.25)
    assert task.plan((100, 100), "global").size == (128, 256)
    assert task.plan((100, 333), "whole").size == (100, 333)
    assert task.plan((30, 500), "whole").size == (64, 500)
    plan = task.plan((300, 300), "sliding")
    assert plan.overview is None and plan.size == (128, 256)
    assert len(plan.tiles) == 3 * 2
    assert {(t.height, t.width) for t in plan.tiles} == {(128, 256)}
    small = task.plan((50, 300), "sliding")
    assert {(t.height, t.width) for t in small.tiles} == {(50, 256)}
    with pytest.raises(ValueError, match="mode must be one of global, whole, sliding, not 'tiled'"):
        task.plan((100, 100), "tiled")


@pytest.mark.parametrize("align_corners", [False, True])
def test_merge_is_the_weighted_mean_of_the_windows(align_corners):
    task = SemanticTask((96, 128), classes=CLASSES, align_corners=align_corners)
    shape = (150, 1200)
    plan = task.plan(shape, "sliding")
    outputs = [random_logits(5, 24, 32, seed=i) for i in range(len(plan.tiles))]
    total = np.zeros((5, *shape))
    for tile, output in zip(plan.tiles, outputs, strict=True):
        total[:, *tile.slices] += blend_weights(96, 128) * interpolate(output, (96, 128), align_corners)
    labels = task.merge(outputs, plan)
    best, second = np.sort(total, 0)[:-3:-1]
    clear = best - second > 1e-3
    assert np.array_equal(labels[clear], total.argmax(0)[clear]) and clear.mean() > 0.9


@pytest.mark.parametrize("mode", ["global", "whole", "sliding"])
@pytest.mark.parametrize("shape", [(90, 120), (40, 300), (300, 260)])
def test_run(mode, shape):
    task = SemanticTask((96, 128), classes=CLASSES)
    seen = []

    def forward(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.shape)
        assert batch.dtype == np.float32 and batch.max() > 1
        levels = np.arange(5, dtype=np.float32).reshape(5, 1, 1) * 60
        return -np.abs(batch[:, :1] - levels)[:, :, ::4, ::4]

    image = np.repeat((np.arange(shape[1]) * 5 // shape[1] * 60).astype(np.uint8)[None, :, None], shape[0], 0)
    image = np.repeat(image, 3, 2)
    labels = task.run(image, forward, mode, batch=2)
    assert labels.shape == shape
    assert (labels == image[..., 0] // 60).mean() > (0.85 if mode == "global" else 0.9)
    assert {s[1:] for s in seen} == {(3, *task.plan(shape, mode).size)}


def test_a_network_with_other_classes_is_an_error():
    task = SemanticTask(classes=CLASSES)
    with pytest.raises(ValueError, match="gives 7 classes, the task has 5"):
        task.decode(random_logits(7, 4, 4), task.plan((64, 64), "whole"))


@pytest.mark.parametrize("array", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_tensor_refuses_other_arrays(array):
    with pytest.raises(ValueError, match=r"uint8 RGB picture \(H, W, 3\)"):
        SemanticTask().tensor(array)


# values

def test_defaults_are_cityscapes():
    task = SemanticTask()
    assert task.size == (1024, 2048) and task.classes[:2] == ("road", "sidewalk") and len(task.classes) == 19
    assert task.palette[task.classes.index("car")] == (0, 0, 142) == CITYSCAPES["car"]


def test_round_trip_through_json():
    for task in (SemanticTask(), SemanticTask(320, classes=["a", "b"], palette=[[1, 2, 3], [4, 5, 6]]),
                 SemanticTask((320, 480), (1, 2, 3), (4, 5, 6), CLASSES, (), True, 254, "stretch", 0.5)):
        values = json.loads(json.dumps(task.to_dict()))
        assert values["kind"] == "semantic" and task_from_dict(values) == task == as_task(values)
        assert hash(task_from_dict(values)) == hash(task)
    assert as_task({"type": SemanticTask, "size": [64, 32]}, "semantic") == SemanticTask((64, 32))


def test_colours():
    task = SemanticTask(classes=("a", "b", "c"), palette=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    assert task.colour(np.array([[0, 2, 255]], np.uint8)).tolist() == [[[1, 2, 3], [7, 8, 9], [0, 0, 0]]]
    assert len(set(distinct_colours(256))) == 256
    assert distinct_colours(4) == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    assert SemanticTask(classes=CLASSES).palette == distinct_colours(5)


@pytest.mark.parametrize(("values", "message"), [
    ({"size": (16, 64)}, "size"), ({"std": (0, 1, 1)}, "std"), ({"mean": (1, 2)}, "mean"), ({"fit": "crop"}, "fit"),
    ({"overlap": 0.95}, "overlap"), ({"classes": ("a",)}, "two different"), ({"classes": ("a", "a")}, "two different"),
    ({"ignore_index": 3}, "is the class 'wall'"), ({"palette": ((1, 2, 3),)}, "one RGB colour"),
    ({"classes": ("a", "b"), "palette": ((1, 2, 3), (1, 2, 256))}, "one RGB colour")])
def test_invalid_values(values, message):
    with pytest.raises(ValueError, match=message):
        SemanticTask(**values)


def test_importing_it_loads_no_torch():
    code = "import sys, dense.tasks.semantic; sys.exit(bool({'torch', 'mmengine'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
