"""Typed results: what a network found in one picture, and how it is looked at and written."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from dense.errors import ConfigError
from dense.inference.background import Background, background_of, put_over
from dense.io import Metadata, Picture, encode_picture, write_bytes
from dense.io.picture import format_of
from dense.tasks import Task
from dense.tasks.pictures import PANEL_BACKGROUND, fit, outline, over_checkerboard, to_rgb


@dataclass(frozen=True)
class Result(ABC):
    """What was found in one picture.

    image: uint8 RGB (H, W, 3), upright. source: the file's or frame's name. seconds: spent on this picture, decoding
    and its share of the network's batch included, waiting not. metadata: of the file, for copies.
    """

    image: np.ndarray
    source: str
    seconds: float = 0.0
    metadata: Metadata = field(default_factory=Metadata, repr=False)

    @classmethod
    @abstractmethod
    def of(cls, task: Task, picture: Picture, answer: np.ndarray, source: str, seconds: float) -> Self:
        """The result of a task's answer for a picture."""

    @abstractmethod
    def save(self, path: str | Path) -> Path:
        """Write the result; the suffix decides the format. Returns the path."""

    @abstractmethod
    def panels(self) -> list[np.ndarray]:
        """Pictures, uint8 RGB, that show the result beside each other."""

    def plot(self, height: int = 480) -> np.ndarray:
        """uint8 RGB (height, W, 3): the panels side by side."""
        panels = self.panels()
        width = max(1, min(4 * height, round(height * self.image.shape[1] / self.image.shape[0])))
        gap = np.full((height, 4, 3), PANEL_BACKGROUND, np.uint8)
        return np.hstack([p for panel in panels for p in (fit(panel, height, width), gap)][:-1])


RESULTS: dict[str, type[Result]] = {}
"""Classes of results by the kind of their task."""


def register_result(kind: str) -> Callable[[type[Result]], type[Result]]:
    """Class decorator: answers of tasks of this kind become results of this class."""
    def register(result: type[Result]) -> type[Result]:
        if RESULTS.setdefault(kind, result) is not result:
            raise KeyError(f"tasks of kind {kind!r} have a class of results")
        return result

    return register


def make_result(task: Task, picture: Picture, answer: np.ndarray, source: str, seconds: float) -> Result:
    """The typed result of a task's answer for a picture."""
    return RESULTS[task.kind].of(task, picture, answer, source, seconds)


@register_result("cutout")
@dataclass(frozen=True, kw_only=True)
class CutoutResult(Result):
    """A cut-out. alpha: float32 (H, W), 0 background to 1 foreground, at the picture's resolution."""

    alpha: np.ndarray

    @classmethod
    def of(cls, task: Task, picture: Picture, answer: np.ndarray, source: str, seconds: float) -> Self:
        """See ``Result.of``; the answer is alpha."""
        return cls(picture.pixels, source, seconds, picture.metadata, alpha=answer)

    def alpha_uint8(self) -> np.ndarray:
        """Alpha as uint8 (H, W), 0..255, rounded."""
        return cv2.convertScaleAbs(self.alpha, alpha=255)

    def mask(self, threshold: float = 0.5) -> np.ndarray:
        """uint8 (H, W): 255 where alpha exceeds ``threshold`` (0..1), else 0."""
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in 0..1, not {threshold!r}")
        return np.where(self.alpha > threshold, np.uint8(255), np.uint8(0))

    def rgba(self) -> np.ndarray:
        """uint8 RGBA (H, W, 4), not premultiplied: the picture's colours and alpha."""
        return np.dstack([self.image, self.alpha_uint8()])

    def over(self, background: Background) -> np.ndarray:
        """uint8 RGB (H, W, 3): the cut-out over a colour ('white', '#rrggbb', (R, G, B)), a picture (path or array,
        scaled to cover), or its own surroundings out of focus ('blur')."""
        ready = background_of(background)
        if ready is None:
            raise ConfigError("over needs a background. Remedy: a colour, a picture or 'blur'; rgba() has none")
        return put_over(self.image, self.alpha, ready)

    def save(self, path: str | Path, background: Background | None = None, mask: bool = False) -> Path:
        """Write the cut-out with transparency, or over a ``background``, or the alpha alone as grey (``mask``).

        Suffixes: .png, .webp, .tiff, and .jpg where nothing is transparent. Colour profile, resolution and EXIF of
        the source are kept (a mask keeps the resolution only: its values are no colours). Raises ImageError where
        the format cannot hold the picture, DenseError where the file cannot be written.
        """
        path = Path(path)
        write_bytes(path, self.encode(path.suffix, background, mask, str(path)))
        return path

    def encode(self, suffix: str, background: Background | None = None, mask: bool = False,
               name: str = "picture") -> bytes:
        """What ``save`` writes into a file of this suffix; name: for messages."""
        form = format_of(name if Path(name).suffix == suffix else f"{name}{suffix}")  # before any work
        if mask:
            return encode_picture(self.alpha_uint8(), form, Metadata(dpi=self.metadata.dpi), name=name)
        ready = background_of(background)
        array = self.rgba() if ready is None else put_over(self.image, self.alpha, ready)
        return encode_picture(array, form, self.metadata, name=name)

    def panels(self) -> list[np.ndarray]:
        """Picture, alpha, cut-out over grey squares."""
        return [self.image, to_rgb(self.alpha_uint8()), over_checkerboard(self.image, self.alpha)]


@register_result("erase")
@dataclass(frozen=True, kw_only=True)
class EraseResult(Result):
    """A picture without what was masked.

    image: the result; outside of the widened mask bit for bit the ``original``, uint8 RGB (H, W, 3). mask: uint8
    (H, W), above 127 where to erase, as it was given.
    """

    original: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, task: Task, picture: Picture, answer: np.ndarray, source: str, seconds: float) -> Self:
        """See ``Result.of``; the answer is the picture."""
        return cls(answer, source, seconds, picture.metadata, original=picture.pixels, mask=picture.mask)

    def save(self, path: str | Path, preview: bool = False) -> Path:
        """Write the result, or a preview (the original with what is masked in red).

        Suffixes: .png and .tiff keep every pixel, .jpg and .webp change all of them a little. Colour profile,
        resolution and EXIF of the source are kept. Raises as ``CutoutResult.save`` does.
        """
        path = Path(path)
        write_bytes(path, self.encode(path.suffix, preview, str(path)))
        return path

    def encode(self, suffix: str, preview: bool = False, name: str = "picture") -> bytes:
        """What ``save`` writes into a file of this suffix; name: for messages."""
        form = format_of(name if Path(name).suffix == suffix else f"{name}{suffix}")
        return encode_picture(self.preview() if preview else self.image, form, self.metadata, name=name)

    def preview(self) -> np.ndarray:
        """uint8 RGB (H, W, 3): the original with what is masked in red."""
        return outline(self.original, self.mask)

    def panels(self) -> list[np.ndarray]:
        """The original with what is masked in red, and the result."""
        return [self.preview(), self.image]
