"""One piece of text: drawn flat with outline and shadow, bent, and seen from some angle."""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dense.datasets.text.fonts import Fonts, scripts_of
from dense.datasets.text.words import SCRIPTS, write


@dataclass(frozen=True)
class Layers:
    """Coverage of a piece of text, uint8 (h, w, 3): letters, outline (letters included), shadow."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.array.shape[:2]


@lru_cache(maxsize=64)
def _load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size)


def draw_text(rng: np.random.Generator, fonts: Fonts, size: int, tries: int = 8) -> Layers | None:
    """Text of ``size`` pixels in a font and script by chance; None if no font could draw any."""
    for _ in range(tries):
        path = fonts.draw(rng)
        scripts = scripts_of(path)
        if not scripts:
            continue
        names = list(scripts)
        shares = np.array([SCRIPTS[n].share for n in names])
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        coverage = _draw(write(rng, name, scripts[name]), path, size, rng)
        if coverage is not None:
            return _decorate(rng, coverage, size)
    return None


def _draw(text: str, path: Path, size: int, rng: np.random.Generator) -> np.ndarray | None:
    """Letters, uint8 (h, w), in a frame that leaves room for decoration; None where nothing was drawn."""
    spacing, align = int(size * rng.uniform(0, 0.4)), ("left", "center", "right")[int(rng.integers(3))]
    try:
        font = _load(path, size)
        probe = ImageDraw.Draw(Image.new("L", (1, 1)))
        left, top, right, bottom = probe.multiline_textbbox((0, 0), text, font=font, spacing=spacing, align=align)
        pad = 4 + size // 2
        width, height = int(right - left) + 2 * pad, int(bottom - top) + 2 * pad
        if right - left < 2 or bottom - top < 2 or width * height > 16_000_000:
            return None
        canvas = Image.new("L", (width, height))
        ImageDraw.Draw(canvas).multiline_text((pad - left, pad - top), text, 255, font, spacing=spacing, align=align)
    except (OSError, ValueError):  # a font that Pillow cannot use
        return None
    array = np.asarray(canvas)
    return array if array.any() else None


def _decorate(rng: np.random.Generator, letters: np.ndarray, size: int) -> Layers:
    outline, shadow = np.zeros_like(letters), np.zeros_like(letters)
    if rng.random() < 0.25:
        reach = max(1, round(size * rng.uniform(0.02, 0.08)))
        outline = cv2.dilate(letters, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    if rng.random() < 0.25:
        dx, dy = (size * rng.uniform(-0.1, 0.1, 2)).tolist()
        move = np.float32([[1, 0, dx], [0, 1, dy]])
        shifted = cv2.warpAffine(np.maximum(letters, outline), move, letters.shape[::-1])
        shadow = cv2.GaussianBlur(shifted, (0, 0), max(0.4, size * rng.uniform(0.01, 0.08)))
    return Layers(np.dstack([letters, outline, shadow]))


def bend(rng: np.random.Generator, layers: Layers, share: float = 0.25) -> Layers:
    """With probability ``share``, lines that follow an arc or a wave."""
    if rng.random() >= share:
        return layers
    height, width = layers.shape
    most = min(0.35 * width, 1.5 * height) * rng.uniform(0.1, 0.6) * rng.choice((-1, 1))
    t = np.linspace(-1, 1, width, dtype=np.float32)
    shift = most * (t * t if rng.random() < 0.6 else np.sin(np.float32(np.pi) * t * rng.uniform(0.7, 1.5)))
    shift -= shift.min()
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height + int(np.ceil(shift.max()) + 1),
                                                                     dtype=np.float32))
    return Layers(cv2.remap(layers.array, x, y - shift[None].astype(np.float32), cv2.INTER_LINEAR,
                            borderMode=cv2.BORDER_CONSTANT))


def place(rng: np.random.Generator, layers: Layers, shape: tuple[int, int]) -> tuple[Layers, int, int] | None:
    """The layers turned and in perspective, and the row and column in a picture of ``shape`` where they begin (they may
    reach beyond its edges); None where they end up too small or too large."""
    height, width = layers.shape
    angle = rng.normal(0, 6) if rng.random() < 0.75 else rng.uniform(-90, 90)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]]) - (width / 2, height / 2)
    corners = corners @ np.float32([[cos, sin], [-sin, cos]])
    if rng.random() < 0.4:
        corners *= 1 + rng.uniform(-0.25, 0.1, (4, 1)).astype(np.float32)
        corners[:, 0] *= rng.uniform(0.6, 1)
    corners -= corners.min(0)
    w, h = (int(np.ceil(v)) + 1 for v in corners.max(0))
    if w < 6 or h < 6 or w > 2 * shape[1] or h > 2 * shape[0]:
        return None
    matrix = cv2.getPerspectiveTransform(np.float32([[0, 0], [width, 0], [width, height], [0, height]]),
                                         corners.astype(np.float32))
    warped = cv2.warpPerspective(layers.array, matrix, (w, h), flags=cv2.INTER_LINEAR)
    y = int(rng.integers(-h // 4, max(1, shape[0] - 3 * h // 4 + 1)))
    x = int(rng.integers(-w // 4, max(1, shape[1] - 3 * w // 4 + 1)))
    return Layers(warped), y, x
