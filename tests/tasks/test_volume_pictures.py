"""Planes of volumes: which way round, at which scale, and through what."""
import itertools

import numpy as np
import pytest

from dense.tasks.volume_pictures import (
    largest_sections,
    orientation,
    plane_of,
    planes_picture,
    three_planes,
    window_of,
)

RAS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def codes():
    for a, b, c in itertools.permutations(("RL", "AP", "SI")):
        for signs in itertools.product((0, 1), repeat=3):
            yield "".join(pair[s] for pair, s in zip((a, b, c), signs, strict=True))


def affine_of(code, spacing=(1.0, 1.0, 1.0), turn=0.0):
    """Where x, y, z grow to, turned by an angle around an odd axis."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (letter, mm) in enumerate(zip(code, spacing, strict=True)):
        axis, sign = RAS[letter]
        affine[axis, column] = sign * mm
    c, s = np.cos(turn), np.sin(turn)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ affine[:3, :3]
    return affine


@pytest.mark.parametrize("code", codes())
@pytest.mark.parametrize("turn", [0, 0.5])
def test_every_orientation_is_shown_the_same_way(code, turn):
    where = orientation(affine_of(code, turn=turn))
    assert where.code == code
    # a body in RAS: one bright voxel right, anterior, superior
    body = np.zeros((4, 6, 8), np.int16)  # (R, A, S)
    body[3, 5, 7] = 9
    axes = [RAS[letter][0] for letter in code]
    stored = body.transpose(axes)  # (x, y, z)
    for axis, letter in enumerate(code):
        if RAS[letter][1] < 0:
            stored = np.flip(stored, axis)
    values = stored.T
    z, y, x = np.argwhere(values == 9)[0]
    at = (z, y, x)
    shapes = {"axial": (6, 4), "coronal": (8, 4), "sagittal": (8, 6)}
    for plane, world in (("axial", 2), ("coronal", 1), ("sagittal", 0)):
        shown = plane_of(values, plane, at[where.axes[world]], where)
        assert shown.shape == shapes[plane] and shown[0, 0] == 9  # right or anterior: left; anterior or superior: above


def test_without_an_affine_no_side_is_claimed():
    assert orientation(None).code == "" and orientation(np.eye(4)).code == "RAS"
    values = np.zeros((4, 6, 8), np.int16)
    plain, lettered = (three_planes(values, None, (1, 1, 1), a, height=100)[0]
                       for a in (None, np.diag([-1, -1, 1, 1.0])))
    assert (plain[22:] <= 27).all() and (lettered[22:] > 200).any()


def test_planes_go_through_the_largest_sections():
    labels = np.zeros((9, 10, 11), np.uint8)
    labels[2:5, 3, 4:9] = 1
    labels[4, 3:8, 4] = 2
    assert largest_sections(labels) == (4, 3, 4)
    assert largest_sections(labels * 0) == (4, 5, 5)


def test_the_scale_is_that_of_millimetres():
    values = np.zeros((10, 40, 20), np.float32)
    values[:] = 1
    values[0, 0, 0] = 0
    panels = three_planes(values, None, (4, 1, 3), None, height=200)  # 40 x 40 x 60 mm
    sizes = []
    for panel in panels:
        y, x = np.nonzero(panel[22:, :, 0] != 24)
        sizes.append((int(np.ptp(y)) + 1, int(np.ptp(x)) + 1))
    assert sizes == [(200, 300), (200, 300), (200, 200)]
    assert planes_picture(panels, [("a", (255, 0, 0))]).shape == (200 + 22 + 24, 300 + 300 + 200 + 8, 3)


def test_classes_are_in_their_colours_and_voxels_stay_voxels():
    values = np.full((4, 4, 4), 50, np.int16)
    values[0] = 0
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[:, 1:3, 1:3] = 2
    panel = three_planes(values, labels, (1, 1, 1), None, ((0, 0, 0), (9, 9, 9), (200, 0, 0)), 100, opacity=1)[0][22:]
    assert (panel[26:74, 26:74] == (200, 0, 0)).all() and not (panel[:24, :24] == (200, 0, 0)).all(-1).any()


def test_the_window_leaves_out_air_and_outliers():
    values = np.full((50, 50, 50), -3024.0)
    values[10:40, 10:40, 10:40] = np.random.default_rng(0).uniform(0, 100, (30, 30, 30))
    values[20, 20, 20] = 1e9
    low, high = window_of(values)
    assert 0 <= low < 3 and 97 < high < 101
    assert window_of(np.zeros((3, 3, 3))) == (0, 1)


def test_a_volume_of_odd_shape_is_still_a_picture():
    for shape, spacing in (((2, 3, 500), (1, 1, 1)), ((400, 2, 2), (5, 0.1, 0.1))):
        panels = three_planes(np.ones(shape, np.uint8), np.ones(shape, np.uint8), spacing, height=120)
        assert all(p.shape[0] == 142 and p.shape[1] <= 490 for p in panels)
