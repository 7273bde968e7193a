"""Finding text: boxes from a map of scores, and the packed detector on a drawn line."""
import sys

import cv2
import numpy as np
import pytest

from dense.errors import MissingDependencyError
from dense.inference.text_regions import TextDetector, find_detector, text_boxes


def test_regions_become_grown_rectangles():
    scores = np.zeros((100, 200), np.float32)
    scores[40:50, 30:130] = 0.9  # a line
    scores[70:72, 10:12] = 0.9  # a speck
    scores[10:20, 10:60] = 0.4  # unsure
    (box,) = text_boxes(scores)
    x, y = box.min(0)
    right, bottom = box.max(0)
    grown = 99 * 9 * 1.6 / (2 * (99 + 9))
    assert (x, y, right, bottom) == pytest.approx((30 - grown, 40 - grown, 129 + grown, 49 + grown), abs=0.01)


def test_a_turned_line_has_a_turned_rectangle():
    scores = np.zeros((200, 200), np.uint8)
    cv2.line(scores, (40, 40), (160, 160), 255, 12)
    (box,) = text_boxes(scores.astype(np.float32) / 255)
    sides = np.linalg.norm(np.roll(box, 1, 0) - box, axis=1)
    assert sides.max() > 3 * sides.min()


def test_without_the_package_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"dense\[text\]"):
        find_detector()


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("onnxruntime")
    try:
        return TextDetector()
    except MissingDependencyError:
        pytest.skip("needs the extra 'text'")


def test_a_drawn_line_is_found_and_nothing_else(detector):
    picture = np.full((300, 400, 3), 120, np.uint8)
    picture += np.linspace(0, 40, 400).astype(np.uint8)[None, :, None]
    assert not detector.mask(picture).any()
    letters = np.zeros((300, 400), np.uint8)
    cv2.putText(letters, "Sample text", (60, 160), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 3, cv2.LINE_AA)
    picture[letters > 0] = 250
    mask = detector.mask(picture) > 0
    assert mask[letters > 128].mean() > 0.98
    assert mask.mean() < 0.25
