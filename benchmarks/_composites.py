"""Pictures whose foreground, background and alpha are known: what estimates of foreground colours are measured on.

The colours of a made foreground are known at every pixel. Of a bundled object those inside its mask are the picture's
own, and are continued outwards from there; alpha is the mask, enlarged and softened. I = alpha F + (1 - alpha) B,
rounded to 8 bits.
"""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data/cutouts/DIS-VD"


@dataclass(frozen=True)
class Scene:
    """name; image uint8 (H, W, 3); alpha float32 (H, W); foreground and background float32 (H, W, 3), 0..255."""

    name: str
    image: np.ndarray
    alpha: np.ndarray
    foreground: np.ndarray
    background: np.ndarray


def scenes(height: int, width: int, seed: int = 0) -> list[Scene]:
    """Eight scenes: five bundled objects with edges of different softness, hair, fur around a ball, glass.

    seed: which objects and backgrounds, and what is made at random.
    """
    rng = np.random.default_rng(seed)
    images = sorted((DATA / "im").iterdir())
    out = []
    for number, softness in zip((1, 7, 12, 20, 30), (0.6, 1.2, 2.5, 5, 10), strict=True):
        number = (number + 2 * seed) % len(images)
        foreground, alpha = _bundled(images[number], height, width, softness * width / 1200)
        out.append(_compose(f"{images[number].stem[5:]}, edge {softness:g}", foreground, alpha,
                            _photo(images[(number + 11) % len(images)], height, width, rng)))
    for number, (name, alpha) in enumerate((("hair", _hair(height, width, rng)), ("fur", _fur(height, width, rng)),
                                            ("glass", _glass(height, width)))):
        out.append(_compose(name, _made(height, width, rng), alpha,
                            _photo(images[(5 * number + 3 + seed) % len(images)], height, width, rng)))
    return out


def _compose(name: str, foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> Scene:
    a = alpha[..., None]
    image = np.rint(a * foreground + (1 - a) * background).astype(np.uint8)
    return Scene(name, image, alpha, foreground, background)


def _read(path: Path, height: int, width: int) -> np.ndarray:
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return np.clip(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32), 0, 255)


def _grain(shape: tuple[int, int], rng: np.random.Generator, strength: float) -> np.ndarray:
    """Detail at the picture's own resolution, which an enlarged photograph lacks."""
    noise = rng.standard_normal((*shape, 3)).astype(np.float32)
    return strength * (noise + 2 * cv2.GaussianBlur(noise, (0, 0), 1.5))


def _photo(path: Path, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return np.clip(_read(path, height, width) + _grain((height, width), rng, 5), 0, 255)


def _bundled(path: Path, height: int, width: int, softness: float) -> tuple[np.ndarray, np.ndarray]:
    mask = cv2.imread(str(DATA / "gt" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_CUBIC)
    alpha = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), softness)
    inside = cv2.erode((mask > 250).astype(np.uint8), np.ones((5, 5), np.uint8))
    _, nearest = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    image, own = _read(path, height, width), inside > 0
    colours = np.zeros((nearest.max() + 1, 3), np.float32)
    colours[nearest[own]] = image[own]
    smooth = cv2.GaussianBlur(colours[nearest], (0, 0), 2 * width / 1200)
    return np.where(own[..., None], image, smooth), np.clip(alpha, 0, 1)


def _made(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Large patches of saturated colour with soft borders, shading and grain."""
    coarse = rng.uniform(0, 255, (5, 6, 3)).astype(np.float32)
    patches = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(patches + _grain((height, width), rng, 3), 0, 255)


def _draw(height: int, width: int, lines: list[np.ndarray], thickness: float) -> np.ndarray:
    """float32 0..1: polylines (n, 2) in units of the picture's width, drawn at four times the size."""
    canvas = np.zeros((4 * height, 4 * width), np.uint8)
    points = [np.rint(line * 4 * width).astype(np.int32)[:, None] for line in lines]
    cv2.polylines(canvas, points, False, 255, max(1, round(thickness * 4 * width)), cv2.LINE_AA)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _strands(rng: np.random.Generator, roots: np.ndarray, directions: np.ndarray, length: float) -> list[np.ndarray]:
    t = np.linspace(0, 1, 24)[:, None]
    bends = rng.normal(0, 0.35, (len(roots), 2)) * length
    sizes = length * rng.uniform(0.5, 1, len(roots))
    return [root + t * size * way + t * t * bend
            for root, way, bend, size in zip(roots, directions, bends, sizes, strict=True)]


def _hair(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    roots = np.column_stack([rng.uniform(0.3, 0.7, 400), np.full(400, 0.2 * height / width)])
    ways = np.column_stack([(roots[:, 0] - 0.5) * 1.5, np.ones(400)])
    return np.clip(_draw(height, width, _strands(rng, roots, ways, 0.5 * height / width), 1 / 1200), 0, 1)


def _fur(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    angle, radius = rng.uniform(0, 2 * np.pi, 2500), 0.3 * height / width
    ways = np.column_stack([np.cos(angle), np.sin(angle)])
    middle = np.array([0.5, 0.5 * height / width])
    alpha = _draw(height, width, _strands(rng, middle + radius * ways, ways, 0.07), 1.2 / 1200)
    ball = np.zeros((height, width), np.uint8)
    cv2.circle(ball, (width // 2, height // 2), round(1.02 * radius * width), 255, -1, cv2.LINE_AA)
    return np.maximum(alpha, ball.astype(np.float32) / 255)


def _glass(height: int, width: int) -> np.ndarray:
    """A vessel: a rim that is nearly opaque, sides that let more through towards the middle."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u, v = (x - width / 2) / (0.25 * width), (y - height / 2) / (0.4 * height)
    inside = np.clip((1 - np.maximum(np.abs(u), np.abs(v))) * 0.25 * width / 2, 0, 1)
    return inside * np.clip(0.2 + 0.75 * np.abs(u) ** 4 + 0.6 * np.abs(v) ** 12, 0, 1)
