"""Transforms of the cut-out data: results hold ``image`` uint8 (H, W, 3), ``mask`` uint8 (H, W), the task and
``rng``, a generator that depends on (seed, epoch, index) alone, and ``pairs``, all pairs of the data set.

``random`` marks those that the one-picture overfit check leaves out.
"""
from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement, PixelData

from dense.datasets.cache import PictureCache, read_content
from dense.errors import ImageError
from dense.io import Pair, mask_problem, read_image, read_mask
from dense.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadPair:
    """Reads picture and mask and resizes both to the task's size times ``scale``.

    cache: keep the resized arrays on disk (see ``PictureCache``). keep_mask: keep the mask at its own size
    too, as ``full_mask``, for evaluation. scale: > 1 leaves room for crops.

    Raises ImageError for files that cannot be read, a mask of another size than its picture (both turned
    upright by their EXIF orientation), and 0/1 masks.
    """

    random = False

    def __init__(self, cache: bool = True, keep_mask: bool = False, scale: float = 1.0):
        self.cache = PictureCache() if cache else None
        self.keep_mask, self.scale = keep_mask, scale

    def __call__(self, results: dict) -> dict:
        pair, height, width = results["pair"], *(round(s * self.scale) for s in results["task"].size)
        task, count = replace(results["task"], size=(height, width)), height * width

        def make(image: bytes, mask: bytes) -> np.ndarray:
            arrays = decode_pair(pair, image, mask)
            return np.concatenate([task.resize(a).ravel() for a in arrays])

        files = (pair.image, pair.mask)
        if self.cache is None:
            flat = make(*map(read_content, files))
        else:
            flat = self.cache.get(files, "picture and mask, linear", (4 * count,), make)
        results["image"] = flat[:3 * count].reshape(height, width, 3)
        results["mask"] = flat[3 * count:].reshape(height, width)
        if self.keep_mask:
            results["full_mask"] = read_mask(pair.mask)
        results["ori_shape"] = results.get("full_mask", results["mask"]).shape
        return results


def decode_pair(pair: Pair, image: bytes, mask: bytes) -> tuple[np.ndarray, np.ndarray]:
    """uint8 picture (H, W, 3) and mask (H, W) from the contents of a pair's files; ImageError if they do not fit."""
    arrays = []
    for path, content, read in ((pair.image, image, read_image), (pair.mask, mask, read_mask)):
        try:
            arrays.append(read(content))
        except ImageError as error:  # the reader knows no name
            raise type(error)(str(error).replace("the given bytes", str(path), 1)) from None
    picture, truth = arrays
    if picture.shape[:2] != truth.shape:
        raise ImageError(
            f"{pair.mask}: the mask has {truth.shape[1]} x {truth.shape[0]} pixels, its picture {pair.image} "
            f"{picture.shape[1]} x {picture.shape[0]} (both upright). Remedy: replace the one that is wrong; "
            "tools/data/check.py finds all of them")
    if mask_problem(truth) == "0/1 mask":
        raise ImageError(
            f"{pair.mask}: a 0/1 mask, which would train to nothing. Remedy: store 0 and 255 "
            "(multiply by 255); tools/data/check.py finds all of them")
    return picture, truth


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
class CopyPaste:
    """With ``probability``, the objects of another picture of the split pasted over this one (Ghiasi, CVPR 2021).

    They are cut out by their mask, flipped half of the time, resized by a factor from ``scale`` (low, high) and moved
    so that their box stays in the frame as far as it fits. The masks are united. Comes after ``load``, the transform
    that reads a pair. ``most``: pictures of which more than this share would be foreground are left as they are.
    """

    random = True

    def __init__(self, probability: float = 0.5, scale: tuple[float, float] = (0.5, 1.0), most: float = 0.8,
                 load: dict | None = None):
        self.probability, self.scale, self.most = probability, tuple(scale), most
        self.load = TRANSFORMS.build(load or dict(type="LoadPair"))

    def __call__(self, results: dict) -> dict:
        rng, pairs = results["rng"], results["pairs"]
        if rng.random() >= self.probability:
            return results
        other = self.load({**results, "pair": pairs[int(rng.integers(len(pairs)))]})
        height, width = results["mask"].shape
        left, top, w, h = cv2.boundingRect((other["mask"] > 0).view(np.uint8))
        if not w:
            return results
        # a matrix from the object's box to its place in the frame
        factor = rng.uniform(*self.scale)
        sign = -1.0 if rng.random() < 0.5 else 1.0
        room = np.array([width - factor * w, height - factor * h])
        x, y = np.where(room > 0, rng.random(2) * room, room / 2)
        matrix = np.array([[sign * factor, 0, x - sign * factor * (left if sign > 0 else left + w - 1)],
                           [0, factor, y - factor * top]])
        pasted, alpha = (
            cv2.warpAffine(np.ascontiguousarray(other[key]), matrix, (width, height), flags=cv2.INTER_LINEAR,
                           borderMode=border)
            for key, border in (("image", cv2.BORDER_REFLECT_101), ("mask", cv2.BORDER_CONSTANT)))
        below = 255 - results["mask"].astype(np.uint16)
        mask = (255 - (below * (255 - alpha) + 127) // 255).astype(np.uint8)
        if np.count_nonzero(mask > 128) > self.most * mask.size:
            return results
        share = alpha[..., None].astype(np.float32) / 255
        image = results["image"] * (1 - share) + pasted * share
        return results | {"image": np.rint(image).astype(np.uint8), "mask": mask}


@TRANSFORMS.register_module()
class RandomRotate:
    """With ``probability``, a rotation by up to ``degrees``; picture and mask are mirrored at the border."""

    random = True

    def __init__(self, degrees: float = 20.0, probability: float = 0.3):
        self.degrees, self.probability = degrees, probability

    def __call__(self, results: dict) -> dict:
        rng = results["rng"]
        if rng.random() < self.probability:
            height, width = results["mask"].shape
            matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5),
                                             float(rng.uniform(-self.degrees, self.degrees)), 1.0)
            for key in ("image", "mask"):  # the same border: a mirrored piece of the object is foreground too
                results[key] = cv2.warpAffine(np.ascontiguousarray(results[key]), matrix, (width, height),
                                              flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return results


@TRANSFORMS.register_module()
class RandomPhotometric:
    """Brightness, contrast, saturation and per-channel gain, each drawn from 1 +- its value; grey sometimes.

    Brightness is held back where more than about 5 % of the values would exceed 255: in a burnt-out picture a
    white object has no outline. The gains average 1: a colour cast.
    """

    random = True

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.3,
                 gain: float = 0.1, grey: float = 0.05):
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.gain, self.grey = gain, grey

    def __call__(self, results: dict) -> dict:
        rng = results["rng"]
        b, c, s = (1 + rng.uniform(-v, v) for v in (self.brightness, self.contrast, self.saturation))
        gains = 1 + rng.uniform(-self.gain, self.gain, 3)
        gains /= gains.mean()
        if rng.random() < self.grey:
            s = 0.0
        b = min(b, (255 - 128 * (1 - c)) / (c * max(1.0, np.percentile(results["image"][::8, ::8], 95))))
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
