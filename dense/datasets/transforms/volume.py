"""Transforms of volumes: results hold ``case`` (its prepared arrays, on disk), ``task`` and ``rng``; ``VolumePatch``
adds ``values`` float32 (C, d, h, w) and ``labels`` int16 (d, h, w), indices of classes, -1 where nobody knows.

What is done to values is in ``volume_values``. ``random`` marks what the overfit check leaves out.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch.nn import functional as F

from dense.errors import ConfigError
from dense.registry import TRANSFORMS
from dense.tasks.volume import VolumeTask

FLAT = 3  # patches whose sides differ by more than this factor are turned in their plane only, as in nnU-Net


@TRANSFORMS.register_module()
class RandomVolumeSpatial:
    """Draws a rotation and a scale for ``VolumePatch``, each with its probability, as nnU-Net does.

    degrees: rotations about each axis are drawn from -degrees to degrees. scale: (low, high), half of the time from
        below 1, where something is seen larger; the same along all axes.
    Flat patches (sides that differ by more than 3 times) are turned and scaled in their plane, by up to 180 degrees.
    """

    random = True

    def __init__(self, degrees: float = 30.0, scale: tuple[float, float] = (0.7, 1.4), rotate: float = 0.2,
                 rescale: float = 0.2):
        if not 0 <= degrees <= 180 or len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ConfigError(f"RandomVolumeSpatial: degrees={degrees!r} lies in 0..180, scale={scale!r} is two "
                              "factors, the lower one first")
        self.degrees, self.scale, self.rotate, self.rescale = degrees, tuple(scale), rotate, rescale

    def __call__(self, results: dict) -> dict:
        rng, flat = results["rng"], flat_axis(results["task"].size)
        turned, scaled = rng.random() < self.rotate, rng.random() < self.rescale
        matrix = np.eye(3)
        if turned:
            limit = np.radians(self.degrees if flat is None else 180)
            for axis in range(3) if flat is None else (flat,):
                matrix = rotation(axis, rng.uniform(-limit, limit)) @ matrix
        if scaled:
            factors = np.full(3, draw_factor(rng, self.scale))
            if flat is not None:
                factors[flat] = 1
            matrix = matrix * factors
        return results | ({"matrix": matrix} if turned or scaled else {})


def flat_axis(size: Sequence[int]) -> int | None:
    """The short axis of a flat patch, None for others."""
    return int(np.argmin(size)) if max(size) > FLAT * min(size) else None


def rotation(axis: int, angle: float) -> np.ndarray:
    """float64 (3, 3) that turns about an axis of (z, y, x)."""
    a, b = (i for i in range(3) if i != axis)
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def draw_factor(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """A factor below 1 half of the time, if the limits allow it, else above, evenly in between."""
    low, high = limits
    if low < 1 and rng.random() < 0.5:
        return float(rng.uniform(low, min(1.0, high)))
    return float(rng.uniform(max(low, 1.0), high)) if high > 1 else high


@TRANSFORMS.register_module()
class VolumePatch:
    """Cuts a patch of the task's size out of a prepared volume, as ``RandomVolumeSpatial`` drew it.

    foreground: share of the patches that lie around a voxel of a class that is drawn among those that the volume has
        (nnU-Net: a third); the others lie anywhere. Patches lie inside as far as the volume is large enough; beyond it
        values are 0 and labels background.
    """

    random = False

    def __init__(self, foreground: float = 1 / 3):
        if not 0 <= foreground <= 1:
            raise ConfigError(f"VolumePatch: foreground={foreground!r} is no share, 0 to 1")
        self.foreground = foreground

    def __call__(self, results: dict) -> dict:
        rng, case, task = results["rng"], results["case"], results["task"]
        start = self.draw(rng, case, task.size)
        matrix = results.pop("matrix", None)
        if matrix is None:
            values = cut(case.values, start, task.size)
            labels = cut(case.labels[None], start, task.size)[0]
        else:
            values, labels = sample(case.values, case.labels, start, task.size, matrix)
        results |= {"values": values, "labels": labels}
        if any(task.masked):  # where values are 0, which is what lies outside, they stay so
            results["outside"] = (values == 0).all(0)
        return results

    def draw(self, rng: np.random.Generator, case, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """First voxel (z, y, x) of a patch."""
        shape = case.values.shape[1:]
        low = [min(0, -((s - n) // 2)) for n, s in zip(shape, size, strict=True)]
        high = [max(a, n - s) for a, n, s in zip(low, shape, size, strict=True)]
        if rng.random() < self.foreground and case.places:
            places = case.places[sorted(case.places)[int(rng.integers(len(case.places)))]]
            middle = places[int(rng.integers(len(places)))]
            return tuple(int(np.clip(m - s // 2, a, b)) for m, s, a, b in zip(middle, size, low, high, strict=True))
        return tuple(int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True))


def cut(array: np.ndarray, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """The part of (C, z, y, x) that begins at ``start``, a copy; 0 beyond the array."""
    out = np.zeros((len(array), *size), array.dtype)
    low = [max(0, a) for a in start]
    high = [min(n, a + s) for n, a, s in zip(array.shape[1:], start, size, strict=True)]
    target = tuple(slice(b - a, e - a) for a, b, e in zip(start, low, high, strict=True))
    out[(slice(None), *target)] = array[(slice(None), *map(slice, low, high))]
    return out


def sample(values: np.ndarray, labels: np.ndarray, start: Sequence[int], size: Sequence[int],
           matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (linear) and labels (nearest) of a patch whose offsets from its middle are multiplied by ``matrix``."""
    half = (np.asarray(size) - 1) / 2
    middle = np.asarray(start) + half
    offsets = [np.arange(n) - h for n, h in zip(size, half, strict=True)]
    reach = np.abs(matrix) @ half
    low = np.maximum(0, np.floor(middle - reach).astype(int) - 1)
    high = np.minimum(labels.shape, np.ceil(middle + reach).astype(int) + 2)
    box = tuple(map(slice, low, high))
    grid = np.stack([sum(matrix[a, b] * offsets[b].reshape([-1 if i == b else 1 for i in range(3)]) for b in range(3))
                     + middle[a] for a in range(3)], -1)
    # voxels of the box to -1..1 between the middles of the first and the last, x first
    grid = 2 * (grid - low) / np.maximum(1, high - low - 1) - 1
    grid = torch.from_numpy(grid[None, ..., ::-1].astype(np.float32))
    found = F.grid_sample(_batch(values[(slice(None), *box)]), grid, "bilinear", "zeros", align_corners=True)[0]
    nearest = F.grid_sample(_batch(labels[box][None]), grid, "nearest", "zeros", align_corners=True)[0, 0]
    return found.numpy(), nearest.numpy().astype(labels.dtype)


def _batch(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32)[None])


@TRANSFORMS.register_module()
class RandomVolumeMirror:
    """Turns a patch round, along each axis with a probability. axes: by default those that the task mirrors along."""

    random = True

    def __init__(self, probability: float = 0.5, axes: Sequence[int] | None = None):
        self.probability, self.axes = probability, axes

    def __call__(self, results: dict) -> dict:
        axes = results["task"].mirror if self.axes is None else self.axes
        chosen = [a for a in axes if results["rng"].random() < self.probability]
        for key in ("values", "labels", "outside"):
            if chosen and key in results:
                array = results[key]
                results[key] = np.flip(array, [a + array.ndim - 3 for a in chosen])
        return results


@TRANSFORMS.register_module()
class PackVolume:
    """To ``inputs`` float32 (C, d, h, w), and a data sample with ``gt_labels``.

    mode: None in training, a patch with labels (1, d, h, w); else how whole volumes are evaluated, 'plain' or
    'mirrored': ``inputs`` are then the values of the file, labels (Z, Y, X) are on its grid, and the metainfo has
    ``spacing`` and ``mode``.
    """

    random = False

    def __init__(self, mode: str | None = None):
        if mode is not None and mode not in VolumeTask.modes:
            raise ConfigError(f"PackVolume: mode={mode!r} is unknown; use {', '.join(VolumeTask.modes)}, or None")
        self.mode = mode

    def __call__(self, results: dict) -> dict:
        sample = BaseDataElement(metainfo=dict(name=results["name"], image_path=results["image_path"],
                                               label_path=results["label_path"]))
        if self.mode is None:
            values = np.ascontiguousarray(results["values"])
            if "outside" in results:
                for channel, masked in zip(values, results["task"].masked, strict=True):
                    if masked:
                        channel[results["outside"]] = 0
            sample.gt_labels = torch.from_numpy(np.ascontiguousarray(results["labels"][None]))
            return {"inputs": torch.from_numpy(values), "data_samples": sample}
        volume, labels = results["read"]()
        sample.set_metainfo(dict(spacing=volume.spacing, mode=self.mode))
        sample.gt_labels = torch.from_numpy(labels)
        values = np.array(volume.values, dtype=volume.values.dtype.newbyteorder("="))
        return {"inputs": torch.from_numpy(values), "data_samples": sample}
