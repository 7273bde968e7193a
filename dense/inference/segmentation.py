"""Results of semantic segmentation: the class of every pixel, areas, masks, and pictures of them."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from dense.errors import ImageError
from dense.inference.results import Result, register_result
from dense.io import Metadata, Picture, encode_picture, write_bytes
from dense.io.labels import label_png
from dense.io.picture import format_of
from dense.io.rle import encode_rle
from dense.tasks import SemanticTask
from dense.tasks import semantic_pictures as pictures

KINDS = ("overlay", "labels", "colours")
"""What ``SegmentResult.save`` writes."""


@dataclass(frozen=True)
class Area:
    """Of one class in one picture. index: its value in the labels; share: of all pixels, 0 to 1."""

    name: str
    index: int
    pixels: int
    share: float


@register_result("semantic")
@dataclass(frozen=True, kw_only=True)
class SegmentResult(Result):
    """Classes of a picture. labels: index of each pixel's class, uint8 or uint16 (H, W), at the picture's resolution;
    values that are no class (``task.ignore_index``) are shown as the bare picture and counted nowhere.

    task: what the classes are called, and their colours.
    """

    labels: np.ndarray
    task: SemanticTask

    def __post_init__(self):
        if self.labels.shape != self.image.shape[:2]:
            raise ValueError(f"labels {self.labels.shape} of a picture {self.image.shape[:2]}")

    @classmethod
    def of(cls, task: SemanticTask, picture: Picture, answer: np.ndarray, source: str, seconds: float) -> Self:
        """See ``Result.of``; the answer is the labels. Transparent pixels of the input have labels like all others."""
        return cls(picture.pixels, source, seconds, picture.metadata, labels=answer, task=task)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of their indices."""
        return self.task.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """RGB colour of each class."""
        return self.task.palette

    @property
    def present(self) -> list[int]:
        """Indices of the classes that occur."""
        return np.flatnonzero(self._counts()).tolist()

    def _counts(self) -> np.ndarray:
        return np.bincount(self.labels.ravel(), minlength=len(self.classes))[:len(self.classes)]

    def areas(self) -> list[Area]:
        """Pixels and share of every class, also of those that do not occur."""
        return [Area(name, index, int(pixels), float(pixels / self.labels.size))
                for index, (name, pixels) in enumerate(zip(self.classes, self._counts(), strict=True))]

    def mask(self, which: int | str) -> np.ndarray:
        """bool (H, W): where a class is, by index or name. ValueError if there is no such class."""
        if isinstance(which, str):
            if which not in self.classes:
                raise ValueError(f"no class is called {which!r}; the classes are {', '.join(self.classes)}")
            which = self.classes.index(which)
        elif not 0 <= which < len(self.classes):
            raise ValueError(f"class {which}: the classes are 0 to {len(self.classes) - 1}")
        return self.labels == which

    def masks(self) -> dict[str, np.ndarray]:
        """Name -> bool (H, W) of each class that occurs."""
        return {self.classes[index]: self.mask(index) for index in self.present}

    def coco_rle(self, compress: bool = True) -> dict[str, dict]:
        """Name -> mask of each class that occurs, in COCO's run lengths (``dense.io.rle``)."""
        return {name: encode_rle(mask, compress) for name, mask in self.masks().items()}

    def colours(self) -> np.ndarray:
        """uint8 RGB (H, W, 3): every pixel in the colour of its class, black without one."""
        return self.task.colour(self.labels)

    def legend(self, width: int | None = None, all_classes: bool = False) -> np.ndarray:
        """uint8 RGB (h, width, 3): colours and names of the classes that occur, or of all."""
        return pictures.legend(self.task, width or self.image.shape[1], None if all_classes else self.present)

    def overlay(self, opacity: float = 0.5, legend: bool = False, all_classes: bool = False) -> np.ndarray:
        """uint8 RGB (H, W, 3): the colours of the classes over the picture, outlines between them.

        opacity: of the colours, 0 to 1. legend: below it, which makes the picture higher; see ``legend``.
        """
        if not 0 <= opacity <= 1:
            raise ValueError(f"opacity must be in 0..1, not {opacity!r}")
        made = pictures.overlay(self.image, self.labels, self.task, opacity)
        return np.vstack([made, self.legend(all_classes=all_classes)]) if legend else made

    def to_dict(self) -> dict:
        """See ``Result.to_dict``. segments: of each class that occurs its name, index, colour, pixels, share, box (x,
        y, width, height) and mask in COCO's run lengths."""
        areas = self.areas()
        segments = []
        for index in self.present:
            mask, area = self.mask(index), areas[index]
            segments.append({
                "class": area.name, "index": index, "colour": list(self.palette[index]), "pixels": area.pixels,
                "share": round(area.share, 6), "box": list(cv2.boundingRect(mask.view(np.uint8))),
                "rle": encode_rle(mask)})
        return {**super().to_dict(), "segments": segments}

    def small(self, height: int) -> Self:
        """See ``Result.small``."""
        scale = height / self.image.shape[0]
        if scale >= 1:
            return self
        size = max(1, round(self.image.shape[1] * scale)), height
        return replace(self, image=cv2.resize(self.image, size, interpolation=cv2.INTER_AREA),
                       labels=cv2.resize(self.labels, size, interpolation=cv2.INTER_NEAREST))

    def save(self, path: str | Path, kind: str = "labels", opacity: float = 0.5, legend: bool = True) -> Path:
        """Write the labels (a PNG whose values are the indices, in the colours of the palette), or an 'overlay' over
        the picture, or the 'colours' alone.

        Raises ImageError where the format cannot hold the picture, DenseError where the file cannot be written.
        """
        path = Path(path)
        write_bytes(path, self.encode(path.suffix, kind, opacity, legend, str(path)))
        return path

    def encode(self, suffix: str, kind: str = "labels", opacity: float = 0.5, legend: bool = True,
               name: str = "picture") -> bytes:
        """What ``save`` writes into a file of this suffix; name: for messages."""
        form = format_of(name if Path(name).suffix == suffix else f"{name}{suffix}")
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
        if kind == "labels":
            if form != "PNG":
                raise ImageError(f"{name}: labels are written as .png, whose values stay what they are")
            return label_png(self.labels, self.palette)
        if kind == "colours":
            if form == "JPEG":
                raise ImageError(f"{name}: JPEG changes the colours, which mean classes; use .png")
            return encode_picture(self.colours(), form, Metadata(dpi=self.metadata.dpi), name=name)
        return encode_picture(self.overlay(opacity, legend), form, self.metadata, name=name)

    def panels(self) -> list[np.ndarray]:
        """Picture, classes, classes over the picture."""
        return [self.image, self.colours(), self.overlay(0.6)]
