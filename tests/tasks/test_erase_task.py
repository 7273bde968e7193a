"""The erase task: windows hold what is masked, and nothing else changes."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.errors import ImageError
from dense.io import Picture
from dense.tasks import EraseTask, task_from_dict
from dense.tasks.erase import MULTIPLE, SMALLEST


def negative(batch):
    """A network in use that is easy to tell from the picture."""
    assert batch.dtype == np.float32
    assert batch.shape[1] == 4
    assert set(np.unique(batch[:, 3])) <= {0, 255}
    return 1 - batch[:, :3] / 255


def refuse(batch):
    raise AssertionError("the network was asked")


@st.composite
def pictures(draw):
    """uint8 (H, W, 4) with masks of boxes and specks."""
    height, width = draw(st.integers(1, 260)), draw(st.integers(1, 260))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    image[..., 3] = 0
    for _ in range(draw(st.integers(0, 4))):
        y, x = rng.integers(0, height), rng.integers(0, width)
        image[y:y + rng.integers(1, 90), x:x + rng.integers(1, 90), 3] = rng.integers(128, 256)
    return image


TASKS = st.builds(EraseTask, size=st.sampled_from([(64, 64), (64, 128), (192, 128)]), context=st.integers(0, 50),
                  dilate=st.integers(0, 5), feather=st.integers(0, 6), overlap=st.sampled_from([0, 0.25, 0.5]))


def widened(mask, radius):
    """Pixels within ``radius`` of a masked one, by brute force."""
    out = np.zeros(mask.shape, bool)
    padded = np.pad(mask > 127, radius)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dy * dy + dx * dx <= radius * radius:
                out |= padded[radius + dy:radius + dy + mask.shape[0], radius + dx:radius + dx + mask.shape[1]]
    return out


@settings(max_examples=60, deadline=None)
@given(pictures(), TASKS, st.sampled_from(EraseTask.modes))
def test_only_the_widened_mask_changes_and_its_inside_is_the_networks(image, task, mode):
    before = image.copy()
    out = task.run(image, negative, mode)
    assert np.array_equal(image, before)
    assert out.dtype == np.uint8
    assert out.shape == (*image.shape[:2], 3)
    region = widened(image[..., 3], task.dilate)
    assert np.array_equal(out[~region], image[..., :3][~region])
    if task.feather <= task.dilate:  # then the seam lies in the part that was added
        masked = image[..., 3] > 127
        assert np.array_equal(out[masked], 255 - image[..., :3][masked])


@settings(max_examples=60, deadline=None)
@given(pictures(), TASKS, st.sampled_from(["windows", "tiles"]))
def test_windows_hold_all_of_the_region_and_their_sizes_are_as_promised(image, task, mode):
    plan = task.plan_for(image, mode)
    region = widened(image[..., 3], task.dilate)
    held = np.zeros(image.shape[:2], int)
    for window in plan.tiles:
        assert window.height % MULTIPLE == window.width % MULTIPLE == 0
        assert SMALLEST <= window.height <= task.size[0]
        assert SMALLEST <= window.width <= task.size[1]
        assert mode == "windows" or (window.height, window.width) == task.size
        assert task.tensor(image, plan, window).shape == (4, window.height, window.width)
        held[window.slices] += 1
    assert held[region].all()
    inside = np.zeros(image.shape[:2], int)
    for rectangle in plan.regions:
        inside[rectangle.slices] += 1
    assert inside.max(initial=0) <= 1
    assert inside[region].all()


@pytest.mark.parametrize("mode", EraseTask.modes)
def test_nothing_masked_is_the_identity_and_asks_no_network(mode):
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 4), dtype=np.uint8)
    image[..., 3] = 100
    assert np.array_equal(EraseTask().run(image, refuse, mode), image[..., :3])


def test_a_large_region_is_covered_by_blended_windows():
    image = np.zeros((400, 700, 4), np.uint8)
    image[..., :3] = np.linspace(0, 255, 700)[None, :, None]
    image[100:300, 50:650, 3] = 255
    task = EraseTask(size=(128, 128), context=16)
    out = task.run(image, negative, batch=4)
    masked = image[..., 3] > 127
    assert np.abs(out[masked].astype(int) - (255 - image[..., :3][masked].astype(int))).max() <= 1
    calls = []
    task.run(image, lambda batch: (calls.append(len(batch)), negative(batch))[1], batch=4)
    assert max(calls) == 4


def test_windows_without_anything_masked_are_left_out():
    image = np.zeros((640, 640, 4), np.uint8)
    image[100:540, 100:110, 3] = image[100:110, 100:540, 3] = 255  # a large L: its box is mostly empty
    task = EraseTask(size=(128, 128), context=16)
    plan = task.plan_for(image)
    assert len(plan.regions) == 1
    assert len(plan.tiles) < 2 * (640 // 96 + 1)


def test_context_is_around_what_is_masked_where_the_picture_has_it():
    image = np.zeros((500, 500, 4), np.uint8)
    image[200:230, 240:300, 3] = 255
    (window,) = EraseTask(context=40).plan_for(image).tiles
    assert window.y <= 160
    assert window.y + window.height >= 270
    assert window.x <= 200
    assert window.x + window.width >= 340


def test_the_seam_fades_in():
    image = np.zeros((100, 100, 4), np.uint8)
    image[30:70, 30:70, 3] = 255
    row = EraseTask(dilate=3, feather=3).run(image, negative)[50, :, 0]
    assert row[26] == 0
    assert 0 < row[27] < row[28] < row[29] == row[30] == 255


def test_the_picture_is_mirrored_beyond_its_edge():
    image = np.zeros((20, 30, 4), np.uint8)
    image[..., 0] = np.arange(30)
    image[5:9, 25:, 3] = 255
    tensor = EraseTask(dilate=0).tensor(image)
    assert tensor.shape == (4, 64, 64)
    assert tensor[0, 0, 28:34].tolist() == [28, 29, 28, 27, 26, 25]
    assert tensor[3, 6, 33] == 255


def test_plain_values_come_back():
    task = EraseTask(size=(128, 256), context=20, dilate=1, feather=0, overlap=0.5)
    assert task_from_dict(task.to_dict()) == task


@pytest.mark.parametrize("wrong", [{"size": (100, 128)}, {"size": 32}, {"context": -1}, {"dilate": 1.5},
                                   {"feather": -2}, {"overlap": 0.95}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        EraseTask(**wrong)


def test_pictures_without_a_fitting_mask_are_refused():
    pixels = np.zeros((10, 20, 3), np.uint8)
    with pytest.raises(ImageError, match="mask or boxes"):
        EraseTask().inputs(Picture(pixels, "a.png"))
    with pytest.raises(ImageError, match=r"a\.png.*20 x 10.*10 x 20"):
        EraseTask().inputs(Picture(pixels, "a.png", mask=np.zeros((20, 10), np.uint8)))
    with pytest.raises(ValueError, match="uint8"):
        EraseTask().run(pixels, negative)


def test_a_mask_over_everything_is_said(caplog):
    picture = Picture(np.zeros((10, 20, 3), np.uint8), "a.png", mask=np.full((10, 20), 255, np.uint8))
    EraseTask().inputs(picture)
    assert "a.png" in caplog.text
