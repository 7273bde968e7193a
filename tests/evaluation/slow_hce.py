"""HCE as its definition reads, point by point: the yardstick of the fast implementation.

Everything but the contours, whose order is OpenCV's, is plain numpy and Python, so that the counts depend on
no version of OpenCV. It shares no code with ``dense.evaluation``.
"""

import cv2
import numpy as np
from skimage.morphology import skeletonize


def grow(mask: np.ndarray) -> np.ndarray:
    """Dilation by the 3x3 cross; nothing enters from outside the frame."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def shrink(mask: np.ndarray) -> np.ndarray:
    """Erosion by the 3x3 cross; the frame does not erode."""
    return ~grow(~mask)


def regions(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """8-connected regions by flood fill: labels from 1, and how many there are."""
    labels = np.zeros(mask.shape, int)
    count = 0
    for seed in zip(*np.nonzero(mask), strict=True):
        if labels[seed]:
            continue
        count += 1
        labels[seed] = count
        todo = [seed]
        while todo:
            y, x = todo.pop()
            for v in range(max(0, y - 1), min(mask.shape[0], y + 2)):
                for u in range(max(0, x - 1), min(mask.shape[1], x + 2)):
                    if mask[v, u] and not labels[v, u]:
                        labels[v, u] = count
                        todo.append((v, u))
    return labels, count


def deviation(point: np.ndarray, start: np.ndarray, end: np.ndarray, distance: str) -> int:
    """Squared distance of a point to a line or segment, times the squared length of the segment."""
    span = end - start
    along = (point - start) @ span
    if distance == "segment" and along < 0:
        return ((point - start) ** 2).sum() * (span**2).sum()
    if distance == "segment" and along > (span**2).sum():
        return ((point - end) ** 2).sum() * (span**2).sum()
    return (span[0] * (point - start)[1] - span[1] * (point - start)[0]) ** 2


def corners(run: np.ndarray, epsilon: float, distance: str) -> list[np.ndarray]:
    """Ramer-Douglas-Peucker: the corners of an open curve, (n, 2) whole numbers, without its last point."""
    if len(run) > 2:
        deviations = [deviation(point, run[0], run[-1], distance) for point in run[1:-1]]
        worst = int(np.argmax(deviations)) + 1
        if deviations[worst - 1] > epsilon**2 * ((run[-1] - run[0]) ** 2).sum():
            return corners(run[: worst + 1], epsilon, distance) + corners(run[worst:], epsilon, distance)
    return [run[0]]


def simplify(run: np.ndarray, epsilon: float, distance: str) -> list[np.ndarray]:
    """What OpenCV's approxPolyDP leaves of an open curve: corners, then without the nearly straight ones."""
    if len(run) == 1:
        return [run[0]]
    todo = [*corners(run, epsilon, distance), run[-1]]
    number = len(todo)
    done = [todo.pop(0)]
    while len(todo) > 1 and number > 2:
        a, b, c = done[-1], todo[0], todo[1]
        straight = deviation(b, a, c, "line") <= 0.5 * epsilon**2 * ((c - a) ** 2).sum()
        if straight and c[0] != a[0] and c[1] != a[1] and (b - a) @ (c - b) >= 0:
            number -= 1
            done.append(c)
            todo = todo[2:]
        else:
            done.append(b)
            todo = todo[1:]
    return done + todo


def count(error: np.ndarray, condition: np.ndarray, epsilon: float, distance: str) -> tuple[int, int]:
    condition = grow(condition)
    contours, _ = cv2.findContours(error.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    labels, number = regions(error)
    independent = set() if error.all() else set(range(1, number + 1))
    visited = set()
    all_runs = []
    for contour in contours:
        runs = []
        current = []
        for x, y in contour[:, 0].tolist():
            if condition[y, x] and (x, y) not in visited:
                visited.add((x, y))
                independent.discard(labels[y, x])
                current.append((x, y))
            elif current:
                runs.append(current)
                current = []
        if current:
            runs.append(current)
        if len(runs) > 1:
            (x0, y0), (x1, y1) = runs[0][0], runs[-1][-1]
            if max(abs(x0 - x1), abs(y0 - y1)) == 1:
                runs[-1] = runs[-1] + runs[0][::-1]
                runs = runs[1:]
        all_runs += runs
    points = sum(len(simplify(np.array(run), epsilon, distance)) for run in all_runs)
    return points, len(independent)


def slow_hce(
    pred: np.ndarray,
    gt: np.ndarray,
    skeleton: np.ndarray | None = None,
    gamma: int = 5,
    epsilon: float = 2.0,
    distance: str = "segment",
) -> tuple[int, int, int, int]:
    """The four counts for uint8 (H, W) masks."""
    g, p = gt > 128, pred > 128
    s = skeletonize(g) if skeleton is None else skeleton > 128
    tp = g & p
    fp, fn = p & ~tp, g & ~tp
    core = g | p
    for _ in range(gamma):
        core = shrink(core)
    fp_kept, fn_kept = fp & core, fn & core
    for _ in range(gamma):
        fp_kept = grow(fp_kept) & ~g
        fn_kept = grow(fn_kept) & ~p
    fp_kept &= fp
    fn_kept = (fn_kept & fn) | (s & ~tp)
    return (
        *count(fp_kept, tp | fn_kept, epsilon, distance),
        *count(fn_kept, ~(tp | fp_kept | fn_kept), epsilon, distance),
    )
