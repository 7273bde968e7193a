"""Boxes as pictures: over the photograph, and beside the true ones. uint8 RGB arrays."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dense.tasks.detection import Detections, DetectionTask
from dense.tasks.pictures import PANEL_BACKGROUND, fit, label

FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_boxes(image: np.ndarray, found: Detections, task: DetectionTask, scores: bool = True,
               names: bool = True) -> np.ndarray:
    """The picture (H, W, 3) with a box in its class's colour for each object, the surest in front.

    names: of the classes, above each box or, where there is no room, in it; scores: behind the names. Lines and
    letters grow with the picture.
    """
    out = image.copy()
    line = max(1, round(min(image.shape[:2]) / 300))
    for index in reversed(range(len(found))):
        colour = task.palette[found.labels[index]]
        corners = np.rint(found.boxes[index]).astype(int).tolist()
        top_left, bottom_right = (corners[0], corners[1]), (corners[2] - 1, corners[3] - 1)
        edge = (0, 0, 0) if _bright(colour) else (255, 255, 255)  # seen on any ground
        cv2.rectangle(out, top_left, bottom_right, edge, line + 2)
        cv2.rectangle(out, top_left, bottom_right, colour, line)
    if names or scores:
        for index in reversed(range(len(found))):
            words = [task.classes[found.labels[index]]] * names + [f"{found.scores[index]:.2f}"] * scores
            _draw_words(out, " ".join(words), found.boxes[index], task.palette[found.labels[index]], line)
    return out


def _bright(colour: Sequence[int]) -> bool:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 130


def _draw_words(out: np.ndarray, words: str, box: np.ndarray, colour: tuple[int, int, int], line: int) -> None:
    """The words on a plate of the colour, at the upper left corner of the box."""
    height, width = out.shape[:2]
    scale = max(0.35, min(height, width) / 1100)
    thick = max(1, round(1.4 * scale))
    (w, h), below = cv2.getTextSize(words, FONT, scale, thick)
    bar = h + below + 2
    x = int(np.clip(round(box[0]) - line // 2, 0, max(0, width - w - 4)))
    y = round(float(box[1])) - bar
    if y < 0:
        y = int(min(max(0, round(float(box[1]))), max(0, height - bar)))
    cv2.rectangle(out, (x, y), (x + w + 3, y + bar - 1), colour, -1)
    cv2.putText(out, words, (x + 2, y + h + 1), FONT, scale, (0, 0, 0) if _bright(colour) else (255, 255, 255), thick,
                cv2.LINE_AA)


def detection_row(image: np.ndarray, truth: Detections, found: Detections, task: DetectionTask, text: str = "",
                  size: int = 320) -> np.ndarray:
    """true boxes | found boxes with scores, each fitted into a panel of ``size`` pixels' height."""
    width = max(1, min(3 * size, round(size * image.shape[1] / image.shape[0])))
    scale = min(size / image.shape[0], width / image.shape[1])
    shape = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = cv2.resize(image, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    panels = [draw_boxes(small, Detections((one.boxes * np.float32(scale)), one.scores, one.labels), task, scores)
              for one, scores in ((truth, False), (found, True))]
    gap = np.full((size, 4, 3), PANEL_BACKGROUND, np.uint8)
    row = np.hstack([fit(panels[0], size, width), gap, fit(panels[1], size, width)])
    return label(row, text) if text else row
