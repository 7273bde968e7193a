"""Panels and sheets: uint8 RGB of the promised sizes, colours where they belong."""
import numpy as np
import pytest

from dense.tasks.pictures import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    PANEL_BACKGROUND,
    checkerboard,
    comparison_row,
    contact_sheet,
    error_map,
    fit,
    label,
    over_checkerboard,
    to_rgb,
)


def is_picture(array: np.ndarray, *shape: int) -> bool:
    return array.dtype == np.uint8 and array.shape == (*shape, 3)


def test_to_rgb():
    grey = np.array([[0.0, 0.5, 1.0, 1.7, -1.0]], np.float32)
    assert is_picture(to_rgb(grey), 1, 5) and to_rgb(grey)[0, :, 1].tolist() == [0, 128, 255, 255, 0]
    colour = np.zeros((4, 5, 3), np.uint8)
    assert to_rgb(colour) is colour and is_picture(to_rgb(colour.astype(float)), 4, 5)
    assert is_picture(to_rgb(colour[..., 0]), 4, 5)


@pytest.mark.parametrize("kind", ["uint8", "float", "mixed"])
def test_error_map(kind):
    truth, alpha = np.array([[0, 0, 255, 255]], np.uint8), np.array([[0, 255, 0, 255]], np.uint8)
    if kind != "uint8":
        alpha = alpha / np.float32(255)
    if kind == "float":
        truth = truth / np.float32(255)
    picture = error_map(alpha, truth)
    assert is_picture(picture, 1, 4)
    right_background, kept, missing, right_foreground = picture[0].tolist()
    assert kept == list(FALSE_POSITIVE) and missing == list(FALSE_NEGATIVE)
    assert len(set(right_background)) == 1 == len(set(right_foreground))  # grey
    assert right_background[0] < right_foreground[0] < 100
    half = error_map(np.array([[0.5]]), np.array([[0.0]]))[0, 0]
    assert right_background[0] < half[0] < FALSE_POSITIVE[0] and half[0] > half[2]


def test_over_checkerboard():
    ground = checkerboard((40, 50))
    assert is_picture(ground, 40, 50) and set(np.unique(ground)) == {205, 245}
    assert ground[0, 0, 0] == ground[16, 16, 0] != ground[0, 16, 0]
    image = np.full((40, 50, 3), (10, 20, 30), np.uint8)
    alpha = np.zeros((40, 50), np.float32)
    alpha[:, 25:] = 1
    cut = over_checkerboard(image, alpha)
    assert is_picture(cut, 40, 50)
    assert (cut[:, 25:] == (10, 20, 30)).all() and np.array_equal(cut[:, :25], ground[:, :25])


@pytest.mark.parametrize("shape", [(10, 10), (200, 30), (30, 200), (1, 1), (3, 5000), (60, 80)])
def test_fit(shape):
    panel = fit(np.full((*shape, 3), 200, np.uint8), 60, 80)
    assert is_picture(panel, 60, 80)
    inside = (panel == 200).all(axis=2)
    assert inside.any() and (panel[~inside] == PANEL_BACKGROUND).all()
    rows, columns = inside.any(axis=1).sum(), inside.any(axis=0).sum()
    assert rows == 60 or columns == 80  # as large as fits
    assert is_picture(fit(np.zeros(shape), 60, 80), 60, 80)


def test_label():
    image = np.full((30, 90, 3), 77, np.uint8)
    labelled = label(image, "epoch 0")
    assert labelled.shape[1:] == (90, 3) and labelled.shape[0] > 30
    assert np.array_equal(labelled[-30:], image) and labelled[:-30].max() > 200


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_comparison_row(dtype):
    image = np.full((40, 40, 3), (200, 10, 10), np.uint8)
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20:] = 255
    alpha = np.zeros((40, 40), dtype)
    alpha[20:] = 255 if dtype == np.uint8 else 1
    row = comparison_row(image, truth, alpha, size=40)
    assert is_picture(row, 40, 5 * 40 + 4 * 4)
    panels = [row[:, i * 44:i * 44 + 40] for i in range(5)]
    assert np.array_equal(panels[0], image) and np.array_equal(panels[1], to_rgb(truth))
    assert np.array_equal(panels[2], to_rgb(alpha))
    assert tuple(panels[3][30, 10]) == FALSE_POSITIVE and tuple(panels[3][10, 30]) == FALSE_NEGATIVE
    assert tuple(panels[4][30, 30]) == (200, 10, 10) and panels[4][0, 0, 0] in (205, 245)
    assert comparison_row(image, truth, alpha, "name   IoU 0.3", size=40).shape[0] > 40


def test_contact_sheet():
    pictures = [np.full((10, 20, 3), 50 * i, np.uint8) for i in range(1, 4)]
    assert is_picture(contact_sheet(pictures), 30, 20)
    sheet = contact_sheet(pictures, columns=2)
    assert is_picture(sheet, 20, 40) and (sheet[10:, 20:] == PANEL_BACKGROUND).all()
    assert (sheet[:10, 20:] == 100).all()
    uneven = contact_sheet([pictures[0], np.full((6, 30, 3), 9, np.uint8)])
    assert is_picture(uneven, 20, 30)
