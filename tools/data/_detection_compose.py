"""Puts objects of classes into a picture, one before the other: what is seen of each gives its box.

Colours are RGB float32 in 0..1, alpha float32 in 0..1; objects are premultiplied after `place`.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from _cutout_compose import _harmonise, _shadow, _smooth_noise, crop_background
from numpy.random import Generator

LEAST_VISIBLE = 0.25  # share of an object that must be seen; others are left out of the picture
LEAST_PIXELS = 60
ENLARGED = 1.5  # at most, against the source's pixels
MARGIN = 0.35  # of an object's sides, around it: for its shadow


@dataclass(frozen=True)
class Placed:
    """An object in the frame: its patch, premultiplied (h, w, 4), and the frame's pixel of the patch's corner."""

    label: int
    name: str
    patch: np.ndarray
    x: int
    y: int

    def window(self, size: tuple[int, int]) -> tuple[slice, slice, slice, slice]:
        """(rows, columns) in the frame of `size`, then in the patch, of where both are."""
        h, w = self.patch.shape[:2]
        top, left = max(0, self.y), max(0, self.x)
        bottom, right = min(size[0], self.y + h), min(size[1], self.x + w)
        return (slice(top, max(top, bottom)), slice(left, max(left, right)),
                slice(top - self.y, max(top, bottom) - self.y), slice(left - self.x, max(left, right) - self.x))


@dataclass(frozen=True)
class Seen:
    """What is seen of an object: bool (H, W); share: of all of it, 0..1."""

    placed: Placed
    mask: np.ndarray
    share: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height around the visible pixels."""
        return tuple(int(v) for v in cv2.boundingRect(self.mask.view(np.uint8)))


def place(rng: Generator, rgba: np.ndarray, side: float, turn: float) -> np.ndarray:
    """The object scaled to about `side` pixels (root of width x height), turned by up to `turn` degrees, mirrored, a
    little in perspective, with a margin; premultiplied float32 (h, w, 4)."""
    if rng.random() < 0.5:
        rgba = np.ascontiguousarray(rgba[:, ::-1])
    h, w = rgba.shape[:2]
    scale = min(side / np.sqrt(h * w), ENLARGED)
    source = rgba.astype(np.float32) / 255
    source[..., :3] *= source[..., 3:]
    if scale < 0.9:
        source = cv2.resize(source, (max(3, round(w * scale)), max(3, round(h * scale))),
                            interpolation=cv2.INTER_AREA)
        h, w = source.shape[:2]
        scale = 1.0
    source = cv2.copyMakeBorder(source, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    h, w = h + 4, w + 4
    angle = np.deg2rad(rng.uniform(-turn, turn))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]], np.float64) / 2
    goal = corners * rng.uniform(0.92, 1.08, (4, 2)) @ matrix.T * scale
    half = np.abs(goal).max(axis=0) * (1 + MARGIN)
    size = np.ceil(2 * half).astype(int)
    middle = np.array([w / 2, h / 2])
    warp = cv2.getPerspectiveTransform((corners + middle).astype(np.float32), (goal + half).astype(np.float32))
    how = cv2.INTER_LINEAR if scale <= 1 else cv2.INTER_CUBIC
    return np.clip(cv2.warpPerspective(source, warp, (int(size[0]), int(size[1])), flags=how), 0, 1)


def see(objects: Sequence[Placed], size: tuple[int, int]) -> list[Seen]:
    """What is seen of each object where later ones are in front; objects that are mostly hidden, by others or by the
    frame, are left out, one after the other, the most hidden first."""
    left = list(objects)
    while True:
        owner = np.full(size, -1, np.int32)
        for index, one in enumerate(left):
            ys, xs, rows, columns = one.window(size)
            owner[ys, xs][one.patch[rows, columns, 3] > 0.5] = index
        whole = [max(1, np.count_nonzero(one.patch[..., 3] > 0.5)) for one in left]
        seen = [Seen(one, owner == i, np.count_nonzero(owner == i) / whole[i]) for i, one in enumerate(left)]
        poor = [s for s in seen if s.share < LEAST_VISIBLE or np.count_nonzero(s.mask) < LEAST_PIXELS]
        if not poor:
            return seen
        worst = min(poor, key=lambda s: s.share).placed
        left = [one for one in left if one is not worst]


def scatter(rng: Generator, objects: Sequence[tuple[int, str, np.ndarray, float]],
            size: tuple[int, int]) -> list[Placed]:
    """Give each object (label, name, RGBA, turn) a size and a place; near an earlier one, about every other time."""
    out: list[Placed] = []
    for label, name, rgba, turn in objects:
        side = np.exp(rng.uniform(np.log(0.13), np.log(0.65))) * min(size)
        patch = place(rng, rgba, side, turn)
        h, w = patch.shape[:2]
        if out and rng.random() < 0.5:
            near = out[int(rng.integers(len(out)))]
            reach = 0.5 * np.array([near.patch.shape[1], near.patch.shape[0]])
            centre = np.array([near.x, near.y]) + reach + rng.uniform(-1, 1, 2) * reach
        else:
            centre = rng.uniform(0.02, 0.98, 2) * np.array([size[1], size[0]])
        centre = np.clip(centre, 0, [size[1], size[0]])
        out.append(Placed(label, name, patch, round(centre[0] - w / 2), round(centre[1] - h / 2)))
    return out


def render(rng: Generator, objects: Sequence[Placed], background: np.ndarray,
           size: tuple[int, int]) -> tuple[np.ndarray, int]:
    """The picture, uint8 RGB (H, W, 3), and the JPEG quality drawn for it."""
    out = crop_background(rng, background, size)
    for one in objects:
        ys, xs, rows, columns = one.window(size)
        layer, ground = one.patch[rows, columns], out[ys, xs]
        if rng.random() < 0.8:
            ground = ground * _shadow(rng, np.ascontiguousarray(one.patch[..., 3]))[rows, columns, None]
        colour = _harmonise(rng, layer, ground, rng.random() < 0.15)
        h, w = layer.shape[:2]
        way = rng.uniform(0, 2 * np.pi)
        gx, gy = np.meshgrid(np.linspace(-1, 1, w, dtype=np.float32), np.linspace(-1, 1, h, dtype=np.float32))
        light = rng.uniform(0.75, 1.2) * (1 + rng.uniform(0.0, 0.3) * (gx * np.cos(way) + gy * np.sin(way)))
        light = light * (1 + rng.uniform(0, 0.05) * _smooth_noise(rng, (h, w), 12))
        colour = np.clip(colour * light[..., None], 0, 1)
        alpha = layer[..., 3:]
        if rng.random() < 0.3:  # out of focus, or moving
            spread = rng.uniform(0.4, 1.3)
            both = cv2.GaussianBlur(np.dstack([colour * alpha, alpha]).astype(np.float32), (0, 0), spread)
            out[ys, xs] = ground * (1 - both[..., 3:]) + both[..., :3]
        else:
            out[ys, xs] = ground * (1 - alpha) + colour * alpha
    gx, gy = np.meshgrid(np.linspace(-1, 1, size[1]), np.linspace(-1, 1, size[0]))
    way = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.25) * (gx * np.cos(way) + gy * np.sin(way)) - rng.uniform(0, 0.1) * (gx**2 + gy**2)
    out = out * (light * rng.uniform(0.8, 1.1))[..., None]
    if rng.random() < 0.25:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 0.9))
    noise = rng.normal(0, 1, (*size, 1)) * 0.7 + rng.normal(0, 1, (*size, 3)) * 0.5
    out = out + noise * rng.uniform(0.002, 0.015) * np.sqrt(np.clip(out, 0.05, 1))
    return np.round(np.clip(out, 0, 1) * 255).astype(np.uint8), int(rng.integers(78, 93))
