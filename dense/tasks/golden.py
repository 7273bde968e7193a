"""The golden picture, on which networks are compared: it is drawn, so that it has no licence of its own."""
from __future__ import annotations

import numpy as np


def golden_picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 (channels, height, width): shapes with soft and sharp edges, and fine stripes, on a noisy gradient.

    The same for the same arguments, whatever the versions of the libraries.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y / height, x / width
    ramps = rng.random((channels, 3))
    picture = ramps[:, :1, None] * y + ramps[:, 1:2, None] * x + 0.3 * ramps[:, 2:, None]
    for index, (cy, cx, radius) in enumerate(((0.4, 0.35, 0.22), (0.65, 0.7, 0.18), (0.25, 0.75, 0.1))):
        distance = np.hypot(y - cy, (x - cx) * width / height) - radius
        alpha = np.clip(0.5 - distance * (20, 120, 400)[index], 0, 1)
        stripes = 0.25 * (np.floor(x * 40) % 2) if index == 1 else 0
        picture = picture + alpha * (rng.random((channels, 1, 1)) + stripes - picture)
    picture = picture + 0.03 * (rng.random(picture.shape) - 0.5)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
