"""Human correction efforts (HCE): how many mouse operations would turn a prediction into the ground truth.

Defined in "Highly Accurate Dichotomous Image Segmentation" (Qin et al., ECCV 2022). The counts equal those of
the published code exactly; the implementation is an independent one that works on the neighbourhood of the
errors only and replaces the loop over contour points by array operations.

The measure compares masks at their stored resolution: resize a prediction to the size of the ground truth
*before* it is quantised and handed over. Over a data set the paper reports the plain mean of the totals.
"""

from collections.abc import Callable
from math import isfinite
from numbers import Integral, Real
from typing import Literal, NamedTuple

import cv2
import numpy as np

from dense.evaluation._inputs import binarise
from dense.evaluation.polygons import Corners, polygon_corners
from dense.evaluation.thinning import thin

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


class Region(NamedTuple):
    """An error region that needs no polygon.

    Attributes:
        point: (x, y) of its innermost pixel, where one would click.
        box: (x, y, width, height), pixels.
        mask: bool (height, width), its pixels within the box.
    """

    point: tuple[int, int]
    box: tuple[int, int, int, int]
    mask: np.ndarray


class Corrections(NamedTuple):
    """What the counts of HCE count, in pixels of the image.

    Attributes:
        fp_polygons: the open polygons that cut off what is too much, int32 (k, 2) arrays of x and y, k >= 1;
            their points together are the "points".
        fp_regions: the regions that are too much and are removed with one click.
        fn_polygons: likewise, around what is missing.
        fn_regions: likewise, the regions that are filled with one click.
    """

    fp_polygons: list[np.ndarray]
    fp_regions: list[Region]
    fn_polygons: list[np.ndarray]
    fn_regions: list[Region]

    @property
    def fp_points(self) -> np.ndarray:
        """int32 (n, 2), x and y."""
        return np.concatenate([np.empty((0, 2), np.int32), *self.fp_polygons])

    @property
    def fn_points(self) -> np.ndarray:
        """int32 (n, 2), x and y."""
        return np.concatenate([np.empty((0, 2), np.int32), *self.fn_polygons])

    @property
    def counts(self) -> HCE:
        """The four counts, those of :func:`human_correction_efforts`."""
        return HCE(len(self.fp_points), len(self.fp_regions), len(self.fn_points), len(self.fn_regions))


Skeleton = np.ndarray | Callable[[np.ndarray], np.ndarray] | None


def human_correction_efforts(
    pred: np.ndarray,
    gt: np.ndarray,
    skeleton: Skeleton = None,
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
            the time: keep it where several predictions are compared with one ground truth. A function, such
            as ``dense.evaluation.skeletons.SkeletonCache``, is called with the bool ground truth when the
            skeleton is needed.
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
    """
    errors = _errors(pred, gt, skeleton, gamma, epsilon, distance)
    if errors is None:
        return HCE(0, 0, 0, 0)
    counts = []
    for error, neighbours in (errors.fp, errors.fn):
        corners, touched = _corners(error, neighbours, float(epsilon), distance)
        counts += [corners.number, _untouched(error, touched)[1].size]
    return HCE(*counts)


def corrections(
    pred: np.ndarray,
    gt: np.ndarray,
    skeleton: Skeleton = None,
    *,
    gamma: int = GAMMA,
    epsilon: float = EPSILON,
    distance: Literal["segment", "line"] = "segment",
) -> Corrections:
    """The operations that :func:`human_correction_efforts` counts; arguments and errors as there."""
    errors = _errors(pred, gt, skeleton, gamma, epsilon, distance)
    if errors is None:
        return Corrections([], [], [], [])
    kinds = []
    for error, neighbours in (errors.fp, errors.fn):
        corners, touched = _corners(error, neighbours, float(epsilon), distance)
        kinds += [[part + np.int32(errors.origin) for part in corners.polygons()],
                  _regions(*_untouched(error, touched), *errors.origin)]
    return Corrections(*kinds)


class _Errors(NamedTuple):
    """Opened errors and what borders them, uint8 0/1 (h, w) crops whose corner is at ``origin`` (x, y)."""

    fp: tuple[np.ndarray, np.ndarray]
    fn: tuple[np.ndarray, np.ndarray]
    origin: tuple[int, int]


def _errors(
    pred: np.ndarray, gt: np.ndarray, skeleton: Skeleton, gamma: int, epsilon: float, distance: str
) -> _Errors | None:
    """The errors that count, after the checks of all arguments; None if there are none."""
    if not isinstance(gamma, Integral) or isinstance(gamma, bool) or gamma < 0:
        raise ValueError(f"gamma must be an integer >= 0, got {gamma!r}")
    if not isinstance(epsilon, Real) or not isfinite(epsilon) or epsilon < 0:
        raise ValueError(f"epsilon must be a finite number >= 0, got {epsilon!r}")
    if distance not in ("segment", "line"):
        raise ValueError(f'distance must be "segment" or "line", got {distance!r}')
    gamma = int(gamma)
    g = _mask(gt, "gt", refuse_labels=True)
    p = _mask(pred, "pred")
    _same_size(p, "pred", g)
    missed = g & ~p
    if callable(skeleton):
        skeleton = skeleton(g) if missed.any() else np.zeros_like(g)
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
        return None
    g, p, missed_skel = (np.ascontiguousarray(a[window]).view(np.uint8) for a in (g, p, missed_skel))

    tp = g & p
    core = cv2.erode(g | p, _CROSS, iterations=gamma)  # OpenCV's default border: the frame does not erode
    fp = _opened(p ^ tp, core, g, gamma)
    fn = _opened(g ^ tp, core, p, gamma) | missed_skel
    return _Errors((fp, tp | fn), (fn, 1 - (tp | fp | fn)), (window[1].start, window[0].start))


def skeleton(gt: np.ndarray) -> np.ndarray:
    """Skeleton of a ground truth, as :func:`human_correction_efforts` takes it.

    Args:
        gt: (H, W) or (H, W, C), of which channel 0 is used; uint8 0..255 (foreground is > 128) or bool.

    Returns:
        bool (H, W), a subset of the foreground, one pixel wide, equal to that of scikit-image's ``skeletonize``.

    Raises:
        ValueError: another shape or dtype, no pixel, or 0/1 labels in uint8.
    """
    return _skeleton(_mask(gt, "gt", refuse_labels=True))


def _skeleton(g: np.ndarray) -> np.ndarray:
    result = np.zeros_like(g)
    window = _window(g, margin=0)
    if window is None:
        return result
    result[window] = thin(g[window])
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


def _corners(error: np.ndarray, neighbours: np.ndarray, epsilon: float, distance: str) -> tuple[Corners, np.ndarray]:
    """Polygons of one kind of error, and the flat indices of its kept pixels; uint8 0/1 arrays (h, w).

    Points on a contour count where they touch ``neighbours``, and each pixel once only, though a contour
    passes a thin place twice and two contours may share pixels.
    """
    contours, _ = cv2.findContours(error, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    if not contours:
        nothing = np.empty(0, np.intp)
        return Corners(np.empty((0, 2)), np.empty(0, bool), nothing), nothing
    points = np.concatenate(contours)[:, 0]  # (n, 2): x, y
    lengths = np.fromiter(map(len, contours), np.intp, len(contours))
    where = points[:, 1].astype(np.intp) * error.shape[1] + points[:, 0]

    # Writing backwards leaves the first visit of every pixel: of equal indices, the last assignment stays.
    order = np.arange(len(where))
    first = np.empty(error.size, np.intp)
    first[where[::-1]] = order[::-1]
    kept = (first[where] == order) & (cv2.dilate(neighbours, _CROSS).reshape(-1)[where] != 0)
    return polygon_corners(points, lengths, kept, epsilon, distance), where[kept]


def _untouched(error: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """8-connected regions of ``error``, int32 (h, w) labels, and the labels of those without any of the flat
    indices ``kept``."""
    if not error.any() or error.all():
        # the published code takes the only label of a frame-filling error for the background
        return np.zeros(error.shape, np.int32), np.empty(0, np.intp)
    count, labels = cv2.connectedComponents(error, connectivity=8)
    touched = np.zeros(count, bool)
    touched[0] = True
    touched[labels.reshape(-1)[kept]] = True
    return labels, np.flatnonzero(~touched)


def _regions(labels: np.ndarray, chosen: np.ndarray, left: int, top: int) -> list[Region]:
    """The regions with the labels ``chosen``; ``left`` and ``top``: where the crop lies in the image."""
    if not len(chosen):
        return []
    place = np.full(int(labels.max()) + 1, -1)
    place[chosen] = np.arange(len(chosen))
    y, x = np.nonzero(place[labels] >= 0)
    which = place[labels[y, x]]
    low, high = np.full((len(chosen), 2), np.iinfo(np.intp).max), np.full((len(chosen), 2), -1)
    for bound, choose in ((low, np.minimum), (high, np.maximum)):
        choose.at(bound, which, np.stack([x, y], axis=1))
    found = []
    for label, (x0, y0), (x1, y1) in zip(chosen.tolist(), low.tolist(), high.tolist(), strict=True):
        mask = labels[y0 : y1 + 1, x0 : x1 + 1] == label
        depth = cv2.distanceTransform(np.pad(mask, 1).view(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        box = (x0 + left, y0 + top, x1 - x0 + 1, y1 - y0 + 1)
        found.append(Region((box[0] + int(column), box[1] + int(row)), box, mask))
    return found
