"""Transforms of the cut-out data: results hold ``image`` uint8 (H, W, 3), ``mask`` uint8 (H, W), the task and
``rng``, a generator that depends on (seed, epoch, index) alone.

``random`` marks those that the one-picture overfit check leaves out.
"""
from __future__ import annotations

import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement, PixelData

from dense.datasets.cache import PictureCache
from dense.errors import ImageError
from dense.io import mask_problem, read_image, read_mask
from dense.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadPair:
    """Reads picture and mask and resizes both to the task's size times ``scale``.

    cache: keep the resized arrays on disk (see ``PictureCache``). keep_mask: keep the mask at its own size
    too, as ``full_mask``, for evaluation. scale: > 1 leaves room for crops.
    """

    random = False

    def __init__(self, cache: bool = True, keep_mask: bool = False, scale: float = 1.0):
        self.cache = PictureCache() if cache else None
        self.keep_mask, self.scale = keep_mask, scale

    def __call__(self, results: dict) -> dict:
        task = results["task"]
        if self.scale != 1:
            task = type(task)(size=tuple(round(s * self.scale) for s in task.size))
        settings = f"{task.size} linear"

        def load(path, read, kind):
            def make(content):
                try:
                    return task.resize(read(content))
                except ImageError as error:
                    raise ImageError(str(error).replace("<bytes>", str(path))) from None

            if self.cache is None:
                return make(path.read_bytes())
            return self.cache.get(path, f"{kind} {settings}", make)

        pair = results["pair"]
        results["image"] = load(pair.image, read_image, "image")
        if self.keep_mask:
            full = read_mask(pair.mask)
            results["full_mask"], results["mask"] = full, task.resize(full)
        else:
            results["mask"] = load(pair.mask, read_mask, "mask")
        if mask_problem(results.get("full_mask", results["mask"])) == "0/1 mask":
            raise ImageError(
                f"{pair.mask}: a 0/1 mask, which would train to nothing. Remedy: store 0 and 255 "
                "(multiply by 255); tools/data/check.py finds all of them")
        results["ori_shape"] = results["full_mask"].shape if self.keep_mask else results["mask"].shape
        return results


@TRANSFORMS.register_module()
class RandomFlip:
    """Horizontal (and vertical) flip with the given probabilities; published: horizontal, 0.5."""

    random = True

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0):
        self.horizontal, self.vertical = horizontal, vertical

    def __call__(self, results: dict) -> dict:
        rng = results["rng"]
        for probability, axis in ((self.horizontal, 1), (self.vertical, 0)):
            if rng.random() < probability:
                for key in ("image", "mask"):
                    results[key] = np.flip(results[key], axis)
        return results


@TRANSFORMS.register_module()
class RandomCrop:
    """With ``probability``, a crop whose sides are ``scale`` (low, high) of the picture's, back to the task's size.

    Crops without at least ``least`` of the picture's foreground are drawn again (5 times, then kept whole).
    """

    random = True

    def __init__(self, scale: tuple[float, float] = (0.6, 1.0), probability: float = 0.5, least: float = 0.2):
        self.scale, self.probability, self.least = tuple(scale), probability, least

    def __call__(self, results: dict) -> dict:
        rng, image, mask = results["rng"], results["image"], results["mask"]
        if rng.random() < self.probability:
            total = max(1, int(np.count_nonzero(mask > 128)))
            for _ in range(5):
                h, w = (max(16, round(s * rng.uniform(*self.scale))) for s in mask.shape)
                y, x = int(rng.integers(mask.shape[0] - h + 1)), int(rng.integers(mask.shape[1] - w + 1))
                if np.count_nonzero(mask[y:y + h, x:x + w] > 128) >= self.least * total:
                    image, mask = image[y:y + h, x:x + w], mask[y:y + h, x:x + w]
                    break
        results["image"], results["mask"] = (results["task"].resize(np.ascontiguousarray(a))
                                             for a in (image, mask))
        return results


@TRANSFORMS.register_module()
class RandomRotate:
    """With ``probability``, a rotation by up to ``degrees``; the border repeats in the picture, empty in the mask."""

    random = True

    def __init__(self, degrees: float = 20.0, probability: float = 0.3):
        self.degrees, self.probability = degrees, probability

    def __call__(self, results: dict) -> dict:
        rng = results["rng"]
        if rng.random() < self.probability:
            height, width = results["mask"].shape
            matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5),
                                             float(rng.uniform(-self.degrees, self.degrees)), 1.0)
            for key, border in (("image", cv2.BORDER_REFLECT_101), ("mask", cv2.BORDER_CONSTANT)):
                results[key] = cv2.warpAffine(np.ascontiguousarray(results[key]), matrix, (width, height),
                                              flags=cv2.INTER_LINEAR, borderMode=border)
        return results


@TRANSFORMS.register_module()
class RandomPhotometric:
    """Brightness, contrast, saturation and per-channel gain, each drawn from 1 +- its value; grey sometimes."""

    random = True

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.3,
                 gain: float = 0.1, grey: float = 0.05):
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.gain, self.grey = gain, grey

    def __call__(self, results: dict) -> dict:
        rng = results["rng"]
        b, c, s = (1 + rng.uniform(-v, v) for v in (self.brightness, self.contrast, self.saturation))
        gains = 1 + rng.uniform(-self.gain, self.gain, 3)
        if rng.random() < self.grey:
            s = 0.0
        # all four are linear in RGB: one 3x4 matrix, one pass over the picture
        luma = np.array([0.299, 0.587, 0.114])
        matrix = np.diag(gains * b * c) @ (s * np.eye(3) + (1 - s) * luma)
        offset = np.full((3, 1), 128 * (1 - c))
        results["image"] = cv2.transform(np.ascontiguousarray(results["image"]),
                                         np.hstack([matrix, offset]).astype(np.float32))
        return results


@TRANSFORMS.register_module()
class PackCutout:
    """To ``inputs`` uint8 (3, h, w) and a data sample with ``gt_alpha`` and ``gt_sem_seg`` (1, H, W).

    inputs: 'image', or 'mask' for training the ground-truth encoder on masks.
    """

    random = False

    def __init__(self, inputs: str = "image"):
        self.inputs = inputs

    def __call__(self, results: dict) -> dict:
        array = results[self.inputs]
        array = array.transpose(2, 0, 1) if array.ndim == 3 else array[None]
        truth = torch.from_numpy(np.ascontiguousarray(results.get("full_mask", results["mask"])))[None]
        sample = BaseDataElement(metainfo=dict(
            name=results["pair"].name, image_path=str(results["pair"].image),
            mask_path=str(results["pair"].mask), ori_shape=tuple(results["ori_shape"])))
        sample.gt_alpha = PixelData(data=truth)
        sample.gt_sem_seg = PixelData(data=(truth > 128).long())
        return {"inputs": torch.from_numpy(np.ascontiguousarray(array)), "data_samples": sample}
