"""Human correction efforts (HCE): how many mouse operations would turn a prediction into the ground truth.

Defined in "Highly Accurate Dichotomous Image Segmentation" (Qin et al., ECCV 2022). The counts equal those of
the published code exactly; the implementation is an independent one that works on the neighbourhood of the
errors only and replaces the loop over contour points by array operations.

The measure compares masks at their stored resolution: resize a prediction to the size of the ground truth
*before* it is quantised and handed over. Over a data set the paper reports the plain mean of the totals.
"""

from math import isfinite, sqrt
from numbers import Integral, Real
from typing import Literal, NamedTuple

import cv2
import numpy as np

from dense.errors import MissingDependencyError
from dense.evaluation._inputs import binarise

GAMMA = 5
EPSILON = 2.0

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)


class HCE(NamedTuple):
    """The four counts of one image, each an int >= 0.

    "Points" are the control points of the polygons that separate an error from what borders it; "independent"
    are the error regions that need no polygon, one click each.
    """

    fp_points: int
    fp_independent: int
    fn_points: int
    fn_independent: int

    @property
    def total(self) -> int:
        """The HCE of the image: the sum of the four counts."""
        return sum(self)


def human_correction_efforts(
    pred: np.ndarray,
    gt: np.ndarray,
    skeleton: np.ndarray | None = None,
    *,
    gamma: int = GAMMA,
    epsilon: float = EPSILON,
    distance: Literal["segment", "line"] = "segment",
) -> HCE:
    """Count the operations needed to correct ``pred``.

    Args:
        pred: predicted mask, (H, W) or (H, W, C), of which channel 0 is used; uint8 0..255 (foreground is
            > 128) or bool. No stretching of contrast takes place.
        gt: ground truth, likewise; H and W as in ``pred``.
        skeleton: skeleton of the ground truth, likewise; :func:`skeleton` makes it. Its pixels that the
            prediction misses always count, however thin. Computed when None and needed, which takes most of
            the time: keep it where several predictions are compared with one ground truth.
        gamma: iterations (pixels) of the opening that forgives thin errors, >= 0; the paper's value is 5.
        epsilon: tolerance in pixels of the polygons, >= 0; the paper's value is 2.0.
        distance: what the tolerance refers to when a polygon is simplified, the distance of a point to the
            "segment" between two corners, or to the infinite "line" through them. The published code leaves
            this to OpenCV, which went from lines (up to 4.12) to segments (4.13 and later), so that "line" is
            what tables made before 2026 contain. The points differ by about 1 in 100; the regions do not.

    Returns:
        The four counts.

    Raises:
        ValueError: shapes that differ or hold no pixel, another dtype, a ``gt`` or ``skeleton`` of 0/1 labels
            in uint8, gamma, epsilon or distance out of range.
        MissingDependencyError: the skeleton is needed, and scikit-image is not installed.
    """
    if not isinstance(gamma, Integral) or isinstance(gamma, bool) or gamma < 0:
        raise ValueError(f"gamma must be an integer >= 0, got {gamma!r}")
    if not isinstance(epsilon, Real) or not isfinite(epsilon) or epsilon < 0:
        raise ValueError(f"epsilon must be a finite number >= 0, got {epsilon!r}")
    if distance not in ("segment", "line"):
        raise ValueError(f'distance must be "segment" or "line", got {distance!r}')
    gamma, epsilon = int(gamma), float(epsilon)
    g = _mask(gt, "gt", refuse_labels=True)
    p = _mask(pred, "pred")
    _same_size(p, "pred", g)
    missed = g & ~p
    if skeleton is not None:
        skel = _mask(skeleton, "skeleton", refuse_labels=True)
        _same_size(skel, "skeleton", g)
    elif missed.any():
        skel = _skeleton(g)
    else:  # the skeleton lies in g, so that none of it is missed either
        skel = np.zeros_like(g)
    missed_skel = skel & ~(g & p)

    # Errors decide everything. The opening looks gamma pixels around them, the conditional dilation returns
    # to them on paths of at most gamma steps, and the conditions are read one pixel around them. So a side of
    # the crop that is no side of the frame is too far away to matter, and at a side of the frame the borders
    # of OpenCV are those of the full image.
    window = _window((g ^ p) | missed_skel, margin=gamma + 3)
    if window is None:
        return HCE(0, 0, 0, 0)
    g, p, missed_skel = (np.ascontiguousarray(a[window]).view(np.uint8) for a in (g, p, missed_skel))

    tp = g & p
    core = cv2.erode(g | p, _CROSS, iterations=gamma)  # OpenCV's default border: the frame does not erode
    fp = _opened(p ^ tp, core, g, gamma)
    fn = _opened(g ^ tp, core, p, gamma) | missed_skel
    fp_counts = _count(fp, tp | fn, epsilon, distance)
    fn_counts = _count(fn, 1 - (tp | fp | fn), epsilon, distance)
    return HCE(*fp_counts, *fn_counts)


def skeleton(gt: np.ndarray) -> np.ndarray:
    """Skeleton of a ground truth, as :func:`human_correction_efforts` takes it.

    Args:
        gt: (H, W) or (H, W, C), of which channel 0 is used; uint8 0..255 (foreground is > 128) or bool.

    Returns:
        bool (H, W), a subset of the foreground, one pixel wide: ``skimage.morphology.skeletonize`` of it.

    Raises:
        ValueError: another shape or dtype, no pixel, or 0/1 labels in uint8.
        MissingDependencyError: scikit-image is not installed.
    """
    return _skeleton(_mask(gt, "gt", refuse_labels=True))


def _skeleton(g: np.ndarray) -> np.ndarray:
    result = np.zeros_like(g)
    window = _window(g, margin=0)  # thinning takes what lies outside the array for background
    if window is None:
        return result
    try:
        from skimage.morphology import skeletonize
    except ImportError as error:
        raise MissingDependencyError(
            "HCE needs scikit-image for the skeleton of the ground truth: install it "
            "(pip install scikit-image), or pass skeletons that were made elsewhere"
        ) from error
    result[window] = skeletonize(np.ascontiguousarray(g[window]))
    return result


def _mask(mask: np.ndarray, name: str, *, refuse_labels: bool = False) -> np.ndarray:
    """bool (H, W) of a mask with or without channels."""
    mask = np.asarray(mask)
    if mask.ndim not in (2, 3):
        raise ValueError(f"{name} has the shape {mask.shape}: expected (H, W) or (H, W, C)")
    if mask.size == 0:
        raise ValueError(f"{name} has the shape {mask.shape}, which holds no pixel")
    return binarise(mask if mask.ndim == 2 else mask[..., 0], name, refuse_labels=refuse_labels)


def _same_size(mask: np.ndarray, name: str, g: np.ndarray) -> None:
    if mask.shape != g.shape:
        raise ValueError(
            f"{name} is {mask.shape[0]}x{mask.shape[1]} (height x width), but gt is "
            f"{g.shape[0]}x{g.shape[1]}: resize {name} first"
        )


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice] | None:
    """Bounding box of a bool (H, W) array, widened by ``margin`` within the frame; None if it is empty."""
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    if w == 0 or h == 0:
        return None
    return slice(max(0, y - margin), y + h + margin), slice(max(0, x - margin), x + w + margin)


def _opened(error: np.ndarray, core: np.ndarray, barrier: np.ndarray, gamma: int) -> np.ndarray:
    """``error`` without its parts thinner than about 2 gamma; uint8 0/1 arrays (h, w)."""
    kept = error & core
    if not kept.any():
        return kept
    free = 1 - barrier
    for _ in range(gamma):
        kept = cv2.dilate(kept, _CROSS) & free
    return kept & error


def _count(error: np.ndarray, neighbours: np.ndarray, epsilon: float, distance: str) -> tuple[int, int]:
    """Polygon points and independent regions of one kind of error; uint8 0/1 arrays (h, w).

    Points on a contour count where they touch ``neighbours``, and each pixel once only, though a contour
    passes a thin place twice and two contours may share pixels.
    """
    contours, _ = cv2.findContours(error, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return 0, 0
    points = np.concatenate(contours)[:, 0]  # (n, 2): x, y
    lengths = np.fromiter(map(len, contours), np.intp, len(contours))
    where = points[:, 1].astype(np.intp) * error.shape[1] + points[:, 0]

    # Writing backwards leaves the first visit of every pixel: of equal indices, the last assignment stays.
    order = np.arange(len(where))
    first = np.empty(error.size, np.intp)
    first[where[::-1]] = order[::-1]
    kept = (first[where] == order) & (cv2.dilate(neighbours, _CROSS).reshape(-1)[where] != 0)
    return _polygon_points(points, lengths, kept, epsilon, distance), _untouched(error, where[kept])


def _untouched(error: np.ndarray, kept: np.ndarray) -> int:
    """8-connected regions of ``error`` without any of the flat indices ``kept``."""
    if error.all():  # the published code takes the only label of a frame-filling error for the background
        return 0
    count, labels = cv2.connectedComponents(error, connectivity=8)
    touched = np.zeros(count, bool)
    touched[0] = True
    touched[labels.reshape(-1)[kept]] = True
    return int(count - np.count_nonzero(touched))


def _polygon_points(
    points: np.ndarray, lengths: np.ndarray, kept: np.ndarray, epsilon: float, distance: str
) -> int:
    """Points that the Douglas-Peucker simplification leaves of all runs of kept points.

    Args:
        points: int32 (n, 2), x and y of all contours one after the other.
        lengths: int (number of contours,), their lengths.
        kept: bool (n,).
        epsilon: tolerance, pixels.
        distance: see :func:`human_correction_efforts`.
    """
    contour_start = np.zeros(len(kept), bool)
    contour_start[np.cumsum(lengths)[:-1]] = True
    contour_start[0] = True
    contour_end = np.roll(contour_start, -1)
    starts = np.flatnonzero(kept & (contour_start | ~np.roll(kept, 1)))
    ends = np.flatnonzero(kept & (contour_end | ~np.roll(kept, -1))) + 1  # exclusive
    if not len(starts):
        return 0

    # First and last run of every contour that has some. Those that meet around the contour's (arbitrary)
    # first point become one. As in the published code the first run is attached *reversed*, odd as it looks.
    contour = np.cumsum(contour_start)[starts]
    head = np.flatnonzero(np.diff(contour, prepend=-1))
    tail = np.append(head[1:], len(contour)) - 1
    gap = np.abs(points[starts[head]] - points[ends[tail] - 1]).max(axis=1)
    meet = (head != tail) & (gap == 1)
    head, tail = head[meet], tail[meet]
    joined = []
    for i, j in zip(head.tolist(), tail.tolist(), strict=True):
        joined += [points[starts[j] : ends[j]], points[starts[i] : ends[i]][::-1]]
    single = np.ones(len(starts), bool)
    single[head] = False
    single[tail] = False

    # In a run of four the inner points are at most sqrt(2) away from an end: the ends are all that stays.
    # Noise consists of such runs, so they are worth skipping. (A joined run may leap.)
    size = ends - starts
    short = single & (size <= (4 if epsilon > sqrt(2) else 2))
    total = int(np.minimum(size[short], 2).sum())
    long = single & ~short
    joined_size = (size[tail] + size[head]).astype(np.intp)
    joined_end = len(points) + np.cumsum(joined_size)
    return total + _simplified(
        np.concatenate([points, *joined]).astype(np.float64),
        np.concatenate([starts[long], joined_end - joined_size]),
        np.concatenate([ends[long], joined_end]) - 1,
        epsilon,
        distance,
    )


def _simplified(
    points: np.ndarray, first: np.ndarray, last: np.ndarray, epsilon: float, distance: str
) -> int:
    """Points left by the simplification of several open curves together.

    Equal in number to the sum over ``cv2.approxPolyDP(curve, epsilon, False)``, which cannot be used itself:
    up to OpenCV 4.12 it measures the distance to a line, since 4.13 that to a segment.

    Args:
        points: float64 (n, 2), whole numbers; those of one curve differ.
        first: int (m,), index of the first point of every curve.
        last: int (m,), index of the last one, > ``first``.
        epsilon: tolerance, pixels.
        distance: "segment" or "line".
    """
    curve_first = first
    stays = np.zeros(len(points), bool)
    stays[first] = stays[last] = True
    while True:
        inner = last - first > 1
        first, last = first[inner], last[inner]
        if not len(first):
            break
        # All points between the ends of all chords of this round; (n, 2) coordinates relative to an end.
        size = last - first - 1
        offset = np.cumsum(size) - size
        chord = np.repeat(np.arange(len(size)), size)
        index = np.arange(len(chord)) + (first + 1 - offset)[chord]
        span = points[last] - points[first]
        span2 = (span * span).sum(axis=1)
        a, d = points[index] - points[first][chord], span[chord]
        # The square of the distance, times the square of the chord's length.
        deviation = (a[:, 1] * d[:, 0] - a[:, 0] * d[:, 1]) ** 2
        if distance == "segment":
            along = (a * d).sum(axis=1)
            length2 = span2[chord]
            b = points[index] - points[last][chord]
            deviation = np.where(along < 0, (a * a).sum(axis=1) * length2, deviation)
            deviation = np.where(along > length2, (b * b).sum(axis=1) * length2, deviation)
        worst = np.maximum.reduceat(deviation, offset)
        at_worst = np.flatnonzero(deviation == worst[chord])
        at_worst = at_worst[np.diff(chord[at_worst], prepend=-1) != 0]  # the first one of each chord
        split = worst > epsilon**2 * span2
        middle = index[at_worst[split]]
        stays[middle] = True
        first, last = np.concatenate([first[split], middle]), np.concatenate([middle, last[split]])

    # OpenCV then drops points that lie almost on the line between their neighbours. That goes step by step,
    # but leaves a curve alone of which no three successive points qualify, as it is with nearly every curve.
    left = points[stays]
    begin = np.searchsorted(np.flatnonzero(stays), np.sort(curve_first))
    end = np.append(begin[1:], len(left))
    curve = np.repeat(np.arange(len(begin)), end - begin)
    drop = (curve[:-2] == curve[2:]) & _almost_straight(left[:-2], left[1:-1], left[2:], epsilon)
    total = len(left)
    for c in np.unique(curve[:-2][drop]).tolist():
        total -= _straightened(left[begin[c] : end[c]], epsilon)
    return total


def _almost_straight(a: np.ndarray, b: np.ndarray, c: np.ndarray, epsilon: float) -> np.ndarray:
    """Whether OpenCV takes ``b`` for superfluous between ``a`` and ``c``; (..., 2) arrays -> bool (...)."""
    ab, bc, ac = b - a, c - b, c - a
    deviation = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
    close = deviation**2 <= 0.5 * epsilon**2 * (ac * ac).sum(axis=-1)
    return close & (ac != 0).all(axis=-1) & ((ab * bc).sum(axis=-1) >= 0)


def _straightened(curve: np.ndarray, epsilon: float) -> int:
    """How many points of a simplified curve, (n, 2), OpenCV drops for being superfluous."""
    dropped, before, here, after = 0, 0, 1, 2
    while after < len(curve) and len(curve) - dropped > 2:
        if _almost_straight(curve[before], curve[here], curve[after], epsilon):
            dropped += 1  # the next candidate is the one behind the point that has been looked at as the end
            before, here, after = after, after + 1, after + 2
        else:
            before, here, after = here, after, after + 1
    return dropped
