"""Objects as pictures: boxes in the classes' colours, with names and scores. uint8 RGB arrays."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

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
        cv2.rectangle(out, (left, top), (max(left, right - 1), max(top, bottom - 1)), colour, line)
        if not text:
            continue
        (wide, high), base = cv2.getTextSize(text, FONT, scale, line)
        x = max(0, min(left, width - wide - 4))
        y = top if top - high - base - 4 < 0 else top - high - base - 4  # inside where there is no room above
        cv2.rectangle(out, (x, y), (x + wide + 4, y + high + base + 4), colour, -1)
        bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 130
        cv2.putText(out, text, (x + 2, y + high + 2), FONT, scale, DARK if bright else LIGHT, line, cv2.LINE_AA)
    return out
