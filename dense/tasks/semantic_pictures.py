"""Classes as pictures: over the photograph, with a legend, beside the truth. uint8 RGB arrays."""
from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from dense.tasks.pictures import FALSE_POSITIVE, PANEL_BACKGROUND, fit, label
from dense.tasks.semantic import SemanticTask


def overlay(image: np.ndarray, labels: np.ndarray, task: SemanticTask, opacity: float = 0.5,
            outlines: bool = True) -> np.ndarray:
    """The picture (H, W, 3), classes (H, W) over it in their colours, with dark lines between them.

    opacity: of the colours, 0 to 1. Pixels without a class show the picture.
    """
    colour = task.colour(labels)
    mixed = cv2.addWeighted(image, 1 - opacity, colour, opacity, 0)
    bare = labels >= len(task.classes)
    mixed[bare] = image[bare]
    if outlines:
        edges = np.zeros(labels.shape, bool)
        edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        edges[1:] |= labels[1:] != labels[:-1]
        mixed[edges] //= 3
    return mixed


def legend(task: SemanticTask, width: int, present: Sequence[int] | None = None) -> np.ndarray:
    """A bar (h, width, 3) of colours and names, broken into lines; of the classes ``present``, or of all."""
    indices = range(len(task.classes)) if present is None else present
    return legend_bar([(task.classes[i], task.palette[i]) for i in indices], width)


def legend_bar(entries: Sequence[tuple[str, Sequence[int]]], width: int) -> np.ndarray:
    """A bar (h, width, 3) of entries, each a name and its RGB colour, broken into lines."""
    lines: list[list[tuple[int, str, Sequence[int]]]] = [[]]
    left = 8
    for name, colour in entries:
        needed = 36 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0]
        if left + needed > width and lines[-1]:
            lines.append([])
            left = 8
        lines[-1].append((left, name, colour))
        left += needed
    bar = np.full((24 * len(lines), width, 3), PANEL_BACKGROUND, np.uint8)
    for number, line in enumerate(lines):
        y = 24 * number
        for left, name, colour in line:
            cv2.rectangle(bar, (left, y + 5), (left + 14, y + 18), tuple(colour), -1)
            cv2.rectangle(bar, (left, y + 5), (left + 14, y + 18), (160, 160, 160), 1)
            cv2.putText(bar, name, (left + 20, y + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return bar


def semantic_row(image: np.ndarray, truth: np.ndarray, labels: np.ndarray, task: SemanticTask, text: str = "",
                 size: int = 240) -> np.ndarray:
    """image | truth | prediction | what is wrong in red, each fitted into a panel of ``size`` pixels' height."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) // 2
    wrong = (labels != truth) & (truth != task.ignore_index)
    grey[wrong] = FALSE_POSITIVE
    width = max(1, min(3 * size, round(size * image.shape[1] / image.shape[0])))
    gap = np.full((size, 4, 3), PANEL_BACKGROUND, np.uint8)
    panels = (image, task.colour(truth), overlay(image, labels, task, 0.7), grey)
    row = np.hstack([p for panel in panels for p in (fit(panel, size, width), gap)][:-1])
    return label(row, text) if text else row
