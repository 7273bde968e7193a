"""The golden picture and volume, on which networks are compared: they are drawn, so that they have no licence."""
from __future__ import annotations

from collections.abc import Sequence

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


def golden_volume(size: Sequence[int], channels: int = 1, seed: int = 0) -> np.ndarray:
    """float32 (channels, *size) of mean 0 and deviation 1: balls with soft and sharp edges in noise and a gradient.

    The same for the same arguments, whatever the versions of the libraries.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    place = [np.arange(n).reshape([-1 if i == axis else 1 for i in range(3)]) / n for axis, n in enumerate(size)]
    volume = np.zeros((channels, *size))
    volume += sum(ramp * axis for ramp, axis in zip(rng.random((3, channels, 1, 1, 1)), place, strict=True))
    balls = (((0.4, 0.35, 0.5), 0.24, 20), ((0.6, 0.7, 0.4), 0.18, 400), ((0.3, 0.7, 0.75), 0.1, 60))
    for centre, radius, edge in balls:
        distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(place, centre, strict=True))) - radius
        inside = np.clip(0.5 - distance * edge, 0, 1)
        volume += inside * (3 * rng.random((channels, 1, 1, 1)) - volume)
    volume += 0.1 * (rng.random(volume.shape) - 0.5)
    volume -= volume.mean((1, 2, 3), keepdims=True)
    return (volume / volume.std((1, 2, 3), keepdims=True)).astype(np.float32)


def golden_input(size: Sequence[int], channels: int, seed: int = 0) -> np.ndarray:
    """float32 (channels, *size): the golden picture's values, 0..255, for (height, width), the golden volume for
    (depth, height, width)."""
    if len(size) == 3:
        return golden_volume(size, channels, seed)
    return golden_picture(*size, channels, seed).astype(np.float32)
