"""Tiles cover the picture, and a tiled run adds detail where the overview is unsure, without seams."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.tasks import CutoutTask
from dense.tasks.plan import Window, blend, starts, tile_windows


@given(length=st.integers(1, 5000), tile=st.integers(1, 1200), overlap=st.floats(0, 0.89))
@settings(max_examples=200, deadline=None)
def test_tiles_cover_a_length_and_overlap_enough(length, tile, overlap):
    first = starts(length, tile, overlap)
    assert first[0] == 0 and first[-1] == max(0, length - tile)
    steps = np.diff(first)
    assert (steps > 0).all() and (steps <= max(1, tile * (1 - overlap)) + 1).all()


@given(height=st.integers(1, 400), width=st.integers(1, 400), overlap=st.floats(0, 0.8))
@settings(max_examples=50, deadline=None)
def test_blending_equal_values_gives_them_back(height, width, overlap):
    windows = tile_windows((height, width), (100, 70), overlap)
    ramp = np.add.outer(np.arange(height), np.arange(width)).astype(np.float32)
    value, weight = blend((height, width), windows, [ramp[w.slices] for w in windows])
    assert (weight > 0).all() and np.allclose(value, ramp, atol=1e-3)


def test_blending_nothing_says_so_by_its_weights():
    value, weight = blend((4, 6), [Window(0, 0, 4, 3)], [np.ones((4, 3), np.float32)])
    assert (weight[:, :3] > 0).all() and not weight[:, 3:].any() and not value[:, 3:].any()


@pytest.mark.parametrize(("mode", "shape", "size", "tiles"), [
    ("global", (900, 700), (64, 64), 0), ("whole", (900, 700), (896, 704), 0), ("whole", (7, 9), (64, 64), 0),
    ("tiled", (60, 64), (64, 64), 0), ("tiled", (65, 20), (64, 64), 2), ("tiled", (128, 128), (64, 64), 9)])
def test_modes(mode, shape, size, tiles):
    plan = CutoutTask(64).plan(shape, mode)
    assert plan.size == size and len(plan.tiles) == tiles and plan.overview == Window(0, 0, *shape)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="global, whole, tiled"):
        CutoutTask(64).plan((9, 9), "tile")


def striped(height: int = 512, width: int = 640) -> np.ndarray:
    """A disc with slits six pixels wide, as a picture."""
    y, x = np.mgrid[:height, :width]
    disc = ((y - height / 2) ** 2 + (x - width / 2) ** 2 < (0.4 * height) ** 2) & (x % 24 > 5)
    return np.repeat((255 * disc).astype(np.uint8)[..., None], 3, axis=2)


def soft(batch: np.ndarray) -> np.ndarray:
    """A network that reads the mask off the picture."""
    return batch[:, :1] / 255


def test_tiles_bring_back_what_the_overview_blurred():
    image, task = striped(), CutoutTask(128)
    truth = image[..., 0] / 255
    coarse, fine = (np.abs(task.run(image, soft, mode) - truth).mean() for mode in ("global", "tiled"))
    assert fine < 0.15 * coarse


def test_a_tile_has_no_say_where_the_overview_is_sure():
    image, task, seen = striped(), CutoutTask(128), []

    def mistaken(batch: np.ndarray) -> np.ndarray:
        """Takes every tile for foreground, and knows the whole picture."""
        seen.append(batch)
        return soft(batch) if len(seen) == 1 else np.ones_like(batch[:, :1])

    overview = task.run(image, soft)
    alpha = task.run(image, mistaken, "tiled")
    far = np.zeros(alpha.shape, bool)
    far[:30], far[-30:], far[:, :30], far[:, -30:] = True, True, True, True  # no object near
    assert np.array_equal(alpha[far], overview[far]) and not np.array_equal(alpha, overview)


def test_batches_change_nothing_and_empty_tiles_are_not_run():
    image, task, sizes = striped(), CutoutTask(128), []
    image[:, 330:] = 0

    def counting(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        return soft(batch)

    one = task.run(image, counting, "tiled")
    single, sizes[:] = len(sizes), []
    four = task.run(image, counting, "tiled", batch=4)
    assert np.array_equal(one, four) and sizes[0] == 1 and max(sizes) == 4
    assert sum(sizes) == single < 1 + len(task.plan(image.shape[:2], "tiled").tiles)
