"""Volumes as pictures: an axial, a coronal and a sagittal plane, classes over them. uint8 RGB arrays.

Radiological orientation, as far as the affine goes: the patient's right is on the left, the anterior side above in the
axial plane and on the left in the sagittal one.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import cv2
import numpy as np

from dense.tasks.pictures import PANEL_BACKGROUND, label
from dense.tasks.semantic_pictures import legend_bar

PLANES = ("axial", "coronal", "sagittal")
LETTERS = ("RL", "AP", "SI")  # of the world's axes: where a picture begins on the left or above, and where it ends
_ACROSS = {"axial": (2, 0, 1), "coronal": (1, 0, 2), "sagittal": (0, 1, 2)}  # world axes: normal, to the right, down
_SAMPLE = 200_000


@dataclass(frozen=True)
class Orientation:
    """How voxels lie in the body. axes: of the array (Z, Y, X), for each of the world's x (right), y (anterior) and z
    (superior) the one that is nearest to it; signs: +1 where its index grows that way; known: False where there is no
    affine, and the axes are taken for left, posterior, superior."""

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]
    known: bool = True

    @property
    def code(self) -> str:
        """Where x, y, z of a voxel's index grow to, as 'LPS'; '' where that is not known."""
        ends = {axis: LETTERS[w][sign < 0] for w, (axis, sign) in enumerate(zip(self.axes, self.signs, strict=True))}
        return "".join(ends[axis] for axis in (2, 1, 0)) if self.known else ""


def orientation(affine: np.ndarray | None) -> Orientation:
    """Of an affine (4, 4) from an index (x, y, z) to RAS mm."""
    if affine is None:
        return Orientation((2, 1, 0), (-1, -1, 1), False)
    turn = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(abs(turn[w, p[w]]) for w in range(3)))
    return Orientation(tuple(2 - a for a in best), tuple(1 if turn[w, a] >= 0 else -1 for w, a in enumerate(best)))


def largest_sections(labels: np.ndarray) -> tuple[int, int, int]:
    """Indices (z, y, x) of the planes with most voxels above 0, of the middle ones where there are none."""
    counts = [np.zeros(n, np.int64) for n in labels.shape]
    for z, plane in enumerate(labels):  # slice by slice: no mask of the whole volume
        there = plane > 0
        rows = np.count_nonzero(there, axis=1)
        counts[0][z] = rows.sum()
        counts[1] += rows
        counts[2] += np.count_nonzero(there, axis=0)
    return tuple(int(c.argmax()) if c.any() else len(c) // 2 for c in counts)


def window_of(values: np.ndarray) -> tuple[float, float]:
    """(black, white): the 1st and 99th percentile of values (Z, Y, X), their least value (air, padding) left out."""
    steps = max(1, int(np.ceil((values.size / _SAMPLE) ** (1 / 3))))
    sample = np.asarray(values[::steps, ::steps, ::steps], np.float32).ravel()
    above = sample[sample > sample.min()]
    low, high = (float(v) for v in np.percentile(above if above.size else sample, (1, 99)))
    return (low, high) if high > low else (low, low + 1)


def plane_of(array: np.ndarray, plane: str, index: int, where: Orientation) -> np.ndarray:
    """(rows, columns) of the array (Z, Y, X) at ``index`` of the axis that the plane cuts, turned as said above."""
    normal, right, down = (where.axes[w] for w in _ACROSS[plane])
    flat = np.take(array, index, axis=normal)
    if right < down:  # of the two axes left, rows come first
        flat = flat.T
    for axis, world in enumerate(_ACROSS[plane][:0:-1]):
        if where.signs[world] > 0:  # pictures go to the left, posterior, inferior
            flat = np.flip(flat, axis)
    return flat


def three_planes(values: np.ndarray, labels: np.ndarray | None, spacing: Sequence[float],
                 affine: np.ndarray | None = None, palette: Sequence[Sequence[int]] = (), height: int = 480,
                 opacity: float = 0.45, at: tuple[int, int, int] | None = None,
                 window: tuple[float, float] | None = None) -> list[np.ndarray]:
    """Three pictures (height + 22, w, 3), axial, coronal, sagittal, all at one scale in mm, with the sides' letters.

    values: (Z, Y, X) of one channel. labels: (Z, Y, X), drawn in the colours of the palette where above 0; None for
    none. spacing: mm along z, y, x. at: indices (z, y, x) of the planes, the largest sections of the labels by default.
    window: values that are black and white, see ``window_of``.
    """
    where = orientation(affine)
    at = at or (tuple(n // 2 for n in values.shape) if labels is None else largest_sections(labels))
    low, high = window or window_of(values)
    sizes = {p: tuple(values.shape[where.axes[w]] * spacing[where.axes[w]] for w in _ACROSS[p][:0:-1]) for p in PLANES}
    scale = min(height / max(h for h, _ in sizes.values()), 4 * height / max(w for _, w in sizes.values()))
    panels = []
    for plane in PLANES:
        size = tuple(max(1, round(s * scale)) for s in sizes[plane])
        index = at[where.axes[_ACROSS[plane][0]]]
        grey = np.clip((plane_of(values, plane, index, where).astype(np.float32) - low) * (255 / (high - low)), 0, 255)
        picture = _resized(grey, size, False).astype(np.uint8)[..., None].repeat(3, axis=2)
        if labels is not None:
            picture = _coloured(picture, _resized(plane_of(labels, plane, index, where), size, True), palette, opacity)
        panel = np.full((height, max(size[1], 90), 3), PANEL_BACKGROUND, np.uint8)
        y, x = (height - size[0]) // 2, (panel.shape[1] - size[1]) // 2
        panel[y:y + size[0], x:x + size[1]] = picture
        if where.known:
            _letter(panel, LETTERS[_ACROSS[plane][1]], LETTERS[_ACROSS[plane][2]], max(0, y - 20),
                    min(height, y + size[0] + 20))
        panels.append(label(panel, f"{plane} {index + 1}/{values.shape[where.axes[_ACROSS[plane][0]]]}"))
    return panels


def _resized(array: np.ndarray, size: tuple[int, int], nearest: bool) -> np.ndarray:
    if nearest:
        rows, columns = (np.minimum((np.arange(n) + 0.5) * have / n, have - 1).astype(np.intp)
                         for n, have in zip(size, array.shape, strict=True))
        return array[rows[:, None], columns]
    shrinks = size[0] * size[1] < array.size
    return cv2.resize(np.ascontiguousarray(array), size[::-1],
                      interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _coloured(picture: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], opacity: float) -> np.ndarray:
    """Classes above 0 in their colours, stronger along their borders."""
    table = np.zeros((max(len(palette), int(labels.max()) + 1), 3), np.float32)
    if palette:
        table[:len(palette)] = palette
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(labels.astype(np.int32), axis=axis) != 0
        edge[(slice(1, None), slice(None))[::1 - 2 * axis]] |= differs
        edge[(slice(None, -1), slice(None))[::1 - 2 * axis]] |= differs
    share = np.where(edge, min(1.0, opacity + 0.35), opacity).astype(np.float32) * (labels > 0)
    return np.rint(picture * (1 - share[..., None]) + table[labels] * share[..., None]).astype(np.uint8)


def _letter(panel: np.ndarray, across: str, down: str, top: int, bottom: int) -> None:
    middle, width = (top + bottom) // 2, panel.shape[1]
    for letter, (x, y) in ((across[0], (4, middle)), (across[1], (width - 16, middle)),
                           (down[0], (width // 2 - 5, top + 16)), (down[1], (width // 2 - 5, bottom - 6))):
        for colour, thick in (((0, 0, 0), 3), ((255, 220, 90), 1)):
            cv2.putText(panel, letter, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thick, cv2.LINE_AA)


def planes_picture(panels: Sequence[np.ndarray], entries: Sequence[tuple[str, Sequence[int]]] = ()) -> np.ndarray:
    """The panels side by side; below them the legend's entries, (name, colour)."""
    gap = np.full((panels[0].shape[0], 4, 3), PANEL_BACKGROUND, np.uint8)
    row = np.hstack([p for panel in panels for p in (panel, gap)][:-1])
    return np.vstack([row, legend_bar(entries, row.shape[1])]) if entries else row
