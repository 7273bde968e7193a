"""The corrections that HCE counts as pictures: where a person would have to click."""

from collections.abc import Sequence

import cv2
import numpy as np

from dense.evaluation.hce import Corrections
from dense.tasks.pictures import FALSE_NEGATIVE, FALSE_POSITIVE, PANEL_BACKGROUND, contact_sheet, fit, label, to_rgb

_TOO_MUCH, _MISSING = np.array(FALSE_POSITIVE), np.array(FALSE_NEGATIVE)
_LIGHT = {"fp": (255, 150, 120), "fn": (120, 200, 255)}
_SHIFT = 4  # bits behind the point of OpenCV's coordinates


def draw_corrections(
    pred: np.ndarray, gt: np.ndarray, corrections: Corrections, image: np.ndarray | None = None, size: int = 420
) -> np.ndarray:
    """The corrections over the picture, fitted into a square of ``size`` pixels.

    Args:
        pred: prediction, uint8 (H, W).
        gt: ground truth, uint8 (H, W).
        corrections: of these.
        image: the picture, uint8 (H, W, 3), or of another size; None draws on the ground truth.
        size: side of the square, pixels.

    Returns:
        uint8 RGB (size, size, 3): what is too much in red, what is missing in blue; small squares where a
        corner of a polygon is clicked, joined by its lines; rings around the one click of a region.
    """
    height, width = gt.shape[:2]
    ground = to_rgb(gt // 3 + 40) if image is None else _dimmed(image, (width, height))
    p, g = pred > 128, gt > 128
    for mask, colour in ((p & ~g, _TOO_MUCH), (g & ~p, _MISSING)):
        ground[mask] = (0.45 * ground[mask] + 0.55 * colour).astype(np.uint8)
    panel = fit(ground, size, size)
    scale = min(size / height, size / width)
    inner = np.array([max(1, round(width * scale)), max(1, round(height * scale))])
    corner = (size - inner) // 2

    def place(points) -> np.ndarray:
        spot = (np.asarray(points, float) + 0.5) * inner / (width, height) + corner - 0.5
        return np.rint(spot * (1 << _SHIFT)).astype(np.int32)

    for kind, polygons, regions in (("fp", corrections.fp_polygons, corrections.fp_regions),
                                    ("fn", corrections.fn_polygons, corrections.fn_regions)):
        for polygon in polygons:
            cv2.polylines(panel, [place(polygon)], False, _LIGHT[kind], 1, cv2.LINE_AA, _SHIFT)
        for polygon in polygons:
            for spot in (place(polygon) / (1 << _SHIFT)).tolist():
                _square(panel, spot, _LIGHT[kind])
        for region in regions:
            _ring(panel, (place(region.point) / (1 << _SHIFT)).tolist(), _LIGHT[kind])
    return panel


def corrections_row(
    pred: np.ndarray, gt: np.ndarray, corrections: Corrections, text: str, image: np.ndarray | None = None,
    size: int = 420,
) -> np.ndarray:
    """picture (if there is one) | ground truth | prediction | corrections, each in a square; ``text`` above."""
    panels = [fit(gt, size, size), fit(pred, size, size), draw_corrections(pred, gt, corrections, image, size)]
    if image is not None:
        panels.insert(0, fit(image, size, size))
    gap = np.full((size, 4, 3), PANEL_BACKGROUND, np.uint8)
    return label(np.hstack([part for panel in panels for part in (panel, gap)][:-1]), text)


def corrections_sheet(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows below each other, and the legend."""
    return np.vstack([contact_sheet(rows), legend(max(row.shape[1] for row in rows))])


def legend(width: int) -> np.ndarray:
    """uint8 RGB (h, width, 3): what the marks mean, broken into lines where the sheet is narrow."""
    entries = [("square", "fp", "point: cut off what is too much"), ("ring", "fp", "click: remove a region"),
               ("square", "fn", "point: add what is missing"), ("ring", "fn", "click: fill a region")]
    lines: list[list[tuple[int, tuple[str, str, str]]]] = [[]]
    left = 8
    for entry in entries:
        needed = 24 + cv2.getTextSize(entry[2], cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 20
        if left + needed > width and lines[-1]:
            lines.append([])
            left = 8
        lines[-1].append((left, entry))
        left += needed
    bar = np.full((24 * len(lines), width, 3), PANEL_BACKGROUND, np.uint8)
    for number, line in enumerate(lines):
        for left, (mark, kind, words) in line:
            spot = [left + 8.0, 24 * number + 11.0]
            (_square if mark == "square" else _ring)(bar, spot, _LIGHT[kind])
            cv2.putText(bar, words, (left + 20, 24 * number + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1,
                        cv2.LINE_AA)
    return bar


def _dimmed(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[1::-1] != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return (0.55 * image).astype(np.uint8)


def _square(panel: np.ndarray, spot: Sequence[float], colour: tuple[int, int, int]) -> None:
    x, y = round(spot[0]), round(spot[1])
    cv2.rectangle(panel, (x - 2, y - 2), (x + 2, y + 2), (0, 0, 0), -1)
    cv2.rectangle(panel, (x - 1, y - 1), (x + 1, y + 1), colour, -1)


def _ring(panel: np.ndarray, spot: Sequence[float], colour: tuple[int, int, int]) -> None:
    centre = round(spot[0]), round(spot[1])
    cv2.circle(panel, centre, 6, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.circle(panel, centre, 6, colour, 2, cv2.LINE_AA)
