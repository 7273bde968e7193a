"""Transforms of detection data: results hold ``image`` uint8 (H, W, 3), ``objects`` in its pixels, the task, and
``rng``, a generator that depends on (seed, epoch, index) alone.

``RandomPhotometric`` of the cut-out data works on them as well.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData

from dense.errors import ConfigError, ImageError
from dense.io import read_image
from dense.io.coco import Objects
from dense.registry import TRANSFORMS
from dense.tasks.detection import scaled_to_fit

LEAST = 1.0  # pixels that a box has at least after a crop


@TRANSFORMS.register_module()
class LoadDetection:
    """Reads the picture at its own size, and takes what is in it.

    Raises ImageError for files that cannot be read, and pictures of another size than their annotations say.
    """

    random = False

    def __call__(self, results: dict) -> dict:
        picture = results["picture"]
        image = read_image(picture.image)
        if image.shape[:2] != picture.shape:
            raise ImageError(f"{picture.image}: {image.shape[1]} x {image.shape[0]} pixels, its annotations say "
                             f"{picture.shape[1]} x {picture.shape[0]}. Remedy: replace the one that is wrong (COCO's "
                             "code ignores EXIF orientation, here pictures are upright)")
        return results | {"image": image, "objects": picture.objects, "ori_shape": image.shape[:2]}


@TRANSFORMS.register_module()
class ResizeDetection:
    """Scales the picture as the task does.

    short: lengths of the shorter side, of which one is drawn, instead of the task's; longest: of the longer one, None:
    the task's. mode: 'fit' or 'global', of the task, where ``short`` is not given.
    """

    def __init__(self, short: Sequence[int] | None = None, longest: int | None = None, mode: str = "fit"):
        if short is not None and (not len(short) or any(int(s) != s or s < 1 for s in short)):
            raise ConfigError(f"ResizeDetection: short={short!r}: lengths in pixels, at least one")
        self.short, self.longest, self.mode = short and tuple(short), longest, mode
        self.random = short is not None

    def __call__(self, results: dict) -> dict:
        task, shape = results["task"], results["image"].shape[:2]
        if self.short is None:
            return resize(results, task.plan(shape, self.mode).content)
        short = self.short[int(results["rng"].integers(len(self.short)))]
        bounds = short, max(short, self.longest or task.longest or max(task.size))
        return resize(results, scaled_to_fit(shape, bounds if shape[0] <= shape[1] else bounds[::-1]))


@TRANSFORMS.register_module()
class RandomFlipDetection:
    """Mirrors picture and boxes, left to right, with this probability."""

    random = True

    def __init__(self, probability: float = 0.5):
        if not 0 <= probability <= 1:
            raise ConfigError(f"RandomFlipDetection: probability={probability!r} must be in 0..1")
        self.probability = probability

    def __call__(self, results: dict) -> dict:
        if results["rng"].random() >= self.probability:
            return results
        image, objects = results["image"], results["objects"]
        boxes = objects.boxes.copy()
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        return results | {"image": np.ascontiguousarray(image[:, ::-1]), "objects": replace(objects, boxes=boxes)}


@TRANSFORMS.register_module()
class RandomCropDetection:
    """With this probability: the picture scaled by its shorter side, then a crop (the augmentation of DETR).

    short: lengths of the shorter side, of which one is drawn. sides: smallest and largest side of the crop.
    keep: crops without any object are drawn again, ``keep`` times at most; then the picture stays as it is.
    """

    random = True

    def __init__(self, probability: float = 0.5, short: Sequence[int] = (400, 500, 600),
                 sides: tuple[int, int] = (384, 600), keep: int = 10):
        if not 0 <= probability <= 1:
            raise ConfigError(f"RandomCropDetection: probability={probability!r} must be in 0..1")
        if len(sides) != 2 or not 0 < sides[0] <= sides[1]:
            raise ConfigError(f"RandomCropDetection: sides={sides!r}: smallest and largest, in pixels")
        self.probability, self.short, self.sides, self.keep = probability, tuple(short), tuple(sides), keep

    def __call__(self, results: dict) -> dict:
        rng = results["rng"]
        if rng.random() >= self.probability:
            return results
        short = self.short[int(rng.integers(len(self.short)))]
        shape = results["image"].shape[:2]
        scaled = resize(results, scaled_to_fit(shape, (short, 1 << 30) if shape[0] <= shape[1] else (1 << 30, short)))
        whole = scaled["image"].shape[:2]
        for _ in range(self.keep):
            height, width = (int(rng.integers(min(s, self.sides[0]), min(s, self.sides[1]) + 1)) for s in whole)
            top, left = (int(rng.integers(0, s - c + 1)) for s, c in zip(whole, (height, width), strict=True))
            objects = crop_objects(scaled["objects"], (left, top, left + width, top + height))
            if len(objects) or not len(scaled["objects"]):
                part = np.ascontiguousarray(scaled["image"][top:top + height, left:left + width])
                return scaled | {"image": part, "objects": objects}
        return results


@TRANSFORMS.register_module()
class PackDetection:
    """To ``inputs`` uint8 (3, h, w) and a data sample.

    ``gt_instances``: ``bboxes`` (n, 4) xyxy in pixels of ``inputs``, ``labels`` int64; without crowds. Metainfo:
    ``img_shape``, ``ori_shape``, ``name``, ``img_id``, ``img_path``; with ``keep_truth`` also ``truth``, what is in the
    picture at its own size, which ``DetectionMetrics`` compares with.
    """

    random = False

    def __init__(self, keep_truth: bool = False):
        self.keep_truth = keep_truth

    def __call__(self, results: dict) -> dict:
        from mmdet.structures import DetDataSample  # needs the extra 'det'

        picture, image, objects = results["picture"], results["image"], results["objects"]
        objects = objects[~objects.crowd]
        sample: BaseDataElement = DetDataSample(metainfo=dict(
            name=picture.name, img_id=picture.id, img_path=str(picture.image), img_shape=image.shape[:2],
            ori_shape=results["ori_shape"], **({"truth": picture.objects} if self.keep_truth else {})))
        sample.gt_instances = InstanceData(bboxes=torch.from_numpy(objects.boxes),
                                           labels=torch.from_numpy(objects.labels))
        return {"inputs": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), "data_samples": sample}


def resize(results: dict, content: tuple[int, int]) -> dict:
    """Results at (height, width) ``content``."""
    image, objects = results["image"], results["objects"]
    scale = np.float32([content[1] / image.shape[1], content[0] / image.shape[0]] * 2)
    return results | {"image": results["task"].resize(image, content),
                      "objects": replace(objects, boxes=objects.boxes * scale, areas=objects.areas * scale[:2].prod())}


def crop_objects(objects: Objects, window: tuple[int, int, int, int]) -> Objects:
    """Objects in a window (left, top, right, bottom), in its pixels; boxes end at its edges, slivers are left out."""
    left, top, right, bottom = window
    low, high = np.float32([left, top, left, top]), np.float32([right, bottom, right, bottom])
    boxes = np.clip(objects.boxes, low, high) - low
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = (sides >= LEAST).all(1)
    return replace(objects, boxes=boxes, areas=sides.prod(1))[kept]
