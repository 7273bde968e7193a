"""Human correction efforts against the counts of the published code, and against a slow transcription."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

sys.path.insert(0, str(Path(__file__).parent))

from slow_hce import regions, simplify, slow_hce

from dense.evaluation import HCE, human_correction_efforts, skeleton
from dense.evaluation.hce import corrections
from dense.evaluation.polygons import simplified

DATA = np.load(Path(__file__).parents[1] / "data" / "hce.npz")
PAIRS = range(28)
SLOW_PAIRS = [i for i in PAIRS if DATA[f"gt_{i}"].shape[0] <= 240 or i in (16, 20)]
# What the "line" distance gives: the published code under OpenCV 4.10, 4.11 and 4.12.
LINE = {0: (4, 0, 23, 3), 1: (6, 0, 37, 0), 2: (17, 0, 48, 6), 6: (58, 0, 0, 0), 11: (594, 0, 8283, 4)}


def reference(i: int) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    return DATA[f"pred_{i}"], DATA[f"gt_{i}"], tuple(DATA[f"hce_{i}"].tolist())


def random_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """uint8 (height, width): noise, discs, lines, grey blobs, full, one pixel, a corner cut out, or empty."""
    mask = np.zeros((height, width), np.uint8)
    x, y = (lambda: int(rng.integers(-4, width + 4))), (lambda: int(rng.integers(-4, height + 4)))
    match rng.integers(8):
        case 0:
            mask[rng.random(mask.shape) < rng.choice([0.02, 0.3, 0.5, 0.7, 0.97])] = 255
        case 1:
            for _ in range(rng.integers(1, 6)):
                radius = int(rng.integers(max(height, width) // 2 + 1))
                cv2.circle(mask, (x(), y()), radius, int(rng.choice([255, 255, 0])), -1)
        case 2:
            for _ in range(rng.integers(1, 9)):
                cv2.line(mask, (x(), y()), (x(), y()), 255, int(rng.integers(1, 7)))
        case 3:
            noise = cv2.GaussianBlur(rng.random(mask.shape), (0, 0), float(rng.uniform(0.5, 4)))
            mask = np.clip((noise - noise.mean()) * rng.uniform(500, 5000) + 128, 0, 255).astype(np.uint8)
        case 4:
            mask[:] = 255
        case 5:
            mask[rng.integers(height), rng.integers(width)] = 255
        case 6:
            mask[:] = 255
            mask[rng.integers(height) :, rng.integers(width) :] = 0
    return mask


def random_pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    height, width = rng.integers(1, 60, 2).tolist()
    match rng.integers(10):
        case 0:
            height = 1
        case 1:
            width = 1
    gt = random_mask(rng, height, width)
    pred = random_mask(rng, height, width)
    match rng.integers(4):
        case 0:
            pred = np.maximum(gt, pred)
        case 1:
            pred = np.minimum(gt, 255 - pred)
        case 2:
            pred = np.roll(gt, rng.integers(-3, 4, 2).tolist(), (0, 1))
    return pred, gt


@pytest.mark.parametrize("i", PAIRS)
def test_reference(i):
    pred, gt, expected = reference(i)
    result = human_correction_efforts(pred, gt)
    assert result == expected
    assert result.total == sum(expected)
    assert human_correction_efforts(pred, gt, skeleton(gt)) == expected


@pytest.mark.parametrize("i", SLOW_PAIRS)
def test_reference_of_the_yardstick(i):
    pred, gt, expected = reference(i)
    assert slow_hce(pred, gt) == expected


@pytest.mark.parametrize("i", PAIRS)
def test_corrections_of_the_reference(i):
    pred, gt, expected = reference(i)
    result = corrections(pred, gt)
    assert result.counts == expected
    assert isinstance(result.counts, HCE)


@pytest.mark.parametrize("seed", range(3))
def test_corrections_are_where_they_belong(seed):
    rng = np.random.default_rng(40 + seed)
    for _ in range(60):
        pred, gt = random_pair(rng)
        result = corrections(pred, gt)
        assert result.counts == human_correction_efforts(pred, gt)
        g, p = gt > 128, pred > 128
        for error, points, found in ((p & ~g, result.fp_points, result.fp_regions),
                                     (g & ~p, result.fn_points, result.fn_regions)):
            assert error[points[:, 1], points[:, 0]].all()
            for region in found:
                (x, y), (left, top, width, height) = region.point, region.box
                assert region.mask.shape == (height, width)
                assert region.mask[y - top, x - left]
                assert region.mask.any(axis=0).all() and region.mask.any(axis=1).all()  # the box is tight
                assert error[top : top + height, left : left + width][region.mask].all()
                assert regions(region.mask)[1] == 1
                inside = (points[:, 0] >= left) & (points[:, 0] < left + width)
                inside &= (points[:, 1] >= top) & (points[:, 1] < top + height)
                assert not region.mask[points[inside, 1] - top, points[inside, 0] - left].any()


def test_corrections_of_known_shapes():
    gt = np.zeros((120, 200), np.uint8)
    gt[30:90, 20:90] = 255
    pred = gt.copy()
    pred[50:70, 90:120] = 255  # a bump, to be cut off where it touches
    cv2.circle(pred, (160, 60), 20, 255, -1)  # and one alone, to be clicked away
    pred[34:49, 50:65] = 0  # a hole, to be clicked full
    pred[55:75, 20:35] = 0  # a bite, to be closed where the background reaches in
    result = corrections(pred, gt)
    (region,) = result.fp_regions
    assert region.point == (160, 60) and region.box == (140, 40, 41, 41)
    assert result.fp_points[:, 0].tolist() == [90, 90]
    assert sorted(result.fp_points[:, 1].tolist()) == [50, 69]
    (hole,) = result.fn_regions
    assert hole.point == (57, 41) and hole.box == (50, 34, 15, 15)
    assert result.fn_points[:, 0].tolist() == [20, 20]
    assert sorted(result.fn_points[:, 1].tolist()) == [55, 74]
    assert corrections(gt, gt).counts == (0, 0, 0, 0)


def test_a_function_makes_the_skeleton_only_when_it_is_needed():
    pred, gt, expected = reference(11)
    asked = []

    def make(mask):
        asked.append(mask)
        return skeleton(mask)

    assert human_correction_efforts(pred, gt, make) == expected
    assert len(asked) == 1 and np.array_equal(asked[0], gt > 128)
    human_correction_efforts(np.full_like(gt, 255), gt, make)  # misses nothing
    assert len(asked) == 1


@pytest.mark.parametrize("i", LINE)
def test_line_distance(i):
    pred, gt, _ = reference(i)
    assert human_correction_efforts(pred, gt, distance="line") == LINE[i]


@pytest.mark.parametrize("seed", range(8))
def test_random_masks(seed):
    rng = np.random.default_rng(seed)
    for _ in range(60):
        pred, gt = random_pair(rng)
        assert human_correction_efforts(pred, gt) == slow_hce(pred, gt), (pred.tolist(), gt.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_random_masks_with_parameters(seed):
    """Any skeleton, also one that has nothing to do with the ground truth."""
    rng = np.random.default_rng(100 + seed)
    for _ in range(40):
        pred, gt = random_pair(rng)
        skel = random_mask(rng, *gt.shape)
        gamma, epsilon = int(rng.integers(8)), float(rng.choice([0, 0.7, 1, 1.4142, 1.5, 2, 3]))
        distance = str(rng.choice(["segment", "line"]))
        result = human_correction_efforts(pred, gt, skel, gamma=gamma, epsilon=epsilon, distance=distance)
        assert result == slow_hce(pred, gt, skel, gamma, epsilon, distance)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_tiny_masks(data):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    pred, gt = (data.draw(hnp.arrays(np.bool_, shape)).astype(np.uint8) * 255 for _ in range(2))
    gamma = data.draw(st.integers(0, 2))
    assert human_correction_efforts(pred, gt, gamma=gamma) == slow_hce(pred, gt, gamma=gamma)


def test_small_part_of_a_large_frame():
    """The crop must not show, wherever it touches the frame."""
    rng = np.random.default_rng(7)
    for _ in range(20):
        pred, gt = random_pair(rng)
        expected = slow_hce(*(np.pad(mask, 12) for mask in (pred, gt)))
        assert human_correction_efforts(*(np.pad(mask, 90) for mask in (pred, gt))) == expected
        for pad in ([(0, 12), (0, 12)], [(12, 0), (12, 0)], [(0, 12), (12, 0)], [(0, 0), (12, 12)]):
            padded = [np.pad(mask, pad) for mask in (pred, gt)]
            assert human_correction_efforts(*padded) == slow_hce(*padded)
            padded = [np.pad(mask, pad, mode="edge") for mask in (pred, gt)]
            assert human_correction_efforts(*padded) == slow_hce(*padded)


@pytest.mark.parametrize("distance", ["segment", "line"])
def test_simplification(distance):
    """Several curves at once, against one by one; and against OpenCV for the distance that this one uses."""
    probe = np.array([[63, 70], [60, 71], [61, 71], [62, 70]], np.int32)
    opencv = "segment" if len(cv2.approxPolyDP(probe, 2.0, False)) == 3 else "line"
    rng = np.random.default_rng(3)
    for trial in range(150):
        epsilon = float(rng.choice([0, 0.5, 1, 1.5, 2, 3, 6]))
        curves = []
        for _ in range(rng.integers(1, 6)):
            step = int(rng.choice([1, 2, 5]))
            curve = np.cumsum(rng.integers(-step, step + 1, (rng.integers(2, 60), 2)), axis=0)
            curve = curve[np.sort(np.unique(curve, axis=0, return_index=True)[1])]
            curves += [curve] if len(curve) > 1 else []
        if not curves:
            continue
        ends = np.cumsum([len(curve) for curve in curves])
        starts = ends - [len(curve) for curve in curves]
        order = rng.permutation(len(curves))
        points = np.concatenate(curves).astype(np.float64)
        result = points[simplified(points, starts[order], ends[order] - 1, epsilon, distance)]
        if trial < 50:
            assert np.array_equal(result, np.concatenate([simplify(curve, epsilon, distance) for curve in curves]))
        if distance == opencv:
            left = [cv2.approxPolyDP(curve.astype(np.int32)[:, None], epsilon, False) for curve in curves]
            assert np.array_equal(result, np.concatenate(left)[:, 0])


def test_skeleton():
    from skimage.morphology import skeletonize

    rng = np.random.default_rng(5)
    for _ in range(60):
        _, gt = random_pair(rng)
        result = skeleton(gt)
        assert result.dtype == np.bool_ and result.shape == gt.shape
        assert np.array_equal(result, skeletonize(gt > 128))
        assert np.array_equal(result, skeleton(gt > 128))


def test_agreement_is_free():
    gt = DATA["gt_0"]
    assert human_correction_efforts(gt, gt) == (0, 0, 0, 0)
    empty = np.zeros_like(gt)
    assert human_correction_efforts(empty, empty) == (0, 0, 0, 0)
    full = np.full_like(gt, 255)
    assert human_correction_efforts(full, full) == (0, 0, 0, 0)


def test_frame_filling_error_counts_nothing():
    full, empty = np.full((30, 40), 255, np.uint8), np.zeros((30, 40), np.uint8)
    assert human_correction_efforts(full, empty) == (0, 0, 0, 0)
    assert human_correction_efforts(empty, full) == (0, 0, 0, 0)
    full[0, 0] = 0
    assert human_correction_efforts(full, empty) == (0, 1, 0, 0)


def test_regions():
    gt, pred = np.zeros((60, 100), np.uint8), np.zeros((60, 100), np.uint8)
    pred[10:40, 10:40] = 255
    pred[10:40, 50:80] = 255
    assert human_correction_efforts(pred, gt) == HCE(0, 2, 0, 0)
    pred[45:49, 10:80] = 255  # thinner than the opening
    assert human_correction_efforts(pred, gt) == HCE(0, 2, 0, 0)


def test_forms_of_the_masks():
    pred, gt, expected = reference(2)
    other = np.zeros_like(gt)
    assert human_correction_efforts(pred > 128, gt > 128) == expected
    assert human_correction_efforts(np.dstack([pred, other, other]), gt) == expected
    assert human_correction_efforts(pred, np.dstack([gt, other, other, other])) == expected
    assert human_correction_efforts(pred[..., None], gt[..., None]) == expected
    skel = skeleton(gt)
    assert human_correction_efforts(pred, gt, skel.astype(np.uint8) * 255) == expected
    assert human_correction_efforts(pred, gt, np.dstack([skel, skel, skel])) == expected
    assert human_correction_efforts(np.asfortranarray(pred), np.asfortranarray(gt)) == expected
    assert all(type(count) is int for count in human_correction_efforts(pred, gt))


def test_arguments_stay_as_they_are():
    pred, gt, _ = reference(0)
    skel = skeleton(gt)
    before = pred.copy(), gt.copy(), skel.copy()
    human_correction_efforts(pred, gt, skel)
    human_correction_efforts(pred > 128, gt > 128, skel)
    assert all(np.array_equal(a, b) for a, b in zip((pred, gt, skel), before, strict=True))


def test_threshold():
    gt, pred = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    gt[10:30, 10:30], pred[10:30, 10:30] = 129, 129
    assert human_correction_efforts(pred, gt).total == 0
    pred[10:30, 10:30] = 128
    assert human_correction_efforts(pred, gt).total > 0


MASK = np.zeros((8, 9), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MASK, MASK.T), "pred is 8x9"),
        ((MASK, MASK, MASK.T), "skeleton is 9x8"),
        ((MASK[None, None], MASK), "pred has the shape"),
        ((MASK, MASK[0]), "gt has the shape"),
        ((MASK[:0], MASK[:0]), "no pixel"),
        ((MASK[..., None][..., :0], MASK), "no pixel"),
        ((MASK.astype(np.float32), MASK), "pred has dtype float32.*0..255"),
        ((MASK, MASK.astype(np.float64)), "gt has dtype float64.*0..255"),
        ((MASK.astype(np.int64), MASK), "pred has dtype int64"),
        ((MASK, MASK.astype(np.uint16)), "gt has dtype uint16"),
        ((MASK, MASK, MASK.astype(np.float32)), "skeleton has dtype float32"),
        ((MASK, MASK + np.uint8(1)), "gt is uint8 with the values 0 and 1"),
        ((MASK, MASK, MASK + np.uint8(1)), "skeleton is uint8 with the values 0 and 1"),
    ],
)
def test_invalid_masks(arguments, message):
    with pytest.raises(ValueError, match=message):
        human_correction_efforts(*arguments)


@pytest.mark.parametrize(
    "option",
    [
        {"gamma": -1},
        {"gamma": 1.5},
        {"gamma": True},
        {"epsilon": -0.1},
        {"epsilon": float("nan")},
        {"epsilon": float("inf")},
        {"epsilon": "2"},
        {"distance": "chord"},
    ],
)
def test_invalid_options(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        human_correction_efforts(MASK, MASK, **option)


def test_invalid_skeleton_input():
    with pytest.raises(ValueError, match="gt has dtype float64"):
        skeleton(np.zeros((3, 3)))


def test_a_faint_prediction_is_no_label_mask():
    assert human_correction_efforts(MASK + np.uint8(1), MASK).total == 0


def test_imports_stay_light():
    code = (
        "import sys, dense.evaluation\n"
        "assert 'cv2' not in sys.modules\n"
        "from dense.evaluation import *\n"
        "import numpy as np\n"
        "assert human_correction_efforts(np.zeros((9, 9), bool), np.eye(9, dtype=bool)).total\n"
        "heavy = {'torch', 'mmengine', 'skimage', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
