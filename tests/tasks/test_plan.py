"""Tiles cover the picture, and a tiled run adds detail where the overview is unsure, without seams."""
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.tasks import CutoutTask
from dense.tasks.cutout import ZOOM, mean_log_odds
from dense.tasks.plan import Plan, Window, blend, starts, tile_windows


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
    ("tiled", (60, 64), (64, 64), 0), ("tiled", (65, 20), (64, 64), 2), ("tiled", (128, 128), (64, 64), 9),
    ("tiled", (64 * 5, 40), (64, 64), 2 + 4 + 7)])
def test_modes(mode, shape, size, tiles):
    plan = CutoutTask(64).plan(shape, mode)
    assert plan.size == size and len(plan.tiles) == tiles and plan.overview == Window(0, 0, *shape)


@given(height=st.integers(1, 1200), width=st.integers(1, 1200))
@settings(max_examples=60, deadline=None)
def test_passes_magnify_step_by_step_down_to_the_pictures_own_resolution(height, width):
    plan = CutoutTask((96, 64)).plan((height, width), "tiled")
    scales = [max(height / 96, width / 64)]
    for (h, w), tiles in groupby(plan.tiles, lambda t: (t.height, t.width)):
        scales.append(max(h / 96, w / 64))
        covered = np.zeros((height, width), bool)
        for tile in tiles:
            covered[tile.slices] = True
        assert covered.all()
    steps = np.divide(scales[:-1], scales[1:])
    assert (steps > 1).all() and (steps <= 1.05 * ZOOM).all()  # sides are whole pixels
    assert scales[-1] <= 1 and (len(scales) > 1) == (scales[0] > 1)


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


# -- the overview's consent


@given(p=st.floats(0, 1), q=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_the_mean_of_log_odds(p, q):
    a, b = (np.array([v], np.float32) for v in (p, q))
    both = float(mean_log_odds(a, b)[0])
    assert abs(float(mean_log_odds(a, a)[0]) - p) < 1e-6  # what both say stays
    assert abs(both - float(mean_log_odds(b, a)[0])) < 1e-5 and min(p, q) - 1e-6 <= both <= max(p, q) + 1e-6
    assert abs(both + float(mean_log_odds(1 - a, 1 - b)[0]) - 1) < 1e-3
    if abs(p + q - 1) > 1e-2:
        assert (both > 0.5) == (p + q > 1)  # the surer one wins


def test_two_certain_ones_stay_certain():
    ends = np.array([0, 1], np.float32)
    assert np.array_equal(mean_log_odds(ends, ends), ends)
    assert mean_log_odds(ends, ends[::-1]) == pytest.approx([0.5, 0.5], abs=1e-5)


@pytest.mark.parametrize(("claim", "overview", "foreground"), [(0.45, 0.06, False), (0.78, 0.4, True),
                                                               (0.55, 0.94, True), (0.22, 0.6, False)])
def test_what_a_tile_takes_for_a_subject_needs_the_overviews_consent(claim, overview, foreground):
    image, task, calls = np.zeros((256, 256, 3), np.uint8), CutoutTask(128), []

    def forward(batch: np.ndarray) -> np.ndarray:
        calls.append(len(batch))
        return np.full_like(batch[:, :1], overview if len(calls) == 1 else claim)

    alpha = task.run(image, forward, "tiled")
    assert len(calls) == 10 and np.ptp(alpha) < 1e-5
    assert (alpha > 0.5).all() == foreground and (alpha < 0.5).all() != foreground
    assert min(claim, overview) < alpha[0, 0] < max(claim, overview)  # both are heard


@pytest.mark.parametrize(("claim", "overview"), [(0.05, 0.95), (0.95, 0.05)])
def test_tiles_that_contradict_the_overview_at_large_are_left_out(claim, overview):
    calls = []

    def forward(batch: np.ndarray) -> np.ndarray:
        calls.append(len(batch))
        return np.full_like(batch[:, :1], overview if len(calls) == 1 else claim)

    alpha = CutoutTask(128).run(np.zeros((256, 256, 3), np.uint8), forward, "tiled")
    np.testing.assert_allclose(alpha, overview, atol=1e-5)


def test_the_published_stretch_is_not_applied_to_tiles():
    """A tile without a subject, stretched to its own minimum and maximum, would be full of one."""
    rng, calls = np.random.default_rng(0), []

    def forward(batch: np.ndarray) -> np.ndarray:
        calls.append(len(batch))
        if len(calls) == 1:
            return np.linspace(0, 1, 128, dtype=np.float32)[None, None, None].repeat(128, 2)
        return 0.01 + 0.001 * rng.random(batch[:, :1].shape, np.float32)

    task = CutoutTask(128, min_max=True)
    image = np.zeros((300, 300, 3), np.uint8)
    assert task.run(image, forward, "tiled")[:, 100:200].max() < 0.25


# -- no seams


@pytest.mark.parametrize("value", [0.0, 0.03, 0.2, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("shape", [(300, 300), (700, 150), (900, 1000)])
def test_a_network_that_always_says_the_same_leaves_no_trace_of_tiles(value, shape):
    image = np.zeros((*shape, 3), np.uint8)
    alpha = CutoutTask(96).run(image, lambda batch: np.full_like(batch[:, :1], value), "tiled")
    assert np.abs(alpha - value).max() < 1e-4


def test_a_network_that_reads_a_ramp_gives_a_ramp():
    ramp = np.linspace(20, 235, 700)[None, :].repeat(500, 0)
    image = np.repeat(np.rint(ramp)[..., None], 3, axis=2).astype(np.uint8)
    alpha = CutoutTask(96).run(image, soft, "tiled")
    assert np.abs(alpha - ramp / 255).max() < 0.01
    assert np.abs(np.diff(alpha, axis=0)).max() < 1e-3


def vignetted(batch: np.ndarray) -> np.ndarray:
    """A network that sees less well near the border of what it is fed: the answer fades to one half there."""
    side = np.minimum(1, np.minimum(np.arange(128) + 1, 128 - np.arange(128)) / 24)
    return (0.5 + np.outer(side, side) * (batch[:, :1] / 255 - 0.5)).astype(np.float32)


def soft_edges() -> np.ndarray:
    """Bars whose edges are wide for a tile and narrow for the overview."""
    wave = 127.5 + 110 * np.sin(np.arange(224) / 9.0)
    return np.rint(np.repeat(wave[None, :, None].repeat(224, 0), 3, axis=2)).astype(np.uint8)


def pasted(image: np.ndarray, task: CutoutTask, tiles) -> np.ndarray:
    """The tiles' answers side by side, the later over the earlier."""
    alpha = np.zeros(image.shape[:2], np.float32)
    for tile in tiles:
        alpha[tile.slices] = vignetted(task.tensor(image, None, tile)[None])[0, 0]
    return alpha


def test_borders_of_tiles_do_not_show():
    image, task = soft_edges(), CutoutTask(128)
    alpha = task.run(image, vignetted, "tiled")
    plain = pasted(image, task, task.plan(image.shape[:2], "tiled").tiles)
    # along the bars nothing changes but by tiles
    step, bare = (np.abs(np.diff(a, axis=0)).max() for a in (alpha, plain))
    assert step < 0.03 < 0.3 < bare


def test_where_tiles_begin_hardly_matters():
    image, task = soft_edges(), CutoutTask(128)
    plan = task.plan(image.shape[:2], "tiled")
    overview = vignetted(task.tensor(image, plan)[None])[0]
    end = 224 - 128
    shifted = tuple(dict.fromkeys(  # by less than what tiles share, so that all of the picture stays covered
        Window(y, x, 128, 128) for t in plan.tiles
        for y in ({t.y, max(0, t.y - 17)} if t.y == end else {max(0, t.y - 17)})
        for x in ({t.x, max(0, t.x - 29)} if t.x == end else {max(0, t.x - 29)})))
    a, b = (task.finish(image, Plan(plan.shape, plan.size, plan.overview, tiles), overview,
                        lambda tensors: [vignetted(t[None])[0] for t in tensors]) for tiles in (plan.tiles, shifted))
    bare = np.abs(pasted(image, task, plan.tiles) - pasted(image, task, shifted))
    difference = np.abs(a - b)
    assert not np.array_equal(a, b)
    assert difference.mean() < 0.4 * bare.mean() and difference.max() < 0.4 * bare.max()
