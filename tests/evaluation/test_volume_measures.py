"""Measures of volumes against cases worked by hand and against MONAI's."""
import math

import numpy as np
import pytest

from dense.evaluation.volume import (
    ClassFigures,
    measure_volume,
    summarise_volumes,
    surface,
    surface_areas,
    volume_table,
)

metrics = pytest.importorskip("monai.metrics", reason="surfaces need the extra 'medical'")


def blocks(*boxes, shape=(12, 14, 16)):
    """uint8 labels; boxes as (class, z0, z1, y0, y1, x0, x1)."""
    labels = np.zeros(shape, np.uint8)
    for c, z0, z1, y0, y1, x0, x1 in boxes:
        labels[z0:z1, y0:y1, x0:x1] = c
    return labels


def random_labels(seed, shape=(20, 24, 18), classes=4):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    return np.argmax([gaussian_filter(rng.standard_normal(shape), 2) for _ in range(classes)], 0).astype(np.uint8)


def test_two_slabs_worked_by_hand():
    # slabs of 4 and 3 voxels, 2 of them in common; what is around is not known, so that only the faces are surface
    pred, truth = blocks((1, 2, 6, 0, 14, 0, 16)), blocks((1, 4, 7, 0, 14, 0, 16))
    truth[:, [0, -1]], truth[..., [0, -1]] = 9, 9
    figures, = measure_volume(pred, truth, (3.0, 1.0, 0.5), 2, tolerance=3.0, ignore=9)
    assert figures.dice == pytest.approx(2 * 2 / 7)
    assert figures.ml == pytest.approx(12 * 14 * 4 * 1.5 / 1000)
    assert figures.truth_ml == pytest.approx(12 * 14 * 3 * 1.5 / 1000)
    assert figures.difference == pytest.approx(12 * 14 * 1.5 / 1000)
    # faces at 2 and 6 against 4 and 7: two of the four are 3 mm from the other surface, two are 6 mm from it
    assert figures.surface_dice == pytest.approx(0.5) and figures.hd95 == pytest.approx(6.0)
    assert measure_volume(pred, truth, (3.0, 1.0, 0.5), 2, tolerance=2.9, ignore=9)[0].surface_dice == 0
    assert measure_volume(pred, truth, (3.0, 1.0, 0.5), 2, tolerance=6, ignore=9)[0].surface_dice == 1


def test_a_single_voxel_that_is_moved_worked_by_hand():
    # its eight corners are alike in area; moved by (0, 3, 4), a quarter of them each is sqrt 13, 18, 20 and 25 away
    one, other = blocks((1, 2, 3, 2, 3, 2, 3)), blocks((1, 2, 3, 5, 6, 6, 7))
    for tolerance, share in ((3.6, 0), (3.61, 0.25), (4.3, 0.5), (4.5, 0.75), (5.0, 1)):
        figures, = measure_volume(one, other, (9.0, 1.0, 1.0), 2, tolerance=tolerance)
        assert (figures.dice, figures.surface_dice) == (0, pytest.approx(share))
        assert figures.hd95 == pytest.approx(5)
    assert measure_volume(one, other, (1.0, 2.0, 0.1), 2)[0].hd95 == pytest.approx(math.hypot(6, 0.4))


def test_a_tolerance_is_met_exactly_whatever_floats_make_of_it():
    # 3 * 0.1 > 0.3 in floats
    one, other = blocks((1, 2, 3, 2, 3, 2, 3)), blocks((1, 2, 3, 2, 3, 5, 6))
    assert measure_volume(one, other, (1, 1, 0.1), 2, tolerance=0.3)[0].surface_dice == 1


def test_areas_of_flat_pieces():
    areas = surface_areas((5.0, 2.0, 1.0))
    assert [areas[code] for code in (0b1111, 0b11110000, 0b110011, 0b10101010)] == pytest.approx([2, 2, 5, 10])
    assert areas[0] == areas[255] == 0
    cube = np.pad(np.ones((30, 30, 30), bool), 2)
    assert surface(cube, surface_areas((1.0, 1.0, 1.0)))[1].sum() == pytest.approx(6 * 30**2, rel=0.05)


def test_missing_in_one_and_missing_in_both():
    truth = blocks((1, 2, 6, 2, 6, 2, 6))
    missed, invented, absent = measure_volume(blocks((2, 0, 2, 0, 2, 0, 2)), truth, (2.0, 1.0, 1.0), 4)
    diagonal = math.sqrt(24**2 + 14**2 + 16**2)
    assert missed == ClassFigures(0.0, 0.0, pytest.approx(diagonal), 0.0, pytest.approx(0.128))
    assert invented == ClassFigures(0.0, 0.0, pytest.approx(diagonal), pytest.approx(0.016), 0.0)
    assert absent == ClassFigures(None, None, None, 0.0, 0.0) and absent.difference is None


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_monai_agrees(seed, spacing):
    import torch
    from torch.nn.functional import one_hot

    truth, pred = random_labels(seed), random_labels(seed + 10)
    pred = np.where(np.random.default_rng(seed).random(pred.shape) < 0.8, truth, pred)
    one, other = (one_hot(torch.from_numpy(a.astype(np.int64)), 4).permute(3, 0, 1, 2)[None] for a in (pred, truth))
    nsd = metrics.compute_surface_dice(one, other, [1.0] * 3, spacing=spacing, use_subvoxels=True)[0].numpy()
    dice = metrics.compute_dice(one, other, include_background=False)[0].numpy()
    found = measure_volume(pred, truth, spacing, 4)
    assert [f.surface_dice for f in found] == pytest.approx(nsd.tolist(), rel=1e-5)
    assert [f.dice for f in found] == pytest.approx(dice.tolist(), rel=1e-6)


@pytest.mark.parametrize(("spacing", "tolerance", "nsd", "hd95"), [
    ((1, 1, 1), 0.4, 0.2831, 1.7321), ((1, 1, 1), 1.1, 0.8087, 1.7321), ((3, 1, 1), 0.4, 0.2789, 3.0),
    ((3, 1, 1), 1.1, 0.7724, 3.0), ((3, 1, 1), 3.3, 0.9895, 3.0)])
def test_deepmind_s_own_figures(spacing, tolerance, nsd, hd95):
    # of surface-distance 0.1, by tests/oracles/make_surface_reference.py
    truth, pred = ball((40, 40, 40), 12), ball((40, 40, 40), 13, (0.5, 0.5, 0))
    figures, = measure_volume(pred, truth, spacing, 2, tolerance)
    assert figures.surface_dice == pytest.approx(nsd, abs=1e-4) and figures.hd95 == pytest.approx(hd95, abs=1e-4)


def ball(shape, radius, shift=(0, 0, 0)):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    away = sum((g - n / 2 - s) ** 2 for g, n, s in zip(grid, shape, shift, strict=True))
    return (away < radius**2).astype(np.uint8)


def test_ignored_voxels_count_in_nothing_and_make_no_surface():
    # a bar along x, of which the last half is not known
    truth = blocks((1, 2, 6, 2, 6, 0, 16))
    truth[..., 8:] = 255
    pred = blocks((1, 2, 6, 2, 6, 0, 16))
    figures, = measure_volume(pred, truth, (1, 1, 1), 2, ignore=255)
    assert (figures.dice, figures.surface_dice, figures.hd95, figures.ml) == (1, 1, 0, pytest.approx(0.128))
    noise = np.where(truth == 255, np.random.default_rng(0).integers(0, 2, truth.shape), pred).astype(np.uint8)
    assert measure_volume(noise, truth, (1, 1, 1), 2, ignore=255) == [figures]


def test_figures_do_not_depend_on_where_in_the_volume_or_on_other_classes():
    one, other = random_labels(3), random_labels(4)
    alone = measure_volume(one, other, (2, 1, 1), 4)
    wide = [np.pad(a, ((3, 8), (0, 5), (7, 0)), mode="edge") for a in (one, other)]
    for array in wide:
        array[:3], array[-8:], array[:, -5:], array[..., :7] = 0, 0, 0, 0
    assert [f.hd95 for f in measure_volume(*wide, (2, 1, 1), 4)] == pytest.approx([f.hd95 for f in alone])
    shuffled = measure_volume(*(np.array([0, 3, 1, 2], np.uint8)[a] for a in (one, other)), (2, 1, 1), 4)
    assert [shuffled[2], shuffled[0], shuffled[1]] == alone


@pytest.mark.parametrize(("change", "message"), [
    (dict(pred=np.zeros((2, 3, 4))), "pred is float64"), (dict(pred=np.zeros((3, 4), int)), r"\(3, 4\)"),
    (dict(pred=np.zeros((2, 3, 5), int)), "different grids"), (dict(truth=np.full((2, 3, 4), 7)), "truth has the va"),
    (dict(pred=np.full((2, 3, 4), -1)), "values -1"), (dict(spacing=(1, 0, 1)), "spacing must"),
    (dict(spacing=(1, 1)), "spacing must"), (dict(tolerance=-1), "tolerance must")])
def test_what_is_refused(change, message):
    values = dict(pred=np.zeros((2, 3, 4), int), truth=np.zeros((2, 3, 4), int), spacing=(1, 1, 1), classes=3)
    with pytest.raises(ValueError, match=message):
        measure_volume(**values | change)


def test_means_are_over_cases_then_over_classes():
    cases = [[ClassFigures(0.8, 0.9, 2.0, 10.0, 8.0), ClassFigures(0.4, 0.2, 8.0, 1.0, 4.0)],
             [ClassFigures(0.6, 0.7, 4.0, 5.0, 9.0), ClassFigures(None, None, None, 0.0, 0.0)]]
    figures = summarise_volumes(cases, ("background", "liver", "spleen"))
    assert figures == pytest.approx({
        "DSC": 0.55, "NSD": 0.5, "HD95": 5.5, "VD": 3.0, "DSC.liver": 0.7, "DSC.spleen": 0.4, "NSD.liver": 0.8,
        "NSD.spleen": 0.2, "HD95.liver": 3.0, "HD95.spleen": 8.0, "VD.liver": 3.0, "VD.spleen": 3.0})
    table = volume_table(figures, ("background", "liver", "spleen"))
    assert "| liver | 0.700 | 0.800 | 3.000 | 3.000 |" in table and "| mean | 0.550 |" in table
    absent = summarise_volumes([[ClassFigures(None, None, None, 0.0, 0.0)]], ("background", "liver"))
    assert absent == {} and "liver" in volume_table({"DSC": 0.5}, ("background", "liver"))
