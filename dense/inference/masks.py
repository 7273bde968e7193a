"""Where masks come from: files, folders, boxes, a text detector; and pictures together with them."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import ConfigError, DatasetError, DenseError, ImageError
from dense.inference.pipeline import Failure, Work
from dense.inference.results import EraseResult
from dense.inference.sources import IDLE, Item
from dense.io import Picture, list_images, mask_problem, read_mask

LOGGER = logging.getLogger("dense")
MaskOf = Callable[[Picture, Item], np.ndarray]
"""What is masked in a picture: uint8 (H, W), above 127."""

MOST = 0.5  # share of a picture above which a mask looks inverted


def find_masks(value: Any, invert: bool = False) -> MaskOf:
    """What ``value`` means as masks.

    value: an array bool or uint8 (H, W); the path of a mask, for all pictures; a folder with a mask for each, of the
        same name below it whatever the suffix; boxes (x, y, width, height) in pixels; 'auto', text that is found
        (extra 'text'); or a function of picture and item. invert: masks are black where to erase.

    Raises ConfigError, DatasetError or ImageError where it is none of these, MissingDependencyError for 'auto'.
    """
    if callable(value):
        return value
    if isinstance(value, str) and value == "auto":
        from dense.inference.text_regions import TextDetector

        detector = TextDetector()
        return lambda picture, item: detector.mask(picture.pixels)
    if isinstance(value, np.ndarray) and value.ndim == 2 and (value.dtype == bool or value.dtype == np.uint8):
        array = value.view(np.uint8) * 255 if value.dtype == bool else value
        return lambda picture, item: _checked(array, "the mask", picture, invert)
    if isinstance(value, str | os.PathLike):
        path = Path(value)
        if path.is_dir():
            return _from_folder(path, invert)
        if not path.exists():
            raise ImageError(f"{path}: the mask does not exist; check the path")
        mask = read_mask(path)
        return lambda picture, item: _checked(mask, str(path), picture, invert)
    if isinstance(value, Sequence) and value and all(_is_box(box) for box in value):
        return lambda picture, item: draw_boxes(value, picture)
    raise ConfigError(f"mask={value!r:.80}: give a mask (array bool or uint8 (H, W), or path), a folder of masks, a "
                      "list of boxes (x, y, width, height), or 'auto'")


def _is_box(box: Any) -> bool:
    return isinstance(box, Sequence | np.ndarray) and not isinstance(box, str) and len(box) == 4


def draw_boxes(boxes: Iterable[Sequence[float]], picture: Picture) -> np.ndarray:
    """Mask uint8 (H, W) of boxes (x, y, width, height), cut to the picture; ImageError for one that lies outside."""
    height, width = picture.pixels.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for box in boxes:
        x, y, w, h = (round(float(v)) for v in box)
        if w < 1 or h < 1:
            raise ImageError(f"{picture.name}: the box {_text(box)} is empty; give x,y,width,height in pixels")
        if x >= width or y >= height or x + w <= 0 or y + h <= 0:
            raise ImageError(f"{picture.name}: the box {_text(box)} lies outside of the {width} x {height} pixels of "
                             "the picture; x and y count from its upper left corner")
        mask[max(0, y):y + h, max(0, x):x + w] = 255
    return mask


def _text(box: Sequence[float]) -> str:
    return ",".join(f"{float(v):g}" for v in box)


def _from_folder(folder: Path, invert: bool) -> MaskOf:
    known: dict[str, Path] = {}
    for path in list_images(folder, recursive=True):
        known.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    if not known:
        raise DatasetError(f"{folder}: the folder of masks holds no picture; check the path")

    def find(picture: Picture, item: Item) -> np.ndarray:
        name = item.relative.with_suffix("").as_posix()
        path = known.get(name)
        if path is None:
            raise ImageError(f"{picture.name}: there is no mask {name}.* in {folder}; add it, or leave the picture out")
        return _checked(read_mask(path), str(path), picture, invert)

    return find


def _checked(mask: np.ndarray, name: str, picture: Picture, invert: bool) -> np.ndarray:
    """The mask, right way round; ImageError if it does not fit, a warning if it seems to be inverted."""
    if mask.shape != picture.pixels.shape[:2]:
        raise ImageError(f"{picture.name}: has {picture.pixels.shape[1]} x {picture.pixels.shape[0]} pixels, its mask "
                         f"{name} {mask.shape[1]} x {mask.shape[0]} (both upright); give a mask of the picture's size")
    if mask_problem(mask) == "0/1 mask":
        raise ImageError(f"{picture.name}: its mask {name} holds 0 and 1, which is all but black; store 0 and 255")
    mask = 255 - mask if invert else mask
    share = np.count_nonzero(mask > 127) / mask.size
    if MOST < share < 1:
        LOGGER.warning("%s: the mask %s covers %.0f %% of the picture; if it is black where to erase: --invert "
                       "(invert=True)", picture.name, name, 100 * share)
    return mask


def with_masks(items: Iterable, masks: MaskOf) -> Iterator:
    """The items, their pictures with masks as they are loaded."""
    for item in items:
        yield item if item is IDLE else replace(item, load=_loader(item, masks))


def _loader(item: Item, masks: MaskOf) -> Callable[[], Picture]:
    def load() -> Picture:
        picture = item.load()
        return replace(picture, mask=masks(picture, item))

    return load


class Preview:
    """In place of an inferencer: results in which nothing is erased, so that the masks can be looked at."""

    def describe(self) -> str:
        """One line for people."""
        return "preview: what would be erased, nothing is"

    def run(self, items: Iterable, then: Callable[[EraseResult, Item], Any]) -> Iterator[Work]:
        """See ``Inferencer.run``."""
        for item in items:
            if item is IDLE:
                continue
            work = Work(item)
            try:
                picture = item.load()
                result = EraseResult(picture.pixels, picture.name, metadata=picture.metadata, original=picture.pixels,
                                     mask=picture.mask, rgba=picture.rgba)
                work.outcome = then(result, item)
            except (DenseError, MemoryError) as error:
                work.failure = Failure(item.name, str(error).removeprefix(f"{item.name}: "))
            yield work
