"""Classes as pictures."""
import numpy as np

from dense.tasks import SemanticTask
from dense.tasks.pictures import FALSE_POSITIVE
from dense.tasks.semantic_pictures import legend, overlay, semantic_row

TASK = SemanticTask(classes=("sky", "a road", "cat"), palette=((0, 0, 200), (200, 0, 0), (0, 200, 0)))


def test_overlay_mixes_marks_borders_and_leaves_what_has_no_class():
    image = np.full((10, 12, 3), 100, np.uint8)
    labels = np.zeros((10, 12), np.uint8)
    labels[:, 6:], labels[8:] = 1, 255
    found = overlay(image, labels, TASK, 0.5)
    assert found[2, 2].tolist() == [50, 50, 150] and found[2, 9].tolist() == [150, 50, 50]
    assert found[9, 3].tolist() == [100, 100, 100]
    assert found[2, 6].tolist() == [50, 16, 16]  # the border
    assert overlay(image, labels, TASK, 0.5, outlines=False)[2, 6].tolist() == [150, 50, 50]
    assert (image == 100).all()


def test_the_legend_names_what_is_present_and_breaks_lines():
    wide, narrow = legend(TASK, 400), legend(TASK, 90)
    assert wide.shape == (24, 400, 3) and narrow.shape == (72, 90, 3)
    assert (wide == (0, 200, 0)).all(-1).any()
    assert not (legend(TASK, 400, [0, 1]) == (0, 200, 0)).all(-1).any()


def test_a_row_shows_what_is_wrong_and_nothing_where_there_is_no_label():
    image = np.zeros((20, 30, 3), np.uint8)
    truth = np.zeros((20, 30), np.int64)
    labels = truth.copy()
    truth[:10, :10], labels[:10] = 255, 2
    row = semantic_row(image, truth, labels, TASK, "x", size=20)
    last = row[22:, -30:]
    assert row.shape[0] == 42
    wrong = (last == FALSE_POSITIVE).all(-1)
    assert wrong.sum() == 200 and not wrong[:, :10].any()
