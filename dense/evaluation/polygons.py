"""Polygons along error contours: the runs of kept points, simplified exactly as OpenCV does it.

All curves of an image are simplified together by array operations; see :mod:`dense.evaluation.hce` for what
the runs are.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np


class Corners(NamedTuple):
    """Corners of all polygons of one kind of error.

    Attributes:
        points: (n, 2), x and y of contour points, polygons one after the other.
        kept: bool (n,), which of them are corners. Their number is what HCE counts.
        starts: int (m,), ascending: where in ``points`` each polygon begins.
    """

    points: np.ndarray
    kept: np.ndarray
    starts: np.ndarray

    @property
    def number(self) -> int:
        """How many corners there are."""
        return int(np.count_nonzero(self.kept))

    def polygons(self) -> list[np.ndarray]:
        """The open polygons: int32 (k, 2) arrays of x and y, k >= 1."""
        corners = np.flatnonzero(self.kept)
        if not len(corners):
            return []
        parts = np.split(self.points[corners].astype(np.int32), np.searchsorted(corners, self.starts)[1:])
        return [part for part in parts if len(part)]


def polygon_corners(
    points: np.ndarray, lengths: np.ndarray, kept: np.ndarray, epsilon: float, distance: str
) -> Corners:
    """What the Douglas-Peucker simplification leaves of all runs of kept points.

    Args:
        points: int32 (n, 2), x and y of all contours one after the other; n > 0.
        lengths: int (number of contours,), their lengths.
        kept: bool (n,).
        epsilon: tolerance, pixels.
        distance: "segment" or "line", see :func:`dense.evaluation.hce.human_correction_efforts`.
    """
    contour_start = np.zeros(len(kept), bool)
    contour_start[np.cumsum(lengths)[:-1]] = True
    contour_start[0] = True
    contour_end = np.roll(contour_start, -1)
    starts = np.flatnonzero(kept & (contour_start | ~np.roll(kept, 1)))
    ends = np.flatnonzero(kept & (contour_end | ~np.roll(kept, -1))) + 1  # exclusive
    if not len(starts):
        return Corners(points, np.zeros(len(points), bool), starts)

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
    long = single & ~short
    joined_size = (size[tail] + size[head]).astype(np.intp)
    joined_end = len(points) + np.cumsum(joined_size)
    joined_start = joined_end - joined_size
    everything = np.concatenate([points, *joined]).astype(np.float64)
    stays = simplified(
        everything,
        np.concatenate([starts[long], joined_start]),
        np.concatenate([ends[long], joined_end]) - 1,
        epsilon,
        distance,
    )
    stays[starts[short]] = stays[ends[short] - 1] = True
    return Corners(everything, stays, np.concatenate([starts[single], joined_start]))


def simplified(
    points: np.ndarray, first: np.ndarray, last: np.ndarray, epsilon: float, distance: str
) -> np.ndarray:
    """Which points the simplification of several open curves leaves, bool (n,).

    The same as ``cv2.approxPolyDP(curve, epsilon, False)`` of each, which cannot be used itself:
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
    kept = np.flatnonzero(stays)
    left = points[kept]
    begin = np.searchsorted(kept, np.sort(curve_first))
    end = np.append(begin[1:], len(left))
    curve = np.repeat(np.arange(len(begin)), end - begin)
    drop = (curve[:-2] == curve[2:]) & _almost_straight(left[:-2], left[1:-1], left[2:], epsilon)
    for c in np.unique(curve[:-2][drop]).tolist():
        stays[kept[[begin[c] + i for i in _superfluous(left[begin[c] : end[c]], epsilon)]]] = False
    return stays


def _almost_straight(a: np.ndarray, b: np.ndarray, c: np.ndarray, epsilon: float) -> np.ndarray:
    """Whether OpenCV takes ``b`` for superfluous between ``a`` and ``c``; (..., 2) arrays -> bool (...)."""
    ab, bc, ac = b - a, c - b, c - a
    deviation = ab[..., 0] * ac[..., 1] - ab[..., 1] * ac[..., 0]
    close = deviation**2 <= 0.5 * epsilon**2 * (ac * ac).sum(axis=-1)
    return close & (ac != 0).all(axis=-1) & ((ab * bc).sum(axis=-1) >= 0)


def _superfluous(curve: np.ndarray, epsilon: float) -> list[int]:
    """Indices of the points of a simplified curve, (n, 2), that OpenCV drops for being superfluous."""
    dropped, before, here, after = [], 0, 1, 2
    while after < len(curve) and len(curve) - len(dropped) > 2:
        if _almost_straight(curve[before], curve[here], curve[after], epsilon):
            dropped.append(here)  # the next candidate is behind the point that has been looked at as the end
            before, here, after = after, after + 1, after + 2
        else:
            before, here, after = here, after, after + 1
    return dropped
