"""Measures of volumes: Dice, surface Dice (Nikolov et al., 2018), 95 % Hausdorff distance, volume; class by class.

Surfaces are those of DeepMind's surface-distance, as in the Medical Segmentation Decathlon and TotalSegmentator: a
piece at every corner between eight voxels that are not all alike, with the area of the marching cubes there in mm^2;
distances are those of corners in mm, shares and percentiles are of area. The end of the volume is a surface too. The
table of areas is MONAI's. Measures that count the voxels at the surface, as MONAI's do by default, give other figures.

Conventions where a class is missing: in truth and prediction, it has no figures but its volumes (0 ml), and no part in
means. In one of the two, Dice and surface Dice are 0, and HD95 is the diagonal of the volume, the worst that there can
be: leaving such a case out, as is often done, would reward not finding things.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dense.errors import MissingDependencyError

MEASURES = {"DSC": "dice", "NSD": "surface_dice", "HD95": "hd95", "VD": "difference"}
"""Names in ``summarise_volumes`` and attributes of ``ClassFigures``: Dice and surface Dice, 0..1; HD95 in mm and
absolute difference of volume in ml, the less the better."""


@dataclass(frozen=True)
class ClassFigures:
    """One class in one volume. dice, surface_dice: 0..1; hd95: mm; None where they are not defined or were not asked
    for. ml, truth_ml: predicted and true volume."""

    dice: float | None
    surface_dice: float | None
    hd95: float | None
    ml: float
    truth_ml: float

    @property
    def difference(self) -> float | None:
        """|ml - truth_ml|; None where the class is in neither."""
        return abs(self.ml - self.truth_ml) if self.ml or self.truth_ml else None


def measure_volume(pred: np.ndarray, truth: np.ndarray, spacing: Sequence[float], classes: int,
                   tolerance: float = 1.0, ignore: int | None = None, surfaces: bool = True) -> list[ClassFigures]:
    """Figures of the classes 1..classes-1, the background 0 left out.

    Args:
        pred, truth: class of each voxel, whole numbers (Z, Y, X).
        spacing: mm between voxels along z, y, x.
        tolerance: of the surface Dice, mm: surface within it of the other surface is right.
        ignore: value of ``truth`` where nothing counts; corners at such voxels have no surface.
        surfaces: whether to compute NSD and HD95, which take most of the time.

    Raises:
        ValueError: arrays of another form or of different shapes, values that are no class, a spacing or tolerance
            that is none.
    """
    pred, truth, spacing = np.asarray(pred), np.asarray(truth), tuple(float(s) for s in spacing)
    _check(pred, truth, spacing, tolerance)
    valid = None
    if ignore is not None and (holes := truth == ignore).any():
        valid = ~holes
        pred, truth = np.where(valid, pred, 0), np.where(valid, truth, 0)
    boxes = [_boxes(name, array, classes) for name, array in (("pred", pred), ("truth", truth))]
    diagonal = math.dist((0, 0, 0), [n * s for n, s in zip(pred.shape, spacing, strict=True)])
    voxel = math.prod(spacing) / 1000
    figures = []
    for index in range(1, classes):
        box = _union([b[index - 1] for b in boxes], pred.shape)
        if box is None:
            figures.append(ClassFigures(None, None, None, 0.0, 0.0))
            continue
        p, t = pred[box] == index, truth[box] == index
        n_p, n_t = np.count_nonzero(p), np.count_nonzero(t)
        nsd = hd95 = None
        if surfaces:
            outside = None if valid is None else ~valid[box]
            nsd, hd95 = _surfaces(p, t, spacing, tolerance, outside) if n_p and n_t else (0.0, diagonal)
        dice = 2 * np.count_nonzero(p & t) / (n_p + n_t)
        figures.append(ClassFigures(float(dice), nsd, hd95, n_p * voxel, n_t * voxel))
    return figures


def _check(pred: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> None:
    for name, array in (("pred", pred), ("truth", truth)):
        if array.ndim != 3 or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} is {array.dtype} {array.shape}: expected classes as whole numbers (Z, Y, X)")
    if pred.shape != truth.shape:
        raise ValueError(f"pred has the shape {pred.shape}, but truth {truth.shape}: they are of different grids")
    if len(spacing) != 3 or not all(0 < s < math.inf for s in spacing):
        raise ValueError(f"spacing must be three positive numbers (mm along z, y, x), not {spacing!r}")
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be 0 mm or more, not {tolerance!r}")


def _boxes(name: str, array: np.ndarray, classes: int) -> list[tuple[slice, ...] | None]:
    """Of each class from 1 on, the box that holds all of it."""
    from scipy.ndimage import find_objects

    if array.size and (array.min() < 0 or array.max() >= classes):
        values = np.unique(array)
        strange = values[(values < 0) | (values >= classes)]
        raise ValueError(f"{name} has the values {', '.join(map(str, strange[:8]))}, which are none of the "
                         f"{classes} classes 0..{classes - 1}")
    return find_objects(array, classes - 1)


def _union(boxes: Sequence[tuple[slice, ...] | None], shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """The box around both, one voxel wider where the volume goes on."""
    found = [b for b in boxes if b is not None]
    if not found:
        return None
    return tuple(slice(max(0, min(s.start for s in sides) - 1), min(n, max(s.stop for s in sides) + 1))
                 for *sides, n in zip(*found, shape, strict=True))


def surface(mask: np.ndarray, areas: np.ndarray, outside: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of the surface of a bool mask: corners int64 (n, 3), the one before voxel 0 being 0, and areas (n,).

    areas: of ``surface_areas``. outside: bool, voxels of which nothing is known: corners at them have no piece.
    """
    codes = np.zeros([n + 1 for n in mask.shape], np.uint8)
    known = np.ones(codes.shape, bool)
    for bit, corner in enumerate(np.ndindex(2, 2, 2)):
        place = tuple(slice(c, c + n) for c, n in zip(corner, mask.shape, strict=True))
        codes[place] |= mask.view(np.uint8) << np.uint8(bit)
        if outside is not None:
            known[place] &= ~outside
    pieces = (codes != 0) & (codes != 255) & known
    return np.argwhere(pieces), areas[codes[pieces]]


@lru_cache(maxsize=16)
def surface_areas(spacing: tuple[float, float, float]) -> np.ndarray:
    """mm^2 of the surface in each of the 256 neighbourhoods of 2 x 2 x 2 voxels. Bit 4 z + 2 y + x of a neighbourhood's
    number is the voxel that lies z, y, x steps before its last one."""
    try:
        from monai.metrics.utils import get_code_to_measure_table
    except ImportError as error:
        raise MissingDependencyError(f"surface Dice and HD95 need MONAI, which cannot be imported ({error}). "
                                     "Remedy: pip install 'dense[medical]'") from None
    return get_code_to_measure_table(spacing)[0].double().numpy()


def _surfaces(pred: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...], tolerance: float,
              outside: np.ndarray | None) -> tuple[float | None, float | None]:
    """(surface Dice, HD95) of two masks of which neither is empty; None where ignored voxels leave no surface."""
    from scipy.spatial import cKDTree

    # a tree of the surfaces instead of a distance map: the memory is that of a surface, and it was seen to be 7 (a ball
    # of 20 voxels' radius) to 20 times as fast
    areas = surface_areas(spacing)
    (points, weights), (others, their_weights) = (surface(m, areas, outside) for m in (pred, truth))
    if not len(points) or not len(others):
        return None, None
    points, others = points * np.asarray(spacing), others * np.asarray(spacing)
    there, back = cKDTree(others).query(points)[0], cKDTree(points).query(others)[0]
    # a distance of exactly the tolerance is within it, whatever the last digit of a product of floats is
    limit = tolerance * (1 + 1e-9)
    near = weights[there <= limit].sum() + their_weights[back <= limit].sum()
    return (float(near / (weights.sum() + their_weights.sum())),
            max(_percentile(there, weights), _percentile(back, their_weights)))


def _percentile(distances: np.ndarray, weights: np.ndarray, share: float = 0.95) -> float:
    """The distance below or at which ``share`` of the area lies."""
    order = np.argsort(distances)
    cumulated = np.cumsum(weights[order])
    index = np.searchsorted(cumulated / cumulated[-1], share)
    return float(distances[order][min(index, len(distances) - 1)])


def summarise_volumes(cases: Sequence[Sequence[ClassFigures]], names: Sequence[str]) -> dict[str, float]:
    """Figures of a data set: each measure's mean over classes of the class's mean over cases, then 'DSC.NAME' ... of
    each class. names: of all classes, the background first. What is defined nowhere has no entry."""
    means, each = {}, {}
    for measure, attribute in MEASURES.items():
        by_class = {}
        for index, name in enumerate(names[1:]):
            values = [v for case in cases if (v := getattr(case[index], attribute)) is not None]
            if values:
                by_class[name] = float(np.mean(values))
        if by_class:
            means[measure] = float(np.mean(list(by_class.values())))
            each |= {f"{measure}.{name}": value for name, value in by_class.items()}
    return means | each


def volume_table(figures: dict[str, float], names: Sequence[str]) -> str:
    """Markdown: the figures of each class and their means; '-' where a class has none."""
    measures = [m for m in MEASURES if m in figures]
    units = {"HD95": "HD95, mm", "VD": "VD, ml"}
    rows = [[name, *(figures.get(f"{m}.{name}") for m in measures)] for name in names[1:]]
    rows.append(["mean", *(figures[m] for m in measures)])
    lines = ["| class | " + " | ".join(units.get(m, m) for m in measures) + " |", "|---|" + "---:|" * len(measures)]
    for name, *values in rows:
        lines.append(f"| {name} | " + " | ".join("-" if v is None else f"{v:.3f}" for v in values) + " |")
    return "\n".join(lines) + "\n"
