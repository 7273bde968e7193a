"""Transforms of semantic data: results hold ``image`` uint8 (H, W, 3), ``mask``, the index of each pixel's class
(H, W), the task, the class list, and ``rng``, a generator that depends on (seed, epoch, index) alone.

``RandomFlip`` and ``RandomPhotometric`` of the cut-out data work on them as well.
"""
from __future__ import annotations

import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement, PixelData

from dense.errors import ConfigError, ImageError
from dense.io import Pair, read_image
from dense.io.classes import ClassList
from dense.io.labels import read_labels
from dense.registry import TRANSFORMS
from dense.tasks import SemanticTask

TRIES = 10


@TRANSFORMS.register_module()
class LoadSemantic:
    """Reads picture and labels at their own size.

    Raises ImageError for files that cannot be read, labels of another size than their picture, and values that are no
    class.
    """

    random = False

    def __call__(self, results: dict) -> dict:
        image, mask = read_semantic(results["pair"], results["classes"], results["task"].ignore_index)
        return results | {"image": image, "mask": mask, "ori_shape": mask.shape}


def read_semantic(pair: Pair, classes: ClassList, ignore_index: int = 255) -> tuple[np.ndarray, np.ndarray]:
    """uint8 picture (H, W, 3) and the index of each pixel's class (H, W); ImageError if they do not fit."""
    image, mask = read_image(pair.image), read_labels(pair.mask, classes, ignore_index)
    if image.shape[:2] != mask.shape:
        raise ImageError(
            f"{pair.mask}: the labels have {mask.shape[1]} x {mask.shape[0]} pixels, their picture {pair.image} "
            f"{image.shape[1]} x {image.shape[0]}. Remedy: replace the one that is wrong; tools/data/check.py finds "
            "all of them")
    return image, mask


@TRANSFORMS.register_module()
class RandomScaleCrop:
    """A crop of ``size`` from the picture scaled by a factor, drawn from ``scale`` (low, high) evenly in its logarithm.

    size: (height, width), None is the task's. most: crops of which one class is more than this share are drawn again
    (10 times at most). Where the scaled picture is smaller, the rest is the mean colour without label.
    """

    random = True

    def __init__(self, size: tuple[int, int] | None = None, scale: tuple[float, float] = (0.5, 2.0),
                 most: float = 0.75):
        if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ConfigError(f"RandomScaleCrop: scale={scale!r}: two factors, the lower one first")
        self.size, self.scale, self.most = size and tuple(size), tuple(scale), most

    def __call__(self, results: dict) -> dict:
        rng, task, image, mask = results["rng"], results["task"], results["image"], results["mask"]
        size = self.size or task.size
        for _ in range(TRIES):
            factor = float(np.exp(rng.uniform(*np.log(self.scale))))
            window = tuple(round(t / factor) for t in size)
            # where the window is larger than the picture, it begins before it
            top, left = (int(rng.integers(min(0, s - w), max(0, s - w) + 1))
                         for s, w in zip(mask.shape, window, strict=True))
            labels = crop(mask, (top, left), window, size, factor, task.ignore_index, cv2.INTER_NEAREST_EXACT)
            counts = np.bincount(labels[labels != task.ignore_index])
            if counts.size and counts.max() <= self.most * counts.sum():
                break
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        return results | {"image": crop(image, (top, left), window, size, factor, task.mean, how), "mask": labels}


def crop(array: np.ndarray, corner: tuple[int, int], window: tuple[int, int], size: tuple[int, int], factor: float,
         fill, interpolation: int) -> np.ndarray:
    """A window of an array (H, W[, C]), scaled by ``factor`` to ``size``; ``fill`` where it lies outside of it."""
    low = [max(0, c) for c in corner]
    high = [min(s, c + w) for s, c, w in zip(array.shape, corner, window, strict=False)]
    part = np.ascontiguousarray(array[low[0]:high[0], low[1]:high[1]])
    # the edges that lie within the picture are those of the result, whatever rounding says
    place = [0 if c >= 0 else min(t - 1, round(-c * factor)) for t, c in zip(size, corner, strict=True)]
    ends = [t if hi == c + w else max(p + 1, min(t, round((hi - c) * factor)))
            for t, p, hi, c, w in zip(size, place, high, corner, window, strict=True)]
    scaled = [e - p for e, p in zip(ends, place, strict=True)]
    part = cv2.resize(part, scaled[::-1], interpolation=interpolation)
    if tuple(scaled) == tuple(size):
        return part
    out = np.empty((*size, *array.shape[2:]), array.dtype)
    out[:] = np.rint(fill).astype(array.dtype)
    out[place[0]:place[0] + scaled[0], place[1]:place[1] + scaled[1]] = part
    return out


@TRANSFORMS.register_module()
class PackSemantic:
    """To ``inputs`` (3, h, w), values 0..255, and a data sample with ``gt_sem_seg``, labels (1, H, W).

    mode: None in training, the picture as it is with labels of its size; else how the picture is evaluated: 'global',
    'whole' or 'sliding', as ``SemanticTask.plan`` explains, with labels of the original size.
    """

    random = False

    def __init__(self, mode: str | None = None):
        if mode is not None and mode not in SemanticTask.modes:
            raise ConfigError(f"PackSemantic: mode={mode!r} is unknown; use {', '.join(SemanticTask.modes)}, or None")
        self.mode = mode

    def __call__(self, results: dict) -> dict:
        task, image, pair = results["task"], results["image"], results["pair"]
        if self.mode in (None, "sliding"):
            inputs = np.ascontiguousarray(image.transpose(2, 0, 1))
        else:
            inputs = task.tensor(image, task.plan(image.shape[:2], self.mode))
        labels = np.ascontiguousarray(results["mask"])
        if labels.dtype == np.uint16:
            labels = labels.astype(np.int32)  # PyTorch computes little with 16 bits
        sample = BaseDataElement(metainfo=dict(
            name=pair.name, image_path=str(pair.image), seg_map_path=str(pair.mask), mode=self.mode or "whole",
            ori_shape=tuple(results["ori_shape"] if self.mode else image.shape[:2])))
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
        return {"inputs": torch.from_numpy(inputs), "data_samples": sample}
