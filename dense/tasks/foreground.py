"""Colours of the foreground in half-transparent pixels: what a cut-out shows there without the old background.

A picture is alpha F + (1 - alpha) B. F and B are estimated from coarse to fine: at each level the estimate of the
coarser one is enlarged, then twice replaced by local means (weighted by how much of F or B a pixel shows) and moved
to where it explains the picture. Local means of this kind are Forte's ("Approximate Fast Foreground Colour Estimation",
ICIP 2021), the levels Germer's ("Fast Multi-Level Foreground Estimation", ICPR 2020); figures: docs/benchmarks.md.
"""
from __future__ import annotations

import cv2
import numpy as np

STEP = 4  # between levels
BOXES = (11, 5)  # pixels, sides of the means at each level
STIFFNESS = 0.2  # how much a mean is trusted against the picture, where alpha is not exact
NOTHING = 1e-4  # weight of pixels that show none of F (or B): the coarser estimate is taken where there is no other
REACH = 4  # pixels around what is visible whose colours go on
_HALO = 8  # a multiple of STEP above the reach of both boxes
_BLOCK = 128  # pixels, side of what is worked on at once
_STRIPE = 1024  # rows reduced at once


def estimate_foreground(image: np.ndarray, alpha: np.ndarray, reach: int = 0) -> np.ndarray:
    """Colours of the foreground, uint8 RGB (H, W, 3).

    image: uint8 RGB (H, W, 3). alpha: float32 (H, W), 0..1. reach: pixels, at most 8; transparent ones so near to
    visible ones get the colours that go on there. Opaque pixels, and transparent ones beyond the reach, keep the
    picture's values bit by bit; what counts is alpha in 8 bits, as files hold it. Memory beside the result: about two
    bytes a pixel.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != alpha.shape:
        raise ValueError(f"expected uint8 RGB (H, W, 3) and alpha (H, W), got {image.dtype} {image.shape} and "
                         f"{alpha.shape}")
    if not 0 <= reach <= _HALO:
        raise ValueError(f"reach must be in 0..{_HALO}, not {reach}")
    wanted = _wanted(alpha, reach)
    out = image.copy()
    if not wanted.any():
        return out
    coarse = _estimate_level(_reduce(image), _reduce(np.asarray(alpha, np.float32)))
    for y, x in _blocks(alpha.shape):
        inner = slice(y, y + _BLOCK), slice(x, x + _BLOCK)
        here = wanted[inner] > 0
        if here.any():
            colours = _refine(image, alpha, coarse, inner)[0]
            out[inner][here] = colours[here]
    return out


def hide_transparent(colours: np.ndarray, alpha: np.ndarray, reach: int = REACH) -> None:
    """Black, in place, where a pixel farther than ``reach`` from visible ones is transparent.

    What was cut away must not stay in the file, and a constant compresses well. The pixels nearby keep colours that
    go on from the visible ones: editors and browsers that scale a picture mix them in.
    """
    size = 2 * reach + 1
    for top in range(0, len(alpha), _STRIPE):
        above, below = min(reach, top), min(len(alpha), top + _STRIPE + reach)
        near = cv2.dilate(_eight_bits(alpha[top - above:below]), np.ones((size, size), np.uint8))
        part = colours[top:top + _STRIPE]
        part[near[above:above + len(part)] == 0] = 0


def _eight_bits(alpha: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(alpha, alpha=255)


def _wanted(alpha: np.ndarray, reach: int) -> np.ndarray:
    """uint8 (H, W): 1 where colours are to be estimated."""
    values = _eight_bits(alpha)
    out = ((values > 0) & (values < 255)).view(np.uint8)
    if reach:
        near = cv2.dilate(values, np.ones((2 * reach + 1,) * 2, np.uint8))
        out |= ((values == 0) & (near > 0)).view(np.uint8)
    return out


def _estimate_level(image: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F and B, uint8 (h, w, 3) each, at a coarse level."""
    height, width = alpha.shape
    if min(height, width) <= 2 * STEP:
        means = []
        for share in (alpha, 1 - alpha):
            weight = np.square(share, dtype=np.float64)[..., None] + 1e-6
            means.append((weight * image).sum((0, 1), keepdims=True) / weight.sum())
        return tuple(np.broadcast_to(np.rint(m).astype(np.uint8), image.shape) for m in means)
    coarse = _estimate_level(_reduce(image), _reduce(alpha))
    out = np.empty_like(image), np.empty_like(image)
    for y, x in _blocks(alpha.shape):
        inner = slice(y, y + _BLOCK), slice(x, x + _BLOCK)
        for whole, part in zip(out, _refine(image, alpha, coarse, inner), strict=True):
            whole[inner] = part
    return out


def _blocks(shape: tuple[int, int]) -> list[tuple[int, int]]:
    return [(y, x) for y in range(0, shape[0], _BLOCK) for x in range(0, shape[1], _BLOCK)]


def _reduce(array: np.ndarray) -> np.ndarray:
    """Means of STEP x STEP pixels; at the lower and right edge the last ones count for those that are missing."""
    height, width = (-(-s // STEP) for s in array.shape[:2])
    out = np.empty((height, width, *array.shape[2:]), array.dtype)
    for top in range(0, array.shape[0], _STRIPE):
        part = array[top:top + _STRIPE]
        below, right = -part.shape[0] % STEP, -part.shape[1] % STEP
        if below or right:
            part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_REPLICATE)
        rows = part.shape[0] // STEP
        out[top // STEP:top // STEP + rows] = cv2.resize(part, (width, rows), interpolation=cv2.INTER_AREA)
    return out


def _refine(image: np.ndarray, alpha: np.ndarray, coarse: tuple[np.ndarray, np.ndarray],
            inner: tuple[slice, slice]) -> list[np.ndarray]:
    """F and B of one block, uint8 (h, w, 3) each, from those of the coarser level."""
    outer = tuple(slice(max(0, s.start - _HALO), min(n, s.stop + _HALO))
                  for s, n in zip(inner, alpha.shape, strict=True))
    a = np.clip(alpha[outer].astype(np.float32), 0, 1)
    a = cv2.merge((a, a, a))
    part, b = image[outer].astype(np.float32), 1 - a
    norm = 1 / (a * a + b * b + np.float32(STIFFNESS))
    pulls = a * norm, b * norm
    weights = a * a + np.float32(NOTHING), b * b + np.float32(NOTHING)
    layers = [_enlarged(c, outer) for c in coarse]
    _explain(layers, part, a, b, pulls)
    for side in BOXES:
        layers = [cv2.blur(layer * weight, (side, side)) / cv2.blur(weight, (side, side))
                  for layer, weight in zip(layers, weights, strict=True)]
        _explain(layers, part, a, b, pulls)
    crop = tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
    return [cv2.convertScaleAbs(layer)[crop] for layer in layers]


def _enlarged(coarse: np.ndarray, outer: tuple[slice, slice]) -> np.ndarray:
    """float32: the coarser level, bilinear, where ``outer`` is, whose start is a multiple of STEP."""
    cells = [slice(max(0, s.start // STEP - 1), -(-s.stop // STEP) + 1) for s in outer]
    part = coarse[tuple(cells)].astype(np.float32)
    large = cv2.resize(part, (part.shape[1] * STEP, part.shape[0] * STEP), interpolation=cv2.INTER_LINEAR)
    y, x = (s.start - c.start * STEP for s, c in zip(outer, cells, strict=True))
    return large[y:y + outer[0].stop - outer[0].start, x:x + outer[1].stop - outer[1].start]


def _explain(layers: list[np.ndarray], image: np.ndarray, a: np.ndarray, b: np.ndarray,
             pulls: tuple[np.ndarray, np.ndarray]) -> None:
    """Move F and B, as little as need be, to where a F + b B is the picture (all of the way for a STIFFNESS of 0)."""
    rest = image - a * layers[0] - b * layers[1]
    for i, pull in enumerate(pulls):
        layers[i] = np.clip(layers[i] + pull * rest, 0, 255)
