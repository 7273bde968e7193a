"""Classical methods that a trained network has to beat."""
from __future__ import annotations

import cv2
import numpy as np

_SMALLEST = 8  # pixels a side: below, the frame leaves too few for GrabCut's models of colour


def grabcut(image: np.ndarray, margin: float = 0.03, iterations: int = 5, seed: int = 0) -> np.ndarray:
    """GrabCut (Rother et al., 2004; OpenCV) from a rectangle ``margin`` of each side inside the frame.

    image: uint8 RGB (H, W, 3). Returns uint8 (H, W), 0 or 255; all 0 for
    a picture of less than 8 pixels a side.
    """
    height, width = image.shape[:2]
    if min(height, width) < _SMALLEST:
        return np.zeros((height, width), np.uint8)
    x, y = max(1, round(margin * width)), max(1, round(margin * height))
    mask = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(seed)
    cv2.grabCut(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), mask, (x, y, width - 2 * x, height - 2 * y),
                np.zeros((1, 65)), np.zeros((1, 65)), iterations, cv2.GC_INIT_WITH_RECT)
    return np.where((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)
