"""Transforms of the data for erasing: results hold ``image`` and ``clean`` uint8 RGB (H, W, 3), ``polygons`` int32
(n, 2) around each text, the task and ``rng``; ``CustomMask`` adds ``mask`` uint8 (H, W) and ``truth``.

``random`` marks those that the one-picture overfit check leaves out.
"""
from __future__ import annotations

import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement, PixelData

from dense.io.texts import changed, load_texts
from dense.registry import TRANSFORMS
from dense.tasks.erase import MULTIPLE

NEAR = 4  # pixels around a text that may belong to it: shadow, soft edges


@TRANSFORMS.register_module()
class LoadErase:
    """Reads the pictures of ``files``, and where text is: boxes, a mask, or where the two pictures differ.

    Raises ImageError for files that cannot be read or differ in size, DatasetError for boxes that are none.
    """

    random = False

    def __call__(self, results: dict) -> dict:
        files = results["files"]
        image, clean, polygons = load_texts(files)
        return results | {"image": image, "clean": clean, "polygons": polygons, "name": files.name,
                          "image_path": str(files.image)}


@TRANSFORMS.register_module()
class EraseCrop:
    """A crop of ``size`` (height, width) with at least a part of a text in it, if there is one; smaller pictures are
    mirrored to it."""

    random = True

    def __init__(self, size: tuple[int, int] = (256, 256)):
        self.size = tuple(size)

    def __call__(self, results: dict) -> dict:
        rng, (height, width) = results["rng"], self.size
        below, beside = (max(0, s - t) for s, t in zip(self.size, results["image"].shape[:2], strict=True))
        for key in ("image", "clean"):
            if below or beside:
                results[key] = cv2.copyMakeBorder(results[key], 0, below, 0, beside, cv2.BORDER_REFLECT_101)
        room = [s - t for s, t in zip(results["image"].shape[:2], self.size, strict=True)]
        y, x = (int(rng.integers(r + 1)) for r in room)
        if results["polygons"]:
            polygon = results["polygons"][int(rng.integers(len(results["polygons"])))]
            cx, cy = polygon[int(rng.integers(len(polygon)))]
            y, x = (int(np.clip(c - rng.integers(s), 0, r)) for c, s, r in zip((cy, cx), self.size, room, strict=True))
        for key in ("image", "clean"):
            results[key] = results[key][y:y + height, x:x + width]
        results["polygons"] = [p - (x, y) for p in results["polygons"]]
        return results


@TRANSFORMS.register_module()
class EraseFlip:
    """Horizontal flip with ``probability``: letters are mirrored, which does not matter to what is erased."""

    random = True

    def __init__(self, probability: float = 0.5):
        self.probability = probability

    def __call__(self, results: dict) -> dict:
        if results["rng"].random() < self.probability:
            width = results["image"].shape[1]
            for key in ("image", "clean"):
                results[key] = results[key][:, ::-1]
            results["polygons"] = [np.stack([width - 1 - p[:, 0], p[:, 1]], 1) for p in results["polygons"]]
        return results


@TRANSFORMS.register_module()
class CustomMask:
    """Chooses what is to be erased, draws its mask, and makes the truth: the clean picture there, the given one where
    other texts are.

    erase: probability of each text to be chosen (at least one is); 1 chooses all. Forms of the masks, by chance with
    these ``shares``: 'polygon', around the text and widened by up to ``loose`` pixels; 'box', upright; 'strokes', the
    letters themselves, widened by 1 to 3. A single form with share 1, and ``loose`` as (n, n), leave nothing to chance.
    """

    random = False

    def __init__(self, erase: float = 0.6, shares: dict | None = None, loose: tuple[int, int] = (0, 8)):
        self.erase, self.loose = erase, tuple(loose)
        self.shares = dict(shares or {"polygon": 0.5, "box": 0.25, "strokes": 0.25})
        if unknown := set(self.shares) - {"polygon", "box", "strokes"}:
            raise ValueError(f"no form of masks is called {', '.join(sorted(unknown))}")

    def __call__(self, results: dict) -> dict:
        rng, image, clean = results["rng"], results["image"], results["clean"]
        polygons = results["polygons"]
        chosen = rng.random(len(polygons)) < self.erase
        if len(polygons) and not chosen.any():
            chosen[int(rng.integers(len(polygons)))] = True
        shape = image.shape[:2]
        mask, gone, kept = (np.zeros(shape, np.uint8) for _ in range(3))
        differs = changed(image, clean)
        for polygon, erased in zip(polygons, chosen, strict=True):
            region = cv2.fillPoly(np.zeros(shape, np.uint8), [polygon], 1)
            if erased:
                mask |= self._form(rng, polygon, region, differs)
                gone |= widen(region, NEAR)
            else:
                kept |= widen(region, NEAR)
        kept &= 1 - gone
        results["truth"] = np.where(kept[..., None] > 0, image, clean)
        results["mask"] = 255 * mask
        results["erased"] = [p for p, c in zip(polygons, chosen, strict=True) if c]
        return results

    def _form(self, rng: np.random.Generator, polygon: np.ndarray, region: np.ndarray,
              differs: np.ndarray) -> np.ndarray:
        forms, shares = list(self.shares), np.array(list(self.shares.values()), float)
        form = forms[int(rng.choice(len(forms), p=shares / shares.sum()))]
        loose = int(rng.integers(self.loose[0], self.loose[1] + 1))
        if form == "strokes":
            return widen((region > 0) & differs, int(rng.integers(1, 4)))
        if form == "box":
            x, y, w, h = cv2.boundingRect(polygon)
            region = np.zeros_like(region)
            region[max(0, y):y + h, max(0, x):x + w] = 1
        return widen(region, loose)


def widen(region: np.ndarray, reach: int) -> np.ndarray:
    """uint8 0/1 of a region, bool or uint8, and ``reach`` pixels around it."""
    region = region.view(np.uint8)
    return cv2.dilate(region, np.ones((2 * reach + 1,) * 2, np.uint8)) if reach else region


@TRANSFORMS.register_module()
class PackErase:
    """To ``inputs`` uint8 (4, h, w), RGB and the mask widened by the task, and a data sample with ``gt_image``
    (3, H, W), ``gt_mask`` (1, H, W), 255 in the widened mask, and ``polygons`` of what is erased.

    pad: for evaluation: inputs are mirrored to multiples of 8, as the task does, the truth keeps its size, and the
        sample has the picture as ``given`` (3, H, W), too.
    """

    random = False

    def __init__(self, pad: bool = False):
        self.pad = pad

    def __call__(self, results: dict) -> dict:
        image, task = results["image"], results["task"]
        region = 255 * task.region(np.ascontiguousarray(results["mask"]))
        array = np.dstack([image, region])
        height, width = image.shape[:2]
        if self.pad:
            array = cv2.copyMakeBorder(array, 0, -height % MULTIPLE, 0, -width % MULTIPLE, cv2.BORDER_REFLECT_101)
        sample = BaseDataElement(metainfo=dict(
            name=results["name"], image_path=results["image_path"], ori_shape=(height, width),
            polygons=[p.tolist() for p in results["erased"]]))
        sample.gt_image = PixelData(data=_channels_first(results["truth"]))
        sample.gt_mask = PixelData(data=torch.from_numpy(region)[None])
        if self.pad:
            sample.given = PixelData(data=_channels_first(image))
        return {"inputs": _channels_first(array), "data_samples": sample}


def _channels_first(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
