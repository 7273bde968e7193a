"""Surfaces: closed, in the right place, of the right size, in files that others can read."""
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("skimage", reason="surfaces need the extra 'medical' (scikit-image)")
from dense.errors import ConfigError
from dense.inference.surfaces import surface_of


def edges(surface):
    """How often each directed edge occurs."""
    f = surface.faces
    return Counter(map(tuple, np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]).tolist()))


def assert_closed(surface):
    """Every edge is passed once in each direction: watertight, and all triangles the same way round."""
    found = edges(surface)
    assert max(found.values()) == 1 and all(found[b, a] == 1 for a, b in found)


def ball(shape=(20, 24, 28), radius=8, centre=(9, 12, 13)):
    z, y, x = np.ogrid[:shape[0], :shape[1], :shape[2]]
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


@pytest.mark.parametrize("smooth", [0, 15])
@pytest.mark.parametrize("affine", [None, np.diag([-1.5, 1.25, 2, 1]), np.array(
    [[-0.9, 0.3, 0.1, 5], [0.3, 0.9, -0.2, -7], [0, 0.2, 1.9, 100], [0, 0, 0, 1.0]])])
def test_a_ball_is_closed_and_where_it_should_be(affine, smooth):
    mask, spacing = ball(), (2, 1.25, 1.5)
    surface = surface_of(mask, spacing, affine, smooth)
    assert_closed(surface)
    turn = np.diag([1.5, 1.25, 2, 1]) if affine is None else affine
    assert surface.volume_ml == pytest.approx(mask.sum() * abs(np.linalg.det(turn[:3, :3])) / 1000, rel=0.02)
    part = surface_of(mask[1:, 2:], spacing, affine, smooth, (1, 2, 0))
    np.testing.assert_allclose(part.vertices, surface.vertices, atol=1e-4)
    centre = turn @ (13, 12, 9, 1)
    np.testing.assert_allclose(surface.vertices.mean(0), centre[:3], atol=0.1)
    assert surface.frame == ("voxels" if affine is None else "RAS")


def test_smoothing_takes_the_steps_and_not_the_volume():
    mask = ball((40, 40, 40), 14, (20, 20, 20))

    def roughness(surface):
        r = np.linalg.norm(surface.vertices - surface.vertices.mean(0), axis=1)
        return r.std()

    rough, smooth = (surface_of(mask, (1, 1, 1), None, n) for n in (0, 15))
    assert roughness(smooth) < 0.6 * roughness(rough)
    assert smooth.volume_ml == pytest.approx(rough.volume_ml, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_noise_at_the_borders_is_closed_too(seed):
    mask = np.random.default_rng(seed).random((9, 10, 11)) < 0.5
    assert_closed(surface_of(mask, (1, 1, 1), None, 0))
    one = np.zeros((3, 3, 3), bool)
    one[0, 0, 0] = True
    assert_closed(surface_of(one, (1, 1, 1)))
    assert surface_of(~(one | ~one), (1, 1, 1)) is None


def test_files_hold_what_they_should(tmp_path):
    surface = surface_of(ball(), (2, 1.25, 1.5), np.diag([-1.5, 1.25, 2, 1]))
    data = surface.save(tmp_path / "a.ply", "left kidney").read_bytes()
    head, body = data.split(b"end_header\n", 1)
    v, f = len(surface.vertices), len(surface.faces)
    assert b"comment left kidney" in head and b"comment mm RAS" in head and len(body) == 12 * v + 13 * f
    np.testing.assert_array_equal(np.frombuffer(body[:12 * v], "<f4").reshape(-1, 3), surface.vertices)
    assert set(body[12 * v::13]) == {3}
    data = surface.save(tmp_path / "a.stl", "left kidney").read_bytes()
    assert not data.startswith(b"solid") and int.from_bytes(data[80:84], "little") == f and len(data) == 84 + 50 * f
    facets = np.frombuffer(data[84:], [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")])
    np.testing.assert_array_equal(facets["v"], surface.vertices[surface.faces])
    outward = facets["v"].mean(1) - surface.vertices.mean(0)
    assert ((facets["n"] * outward).sum(1) > 0).mean() > 0.99
    with pytest.raises(ConfigError, match=r"written as \.ply or \.stl"):
        surface.save(tmp_path / "a.obj")
