"""nnU-Net's changes of values: noise, blur, brightness, contrast, low resolution, gamma; of float32 (C, d, h, w).

Strengths and probabilities are nnU-Net's; where its two generations differ, those of the first, with which the
published STU-Net was trained. Each transform happens with ``probability``.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from dense.datasets.transforms.volume import draw_factor, flat_axis
from dense.registry import TRANSFORMS
from dense.tasks.volume_resample import find_scipy


class _Values(ABC):
    """Changes ``values`` with a probability."""

    random = True

    def __init__(self, probability: float):
        self.probability = probability

    def __call__(self, results: dict) -> dict:
        if results["rng"].random() < self.probability:
            values = np.array(results["values"], np.float32)
            self.change(values, results["rng"], results["task"])
            results["values"] = values
        return results

    @abstractmethod
    def change(self, values: np.ndarray, rng: np.random.Generator, task) -> None:
        """Change values (C, d, h, w) in place."""


@TRANSFORMS.register_module()
class RandomVolumeNoise(_Values):
    """Gaussian noise, its standard deviation drawn from 0 to ``strongest``."""

    def __init__(self, probability: float = 0.1, strongest: float = 0.1):
        super().__init__(probability)
        self.strongest = strongest

    def change(self, values, rng, task) -> None:
        values += rng.standard_normal(values.shape, np.float32) * np.float32(rng.uniform(0, self.strongest))


@TRANSFORMS.register_module()
class RandomVolumeBlur(_Values):
    """Gaussian blur of half of the channels, of a deviation drawn from ``sigma`` for each, in voxels."""

    def __init__(self, probability: float = 0.2, sigma: tuple[float, float] = (0.5, 1.0), channels: float = 0.5):
        super().__init__(probability)
        self.sigma, self.channels = sigma, channels

    def change(self, values, rng, task) -> None:
        for channel in values:
            if rng.random() < self.channels:
                find_scipy().gaussian_filter(channel, rng.uniform(*self.sigma), output=channel)


@TRANSFORMS.register_module()
class RandomVolumeBrightness(_Values):
    """Multiplies each channel by a factor from ``limits``."""

    def __init__(self, probability: float = 0.15, limits: tuple[float, float] = (0.75, 1.25)):
        super().__init__(probability)
        self.limits = limits

    def change(self, values, rng, task) -> None:
        values *= rng.uniform(*self.limits, (len(values), 1, 1, 1)).astype(np.float32)


@TRANSFORMS.register_module()
class RandomVolumeContrast(_Values):
    """Multiplies each channel's difference from its mean by a factor from ``limits``, within the range that it had."""

    def __init__(self, probability: float = 0.15, limits: tuple[float, float] = (0.75, 1.25)):
        super().__init__(probability)
        self.limits = limits

    def change(self, values, rng, task) -> None:
        for channel in values:
            mean, low, high = channel.mean(dtype=np.float64), channel.min(), channel.max()
            channel -= np.float32(mean)
            channel *= np.float32(draw_factor(rng, self.limits))
            channel += np.float32(mean)
            np.clip(channel, low, high, out=channel)


@TRANSFORMS.register_module()
class RandomVolumeLowRes(_Values):
    """Half of the channels as if of a coarser grid: shrunk by a factor from ``zoom`` (nearest), enlarged (linear).

    The short axis of flat patches keeps its grid.
    """

    def __init__(self, probability: float = 0.25, zoom: tuple[float, float] = (0.5, 1.0), channels: float = 0.5):
        super().__init__(probability)
        self.zoom, self.channels = zoom, channels

    def change(self, values, rng, task) -> None:
        shape, flat = values.shape[1:], flat_axis(values.shape[1:])
        for channel in values:
            if rng.random() < self.channels:
                zoom = rng.uniform(*self.zoom)
                small = [n if axis == flat else max(1, round(n * zoom)) for axis, n in enumerate(shape)]
                coarse = F.interpolate(torch.from_numpy(channel)[None, None], small, mode="nearest-exact")
                channel[...] = F.interpolate(coarse, shape, mode="trilinear")[0, 0].numpy()


@TRANSFORMS.register_module()
class RandomVolumeGamma(_Values):
    """Each channel, scaled to 0..1, to the power of a factor from ``limits``; mean and deviation stay as they were.

    inverted: of the negative.
    """

    def __init__(self, probability: float = 0.3, limits: Sequence[float] = (0.7, 1.5), inverted: bool = False):
        super().__init__(probability)
        self.limits, self.inverted = tuple(limits), inverted

    def change(self, values, rng, task) -> None:
        for channel in values:
            gamma = np.float32(draw_factor(rng, self.limits))
            mean, std = channel.mean(dtype=np.float64), channel.std(dtype=np.float64)
            if self.inverted:
                np.negative(channel, out=channel)
            low = channel.min()
            span = max(channel.max() - low, np.float32(1e-7))
            channel -= low
            channel /= span
            np.power(channel, gamma, out=channel)
            if self.inverted:
                np.negative(channel, out=channel)
            channel -= np.float32(channel.mean(dtype=np.float64))
            channel *= np.float32(std / max(channel.std(dtype=np.float64), 1e-8))
            channel += np.float32(mean)
