"""Pictures of the corrections: marks are where the corrections are."""
from __future__ import annotations

import cv2
import numpy as np

from dense.evaluation.drawing import corrections_row, corrections_sheet, draw_corrections, legend
from dense.evaluation.hce import corrections
from dense.tasks.pictures import PANEL_BACKGROUND


def pair() -> tuple[np.ndarray, np.ndarray]:
    gt = np.zeros((120, 200), np.uint8)
    gt[30:90, 20:90] = 255
    pred = gt.copy()
    pred[50:70, 90:120] = 255  # cut off by a polygon
    cv2.circle(pred, (160, 60), 20, 255, -1)  # removed with a click
    pred[34:49, 50:65] = 0  # filled with a click
    return pred, gt


def reddish(colour: np.ndarray) -> bool:
    return int(colour[0]) > int(colour[2]) + 40


def test_marks_are_where_the_corrections_are():
    pred, gt = pair()
    found = corrections(pred, gt)
    scale = 3
    panel = draw_corrections(pred, gt, found, size=200 * scale)
    assert panel.shape == (600, 600, 3) and panel.dtype == np.uint8
    top = (600 - 120 * scale) // 2
    for polygon in found.fp_polygons:
        for x, y in polygon:
            assert reddish(panel[top + y * scale + 1, x * scale + 1])
    (click,) = found.fp_regions
    x, y = click.point
    ring = panel[top + y * scale + 1, x * scale + 1 + 6]
    assert reddish(ring) and int(ring.sum()) > 400  # light, not the tint of the region
    (click,) = found.fn_regions
    x, y = click.point
    ring = panel[top + y * scale + 1, x * scale + 1 + 6]
    assert not reddish(ring) and ring[2] > 200
    assert reddish(panel[top + 45 * scale, 160 * scale]) and not reddish(panel[top + 36 * scale, 52 * scale])


def test_without_errors_there_is_nothing_to_click():
    _, gt = pair()
    panel = draw_corrections(gt, gt, corrections(gt, gt), size=200)
    assert not (panel.max(axis=2).astype(int) - panel.min(axis=2) > 3).any()  # grey only


def test_row_and_sheet():
    pred, gt = pair()
    found = corrections(pred, gt)
    image = np.full((60, 100, 3), (10, 200, 10), np.uint8)  # of half the size: it is scaled
    with_picture = corrections_row(pred, gt, found, "name", image, size=100)
    without = corrections_row(pred, gt, found, "name", size=100)
    assert with_picture.shape == (122, 4 * 104 - 4, 3) and without.shape == (122, 3 * 104 - 4, 3)
    assert (with_picture[72, 20] == (10, 200, 10)).all()
    sheet = corrections_sheet([with_picture, with_picture])
    assert sheet.shape[0] > 2 * 122 and sheet.shape[1] == with_picture.shape[1]


def test_the_legend_fits():
    wide, narrow = legend(1300), legend(300)
    assert wide.shape == (24, 1300, 3) and narrow.shape[1] == 300 and narrow.shape[0] >= 4 * 24
    for bar in (wide, narrow):
        assert (bar[:, -4:] == PANEL_BACKGROUND).all()  # nothing is cut off


def test_one_pixel_and_a_full_frame():
    one = np.full((1, 1), 255, np.uint8)
    assert draw_corrections(one, 0 * one, corrections(one, 0 * one), size=40).shape == (40, 40, 3)
    full = np.full((30, 40), 255, np.uint8)
    assert draw_corrections(full, 0 * full, corrections(full, 0 * full), size=80).shape == (80, 80, 3)
