"""A scene: a piece of a photograph with several texts on it, and the same without."""
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dense.datasets.text.fonts import Fonts
from dense.datasets.text.render import Layers, bend, draw_text, place

SEEN = 24  # coverage (of 255) from which a layer counts as text
VISIBLE = 15  # by how much letters must differ from their ground, on average


@dataclass(frozen=True)
class SceneSettings:
    """size: (height, width) of scenes. texts: fewest and most. letters: smallest size in pixels, and largest as a share
    of the shorter side. jpeg: lowest and highest quality, of three scenes in four."""

    size: tuple[int, int] = (256, 256)
    texts: tuple[int, int] = (2, 6)
    letters: tuple[float, float] = (9, 0.3)
    jpeg: tuple[int, int] = (50, 98)


@dataclass(frozen=True)
class Scene:
    """image, clean: uint8 RGB (H, W, 3), with and without text. polygons: int32 (n, 2), x and y, around each text."""

    image: np.ndarray
    clean: np.ndarray
    polygons: list[np.ndarray]


def make_scene(rng: np.random.Generator, background: np.ndarray, fonts: Fonts, settings: SceneSettings) -> Scene:
    """A scene on a piece of ``background``, uint8 RGB (H, W, 3). All of it follows from ``rng``."""
    height, width = settings.size
    clean = _ground(rng, background, (height, width))
    image, taken, polygons = clean.copy(), np.zeros((height, width), bool), []
    for _ in range(int(rng.integers(settings.texts[0], settings.texts[1] + 1))):
        low, high = np.log(settings.letters[0]), np.log(max(settings.letters[0] + 1,
                                                            settings.letters[1] * min(height, width)))
        for _ in range(4):
            layers = draw_text(rng, fonts, int(np.exp(rng.uniform(low, high))))
            placed = layers and place(rng, bend(rng, layers), (height, width))
            if not placed:
                continue
            box = _cut(placed, (height, width))
            if box is None:
                continue
            part, slices = box
            seen = part.max(2) > SEEN
            if not (part[..., 0] > SEEN).any():
                continue
            polygon = _hull(seen, slices)
            region = cv2.fillPoly(np.zeros((height, width), np.uint8), [polygon], 1) > 0
            if np.count_nonzero(seen) < 12 or taken[region].any():
                continue
            before = image[slices].copy()
            _paint(rng, image[slices], part)
            if np.abs(image[slices].astype(np.int16) - before)[part[..., 0] > SEEN].mean() < VISIBLE:
                image[slices] = before
                continue
            taken |= cv2.dilate(region.view(np.uint8), np.ones((9, 9), np.uint8)) > 0
            polygons.append(polygon)
            break
    image, clean = _encode(rng, settings, image, clean)
    return Scene(image, clean, polygons)


def _ground(rng: np.random.Generator, background: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A crop of the background, scaled, flipped and in other light, with sensor noise."""
    height, width = shape
    most = min(background.shape[0] / height, background.shape[1] / width)
    scale = np.exp(rng.uniform(np.log(min(0.6, most)), np.log(most)))
    h, w = (max(1, min(have, round(want * scale))) for have, want in zip(background.shape, shape, strict=False))
    y, x = int(rng.integers(background.shape[0] - h + 1)), int(rng.integers(background.shape[1] - w + 1))
    crop = background[y:y + h, x:x + w]
    crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    out = crop.astype(np.float32)
    if rng.random() < 0.15:  # a plain or graded ground, as of posters and screens
        corners = rng.uniform(0, 255, (2, 2, 3)) * rng.uniform(0.1, 1) + rng.uniform(0, 255, 3) * 0.5
        out = cv2.resize(corners.clip(0, 255).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        out = out + rng.uniform(0, 0.25) * (crop.astype(np.float32) - crop.mean())
    gain = rng.uniform(0.7, 1.25) * (1 + rng.uniform(-0.1, 0.1, 3))
    out = (out - 128) * rng.uniform(0.8, 1.2) + 128
    out = out * gain.astype(np.float32) + rng.uniform(-15, 15)
    if rng.random() < 0.4:
        out = out + rng.normal(0, rng.uniform(1, 6), out.shape)
    return np.clip(out, 0, 255).astype(np.uint8)


def _cut(placed: tuple[Layers, int, int], shape: tuple[int, int]) -> tuple[np.ndarray, tuple[slice, slice]] | None:
    """The part of placed layers that lies in the picture, and where."""
    layers, y, x = placed
    h, w = layers.shape
    top, left, bottom, right = max(0, y), max(0, x), min(shape[0], y + h), min(shape[1], x + w)
    if bottom - top < 4 or right - left < 4:
        return None
    part = layers.array[top - y:bottom - y, left - x:right - x]
    return (part, (slice(top, bottom), slice(left, right))) if part.max() > SEEN else None


def _hull(seen: np.ndarray, slices: tuple[slice, slice]) -> np.ndarray:
    points = cv2.findNonZero(seen.view(np.uint8))
    return (cv2.convexHull(points)[:, 0] + (slices[1].start, slices[0].start)).astype(np.int32)


def _paint(rng: np.random.Generator, target: np.ndarray, part: np.ndarray) -> None:
    """Lay shadow, outline and letters over ``target``, uint8 (h, w, 3), in place."""
    letters, outline, shadow = (part[..., i:i + 1].astype(np.float32) / 255 for i in range(3))
    sigma = rng.uniform(0.3, 1.2) if rng.random() < 0.3 else 0
    if sigma:
        letters, outline = (cv2.GaussianBlur(a, (0, 0), sigma)[..., None] for a in (letters, outline))
    under = target[part.max(2) > SEEN].reshape(-1, 3).mean(0)
    colour = _colour(rng, under)
    out = target.astype(np.float32)
    out *= 1 - rng.uniform(0.3, 0.9) * shadow
    edge = _colour(rng, colour)
    opacity = 1.0 if rng.random() < 0.7 else rng.uniform(0.5, 1)
    out += opacity * outline * (edge - out)
    fill = np.broadcast_to(colour, out.shape)
    if rng.random() < 0.15:  # colours that change along the text
        ramp = np.linspace(0, 1, out.shape[int(rng.integers(2))], dtype=np.float32)
        ramp = ramp[:, None, None] if len(ramp) == out.shape[0] else ramp[None, :, None]
        fill = colour + ramp * (_colour(rng, under) - colour)
    mode = rng.random()
    if mode < 0.08:  # ink
        fill = out * fill / 255
    elif mode < 0.14:  # light
        fill = 255 - (255 - out) * (255 - fill) / 255
    out += opacity * letters * (fill - out)
    target[...] = np.clip(np.rint(out), 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator, against: np.ndarray) -> np.ndarray:
    """A colour, float32 (3,), that can be told from another."""
    for _ in range(10):
        kind = rng.random()
        colour = rng.uniform(0, 255, 3) if kind < 0.6 else np.full(3, rng.uniform(0, 40) if kind < 0.8 else
                                                                   rng.uniform(215, 255))
        if abs(float((colour - against) @ (0.299, 0.587, 0.114))) > 35:
            break
    return colour.astype(np.float32)


def _encode(rng: np.random.Generator, settings: SceneSettings, *pictures: np.ndarray) -> list[np.ndarray]:
    """The pictures as JPEG makes them, all at one quality; some as they are."""
    if rng.random() < 0.25:
        return list(pictures)
    quality = int(rng.integers(settings.jpeg[0], settings.jpeg[1] + 1))
    return [cv2.imdecode(cv2.imencode(".jpg", p[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1],
                         cv2.IMREAD_COLOR)[..., ::-1] for p in pictures]
