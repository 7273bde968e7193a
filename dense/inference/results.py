"""Typed results: what a network found in one picture, and how it is looked at and written."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from dense.errors import ConfigError
from dense.inference.background import Background, background_of, put_over
from dense.io import Metadata, Picture, encode_picture, write_bytes
from dense.io.picture import format_of
from dense.tasks import Task
from dense.tasks.foreground import REACH, estimate_foreground, hide_transparent
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

    def to_dict(self) -> dict:
        """Plain values (JSON): source, size, seconds; of a kind of results also what was found."""
        height, width = self.image.shape[:2]
        return {"source": self.source, "width": width, "height": height, "seconds": round(self.seconds, 4)}

    def small(self, height: int) -> Self:
        """The same result at ``height`` pixels or less, to look at; itself where it cannot be made smaller."""
        return self

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


COLOURS = ("estimated", "original")


@register_result("cutout")
@dataclass(frozen=True, kw_only=True)
class CutoutResult(Result):
    """A cut-out. alpha: float32 (H, W), 0 background to 1 foreground, at the picture's resolution.

    given: uint8 RGBA (H, W, 4), the input where it was transparent itself; ``alpha`` then holds the product of both,
    ``image`` is what the network saw, and the input's colours are kept where it was half transparent.
    colours: 'estimated' (of the foreground: without the old background in half-transparent pixels, see
    ``dense.tasks.foreground``) or 'original' (the picture's own, everywhere).
    """

    alpha: np.ndarray
    given: np.ndarray | None = field(default=None, repr=False)
    colours: str = "estimated"

    def __post_init__(self):
        if self.colours not in COLOURS:
            raise ValueError(f"colours must be one of {', '.join(COLOURS)}, not {self.colours!r}")

    @classmethod
    def of(cls, task: Task, picture: Picture, answer: np.ndarray, source: str, seconds: float) -> Self:
        """See ``Result.of``; the answer is the network's alpha."""
        alpha = answer if picture.alpha is None else answer * (picture.alpha * np.float32(1 / 255))
        return cls(picture.pixels, source, seconds, picture.metadata, alpha=alpha, given=picture.rgba)

    def with_colours(self, colours: str) -> Self:
        """The same with 'estimated' or 'original' colours."""
        return replace(self, colours=colours)

    def to_dict(self) -> dict:
        """See ``Result.to_dict``. coverage: mean of alpha, the subject's share of the picture; partial: share of pixels
        that are neither opaque nor transparent; box: x, y, width, height in pixels around alpha of at least one half,
        None without any."""
        counts = cv2.calcHist([self.alpha_uint8()], [0], None, [256], [0, 256])[:, 0]
        x, y, width, height = cv2.boundingRect((self.alpha >= 0.5).view(np.uint8))
        return {**super().to_dict(), "alpha": {
            "coverage": round(float(self.alpha.mean(dtype=np.float64)), 6),
            "partial": round(float(counts[1:255].sum() / self.alpha.size), 6),
            "box": [x, y, width, height] if width else None}}

    def small(self, height: int) -> Self:
        """See ``Result.small``."""
        scale = height / self.image.shape[0]
        if scale >= 1:
            return self
        size = max(1, round(self.image.shape[1] * scale)), height
        image, alpha = (cv2.resize(a, size, interpolation=cv2.INTER_AREA) for a in (self.image, self.alpha))
        return replace(self, image=image, alpha=alpha, given=None)

    def alpha_uint8(self) -> np.ndarray:
        """Alpha as uint8 (H, W), 0..255, rounded."""
        return cv2.convertScaleAbs(self.alpha, alpha=255)

    def mask(self, threshold: float = 0.5) -> np.ndarray:
        """uint8 (H, W): 255 where alpha exceeds ``threshold`` (0..1), else 0."""
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in 0..1, not {threshold!r}")
        return np.where(self.alpha > threshold, np.uint8(255), np.uint8(0))

    def rgba(self) -> np.ndarray:
        """uint8 RGBA (H, W, 4), not premultiplied.

        With estimated colours, transparent pixels near the subject have colours that go on from it, all others are
        black: nothing of what was cut away is left. With original colours it is all there, under alpha 0.
        """
        colours = self.foreground(REACH)
        if self.colours == "estimated":
            hide_transparent(colours, self.alpha)
        return cv2.merge((*cv2.split(colours), self.alpha_uint8()))

    def foreground(self, reach: int = 0) -> np.ndarray:
        """uint8 RGB (H, W, 3): the colours of what is in front, of use where alpha is above 0 and ``reach`` pixels
        around; see ``colours``."""
        if self.colours == "original":
            return (self.image if self.given is None else self.given[..., :3]).copy()
        colours = estimate_foreground(self.image, self.alpha, reach)
        if self.given is not None:
            own = (self.given[..., 3] > 0) & (self.given[..., 3] < 255)
            colours[own] = self.given[own, :3]
        return colours

    def over(self, background: Background) -> np.ndarray:
        """uint8 RGB (H, W, 3): the cut-out over a colour ('white', '#rrggbb', (R, G, B)), a picture (path or array,
        scaled to cover), or its own surroundings out of focus ('blur')."""
        ready = background_of(background)
        if ready is None:
            raise ConfigError("over needs a background. Remedy: a colour, a picture or 'blur'; rgba() has none")
        return put_over(self.image, self.alpha, ready, self.foreground())

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
        array = self.rgba() if ready is None else self.over(ready)
        return encode_picture(array, form, self.metadata, name=name)

    def panels(self) -> list[np.ndarray]:
        """Picture, alpha, cut-out over grey squares."""
        return [self.image, to_rgb(self.alpha_uint8()), over_checkerboard(self.foreground(), self.alpha)]


@register_result("erase")
@dataclass(frozen=True, kw_only=True)
class EraseResult(Result):
    """A picture without what was masked.

    image: the result; outside of the widened mask bit for bit the ``original``, uint8 RGB (H, W, 3). mask: uint8
    (H, W), above 127 where to erase, as it was given. rgba: of transparent inputs their own colours and alpha, uint8
    (H, W, 4), else None.
    """

    original: np.ndarray
    mask: np.ndarray
    rgba: np.ndarray | None = None

    @classmethod
    def of(cls, task: Task, picture: Picture, answer: np.ndarray, source: str, seconds: float) -> Self:
        """See ``Result.of``; the answer is the picture."""
        return cls(answer, source, seconds, picture.metadata, original=picture.pixels, mask=picture.mask,
                   rgba=picture.rgba)

    def picture(self) -> np.ndarray:
        """What is written: the result, uint8 RGB (H, W, 3); of transparent inputs RGBA (H, W, 4), with their alpha, and
        their own colours where nothing was changed."""
        if self.rgba is None:
            return self.image
        same = (self.image == self.original).all(2, keepdims=True)
        return np.dstack([np.where(same, self.rgba[..., :3], self.image), self.rgba[..., 3]])

    def to_dict(self) -> dict:
        """See ``Result.to_dict``; masked: share of the picture, 0..1; boxes: x, y, width, height in pixels around each
        part of the mask."""
        _, _, stats, _ = cv2.connectedComponentsWithStats((self.mask > 127).view(np.uint8), connectivity=8)
        return super().to_dict() | {"masked": round(np.count_nonzero(self.mask > 127) / self.mask.size, 6),
                                    "boxes": stats[1:, :4].tolist()}

    def small(self, height: int) -> Self:
        """See ``Result.small``."""
        if self.image.shape[0] <= height:
            return self
        size = max(1, round(height * self.image.shape[1] / self.image.shape[0])), height
        arrays = {k: cv2.resize(getattr(self, k), size, interpolation=cv2.INTER_AREA)
                  for k in ("image", "original", "mask")}
        return replace(self, **arrays, rgba=None)

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
        return encode_picture(self.preview() if preview else self.picture(), form, self.metadata, name=name)

    def preview(self) -> np.ndarray:
        """uint8 RGB (H, W, 3): the original with what is masked in red."""
        return outline(self.original, self.mask)

    def panels(self) -> list[np.ndarray]:
        """The original with what is masked in red, and the result."""
        return [self.preview(), self.image]
