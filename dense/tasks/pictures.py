"""Results as pictures: rows of panels and contact sheets, as uint8 RGB arrays."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

FALSE_POSITIVE = (230, 60, 50)
FALSE_NEGATIVE = (40, 110, 240)
PANEL_BACKGROUND = (24, 24, 27)


def to_rgb(array: np.ndarray) -> np.ndarray:
    """uint8 or float 0..1, (H, W) or (H, W, 3) -> uint8 (H, W, 3)."""
    if array.dtype != np.uint8:
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array


def error_map(alpha: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3) of alpha (H, W) against truth (both uint8, or float 0..1): red where too much was
    kept, blue where foreground is missing, brightness by the size of the error, over the faint truth."""
    def unit(a):
        return a.astype(np.float32) / 255 if a.dtype == np.uint8 else a.astype(np.float32)

    difference = unit(alpha) - unit(truth)
    weight = np.abs(difference)[..., None]
    colour = np.where(difference[..., None] > 0, np.float32(FALSE_POSITIVE), np.float32(FALSE_NEGATIVE))
    ground = 60 * unit(truth)[..., None] + 20
    return (weight * colour + (1 - weight) * ground).astype(np.uint8)


def outline(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3): the picture with what is masked tinted red and outlined."""
    region = (mask > 127).view(np.uint8)
    inside = region > 0
    out = picture.copy()
    out[inside] = (out[inside].astype(np.uint16) + np.uint16((255, 40, 40))) // 2
    width = max(1, round(max(picture.shape[:2]) / 600))
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(out, contours, -1, (255, 0, 0), width)


def checkerboard(shape: tuple[int, int], square: int = 16) -> np.ndarray:
    """uint8 RGB (H, W, 3) of grey squares, the usual ground for transparency."""
    y, x = np.indices(shape)
    return to_rgb(np.where((y // square + x // square) % 2, 205, 245).astype(np.uint8))


def over_checkerboard(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 RGB (H, W, 3): the picture cut out with alpha (H, W) float 0..1, over grey squares."""
    a = alpha.astype(np.float32)[..., None]
    return (image * a + checkerboard(image.shape[:2]) * (1 - a)).astype(np.uint8)


def fit(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 RGB scaled to fit (height, width), centred on the panel's background."""
    array = to_rgb(array)
    scale = min(height / array.shape[0], width / array.shape[1])
    h, w = max(1, round(array.shape[0] * scale)), max(1, round(array.shape[1] * scale))
    resized = cv2.resize(array, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    panel = np.full((height, width, 3), PANEL_BACKGROUND, np.uint8)
    y, x = (height - h) // 2, (width - w) // 2
    panel[y:y + h, x:x + w] = resized
    return panel


def label(array: np.ndarray, text: str) -> np.ndarray:
    """The picture with a line of text above it (plain ASCII)."""
    bar = np.full((22, array.shape[1], 3), PANEL_BACKGROUND, np.uint8)
    cv2.putText(bar, text, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([bar, array])


def comparison_row(image: np.ndarray, truth: np.ndarray, alpha: np.ndarray, text: str = "",
                   size: int = 240) -> np.ndarray:
    """image | truth | prediction | error | cut-out, each fitted into a square of ``size`` pixels."""
    alpha_unit = alpha.astype(np.float32) / 255 if alpha.dtype == np.uint8 else alpha
    panels = (image, truth, alpha, error_map(alpha, truth), over_checkerboard(image, alpha_unit))
    gap = np.full((size, 4, 3), PANEL_BACKGROUND, np.uint8)
    row = np.hstack([p for panel in panels for p in (fit(panel, size, size), gap)][:-1])
    return label(row, text) if text else row


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 1) -> np.ndarray:
    """uint8 RGB sheet of equally wide pictures, row by row; short rows are filled with the background."""
    height = max(p.shape[0] for p in pictures)
    width = max(p.shape[1] for p in pictures)
    cells = [np.pad(p, ((0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0))) for p in pictures]
    while len(cells) % columns:
        cells.append(np.full((height, width, 3), PANEL_BACKGROUND, np.uint8))
    return np.vstack([np.hstack(cells[i:i + columns]) for i in range(0, len(cells), columns)])
