"""The detection task: geometry, tensors, and from outputs to objects."""
import numpy as np
import pytest

from dense.tasks import DetectionTask, task_from_dict
from dense.tasks.detection import PADDING, Detections
from dense.tasks.palettes import bright_colours

CLASSES = ("cat", "dog", "cow")


def test_published_sizes():
    task = DetectionTask()
    assert task.classes[0] == "person" and len(task.classes) == len(set(task.palette)) == 80
    for shape, content, size in (((480, 640), (800, 1067), (800, 1088)), ((640, 480), (1067, 800), (1088, 800)),
                                 ((427, 640), (800, 1199), (800, 1216)), ((333, 500), (800, 1201), (800, 1216)),
                                 ((200, 640), (417, 1333), (448, 1344)), ((800, 1333), (800, 1333), (800, 1344)),
                                 ((10, 640), (21, 1333), (64, 1344)), ((4000, 3000), (1067, 800), (1088, 800))):
        plan = task.plan(shape)
        assert (plan.content, plan.size) == (content, size), shape
        fixed = task.plan(shape, "global")
        assert fixed.size == (800, 1344) and fixed.content[0] <= 800 and fixed.content[1] <= 1333
        assert max(s / c for s, c in zip((800, 1333), fixed.content, strict=True)) >= 1
    assert task.fixed_mode == "global"


def test_colours_differ_for_many_classes():
    colours = bright_colours(400)
    assert len(set(colours)) == 400 and min(max(c) for c in colours) > 150
    assert DetectionTask(classes=tuple(map(str, range(400)))).palette == colours


def test_sizes_equal_mmdets():
    mmcv = pytest.importorskip("mmcv", reason="needs the extra 'det'")
    task, rng = DetectionTask(), np.random.default_rng(0)
    for shape in rng.integers(40, 3000, (200, 2)).tolist():
        new = mmcv.rescale_size(shape[::-1], (1333, 800))
        assert task.fitted(tuple(shape)) == new[::-1], shape


def test_tensors_hold_the_picture_and_marked_padding():
    task = DetectionTask((64, 96), longest=None, classes=CLASSES)
    image = np.random.default_rng(0).integers(0, 256, (64, 70, 3), dtype=np.uint8)
    tensor = task.tensor(image)
    assert tensor.shape == (3, 64, 96) and tensor.dtype == np.float32 and tensor.flags.c_contiguous
    assert np.array_equal(tensor[:, :, :70], image.transpose(2, 0, 1)) and (tensor[:, :, 70:] == PADDING).all()
    fed = task.normalise(tensor)
    assert not fed[:, :, 70:].any()
    assert fed[1, 5, 6] == pytest.approx((float(image[5, 6, 1]) - task.mean[1]) / task.std[1], rel=1e-5)
    with pytest.raises(ValueError, match="uint8 RGB"):
        task.tensor(image.astype(np.float32))


def output(*rows):
    return np.array(rows, np.float32)


def test_objects_are_in_the_pictures_pixels_the_surest_first():
    task = DetectionTask((64, 96), classes=CLASSES, threshold=0.25)
    found = task.decode(output([0.1, 0.2, 0.5, 0.6, 0.3, 0.9, 0.0], [-0.5, 0.5, 0.25, 1.5, 0.0, 0.2, 0.4]), (100, 200))
    assert isinstance(found, Detections) and len(found) == 3
    assert found.labels.tolist() == [1, 2, 0] and np.allclose(found.scores, [0.9, 0.4, 0.3])
    assert np.allclose(found.boxes, [[20, 20, 100, 60], [0, 50, 50, 100], [20, 20, 100, 60]])
    assert found[found.labels == 2].scores.tolist() == [np.float32(0.4)]


def test_clip_most_and_threshold():
    rows = output([0.1, 0.2, 0.5, 0.6, 0.3, 0.9, 0.0], [-0.5, 0.5, -0.1, 0.8, 0.0, 0.0, 0.8])
    task = DetectionTask((64, 96), classes=CLASSES, threshold=0.0, most=2)
    assert task.decode(rows, (100, 200)).labels.tolist() == [1]  # the second lies beside the picture
    free = DetectionTask((64, 96), classes=CLASSES, threshold=0.0, most=2, clip=False).decode(rows, (100, 200))
    assert np.allclose(free.boxes[1], [-100, 50, -20, 80])
    assert len(task.decode(rows, (100, 200), threshold=0.95)) == 0
    with pytest.raises(ValueError, match="3 classes takes"):
        task.decode(rows[:, :6], (10, 10))


def test_run_gives_what_decode_gives():
    task = DetectionTask((64, 96), classes=CLASSES, threshold=0.5)
    image = np.zeros((50, 40, 3), np.uint8)
    rows = output([0, 0, 0.5, 1, 0, 0.75, 0])
    seen = []

    def forward(batch):
        seen.append(batch.shape)
        return rows[None]

    found = task.run(image, forward)
    assert seen == [(1, 3, 96, 64)] and np.allclose(found.boxes, [[0, 0, 20, 50]])
    assert len(task.run(image, forward, "global")) == 1 and seen[1] == (1, 3, 64, 96)
    with pytest.raises(ValueError, match="one of fit, global"):
        task.run(image, forward, "tiled")


def test_it_is_plain_values():
    task = DetectionTask((64, 96), classes=CLASSES, threshold=0.2, most=7, clip=False, longest=None)
    assert task_from_dict(task.to_dict()) == task
    assert task.to_dict()["kind"] == "detection"


@pytest.mark.parametrize(("values", "message"), [
    ({"size": (60, 96)}, "multiples of 32"), ({"size": 32}, "at least 64"), ({"classes": ("a", "a")}, "different"),
    ({"classes": ()}, "at least one"), ({"palette": ((0, 0, 0),)}, "palette"), ({"threshold": 1.5}, "threshold"),
    ({"most": 0}, "most"), ({"longest": 10}, "longest"), ({"std": (1, 0, 1)}, "std positive")])
def test_values_that_make_no_sense(values, message):
    with pytest.raises(ValueError, match=message):
        DetectionTask(**values)
