"""Objects as pictures: boxes in the classes' colours, with names and scores. uint8 RGB arrays."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dense.tasks.detection import Detections, DetectionTask
from dense.tasks.pictures import PANEL_BACKGROUND, fit, label

FONT = cv2.FONT_HERSHEY_SIMPLEX
DARK, LIGHT = (16, 16, 18), (250, 250, 250)


def draw_boxes(image: np.ndarray, boxes: np.ndarray, texts: Sequence[str],
               colours: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """The picture (H, W, 3) with boxes (n, 4), left, top, right, bottom in pixels, and a text at each.

    The first box is drawn last, on top. Lines and letters grow with the picture.
    """
    out = np.ascontiguousarray(image).copy()
    height, width = out.shape[:2]
    line = max(1, round(max(height, width) / 400))
    scale = max(0.35, max(height, width) / 1600)
    for box, text, colour in reversed(list(zip(boxes, texts, colours, strict=True))):
        left, top, right, bottom = (round(float(v)) for v in box)
        bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 130
        corners = (left, top), (max(left, right - 1), max(top, bottom - 1))
        cv2.rectangle(out, *corners, DARK if bright else LIGHT, line + 2)  # a rim: seen on any ground
        cv2.rectangle(out, *corners, colour, line)
        if not text:
            continue
        (wide, high), base = cv2.getTextSize(text, FONT, scale, line)
        x = max(0, min(left, width - wide - 4))
        y = top if top - high - base - 4 < 0 else top - high - base - 4  # inside where there is no room above
        cv2.rectangle(out, (x, y), (x + wide + 4, y + high + base + 4), colour, -1)
        cv2.putText(out, text, (x + 2, y + high + 2), FONT, scale, DARK if bright else LIGHT, line, cv2.LINE_AA)
    return out


def draw_detections(image: np.ndarray, found: Detections, task: DetectionTask, scores: bool = True,
                    names: bool = True) -> np.ndarray:
    """``draw_boxes`` in the classes' colours, with their names and the scores."""
    texts = [" ".join([task.classes[k]] * names + [f"{s:.2f}"] * scores)
             for k, s in zip(found.labels, found.scores, strict=True)]
    return draw_boxes(image, found.boxes, texts, [task.palette[k] for k in found.labels])


def detection_row(image: np.ndarray, truth: Detections, found: Detections, task: DetectionTask, text: str = "",
                  size: int = 300) -> np.ndarray:
    """true boxes | found boxes with scores, each fitted into a panel of ``size`` pixels' height."""
    width = max(1, min(3 * size, round(size * image.shape[1] / image.shape[0])))
    scale = min(size / image.shape[0], width / image.shape[1])
    sides = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = cv2.resize(image, sides, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    panels = [draw_detections(small, Detections(one.boxes * np.float32(scale), one.scores, one.labels), task, scores)
              for one, scores in ((truth, False), (found, True))]
    gap = np.full((size, 4, 3), PANEL_BACKGROUND, np.uint8)
    row = np.hstack([fit(panels[0], size, width), gap, fit(panels[1], size, width)])
    return label(row, text) if text else row
