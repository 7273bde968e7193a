"""Puts objects with alpha onto a background so that they sit in it: light, colour, shadow, blur, noise.

Colours are RGB float32 in 0..1, alpha float32 in 0..1; objects are premultiplied after `warp_object`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator


@dataclass(frozen=True)
class Composite:
    """A finished picture (H, W, 3) uint8 RGB, its mask (H, W) uint8, and the JPEG quality drawn for it.

    `contrast` says how far the objects are from what they hide, mean over their pixels of the largest
    channel difference, 0..1; `cut_off` is the share of the frame's border that they touch, 0..1.
    """

    image: np.ndarray
    mask: np.ndarray
    quality: int
    contrast: float
    cut_off: float


def _smooth_noise(rng: Generator, size: tuple[int, int], cell: int) -> np.ndarray:
    """Return smooth noise of `size` (H, W), about -1..1, with blobs of about `cell` px."""
    grid = rng.uniform(-1, 1, (size[0] // cell + 3, size[1] // cell + 3)).astype(np.float32)
    return cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)


def crop_background(rng: Generator, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut a random region of `picture` (RGB uint8), flip, recolour and blur it to `size` (H, W)."""
    h, w = picture.shape[:2]
    fit = min(h / size[0], w / size[1])
    zoom = rng.uniform(max(0.35, min(0.9, 0.4 / max(fit, 1e-6))), 1.0) * fit
    ch, cw = max(8, int(size[0] * zoom)), max(8, int(size[1] * zoom))
    y, x = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    part = picture[y:y + ch, x:x + cw]
    how = cv2.INTER_AREA if zoom > 1 else cv2.INTER_CUBIC
    out = cv2.resize(part, size[::-1], interpolation=how).astype(np.float32) / 255
    if rng.random() < 0.5:
        out = out[:, ::-1]
    if float(out.std(axis=2).mean()) < 0.01:  # a grey texture: give it the tint of stone, soil or grass
        out = out ** rng.uniform(0.7, 1.5) * rng.uniform(0.65, 1.1, 3).astype(np.float32)
    else:
        out = out * rng.uniform(0.88, 1.12, 3).astype(np.float32)
    grey = out.mean(axis=2, keepdims=True)
    out = np.clip(grey + (out - grey) * rng.uniform(0.55, 1.2), 0, 1) ** rng.uniform(0.8, 1.25)
    if rng.random() < 0.4:
        out = cv2.GaussianBlur(np.ascontiguousarray(out), (0, 0), rng.uniform(0.8, 5.0))
    return np.clip(out, 0, 1).astype(np.float32)


def trim(rgba: np.ndarray) -> np.ndarray:
    """Cut straight RGBA uint8 to the box of its visible pixels."""
    ys, xs = np.nonzero(rgba[..., 3] > 8)
    return rgba[ys.min():ys.max() + 1, xs.min():xs.max() + 1]


def warp_object(rng: Generator, rgba: np.ndarray, size: tuple[int, int], extent: float,
                centre: tuple[float, float], tilt: float = 18.0) -> np.ndarray:
    """Place an object in a frame of `size` (H, W) by a random perspective; premultiplied float (H, W, 4).

    `extent` is the share of the frame that the object's tighter side fills, `centre` the (x, y) share of
    the frame where its middle goes, `tilt` the largest rotation in degrees. Works at twice the size.
    """
    big = (2 * size[0], 2 * size[1])
    rgba = trim(rgba)
    if rng.random() < 0.5:
        rgba = np.ascontiguousarray(rgba[:, ::-1])
    source = rgba.astype(np.float32) / 255
    source[..., :3] *= source[..., 3:]
    h, w = source.shape[:2]
    angle = np.deg2rad(rng.uniform(-tilt, tilt))
    turned_w = abs(w * np.cos(angle)) + abs(h * np.sin(angle))
    turned_h = abs(w * np.sin(angle)) + abs(h * np.cos(angle))
    scale = extent * min(big[1] / turned_w, big[0] / turned_h)
    if scale < 0.8:  # shrink by area first: bilinear warping alone would skip thin parts
        new = (max(2, round(w * scale)), max(2, round(h * scale)))
        source = cv2.resize(source, new, interpolation=cv2.INTER_AREA)
        h, w = source.shape[:2]
        scale = 1.0
    source = cv2.copyMakeBorder(source, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    h, w = h + 4, w + 4
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]], np.float64) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    goal = corners * rng.uniform(0.9, 1.08, (4, 2)) @ turn.T * scale
    half = np.abs(goal).max(axis=0)
    at = np.array([centre[0] * big[1], centre[1] * big[0]])
    low, high = half * 0.96, np.array([big[1], big[0]]) - half * 0.96
    at = np.where(low < high, np.clip(at, low, high), (low + high) / 2)
    matrix = cv2.getPerspectiveTransform((corners + np.array([w / 2, h / 2])).astype(np.float32),
                                         (goal + at).astype(np.float32))
    placed = cv2.warpPerspective(source, matrix, big[::-1], flags=cv2.INTER_LINEAR)
    return np.clip(cv2.resize(placed, size[::-1], interpolation=cv2.INTER_AREA), 0, 1)


def _harmonise(rng: Generator, layer: np.ndarray, ground: np.ndarray, hard: bool) -> np.ndarray:
    """Move the object's colours (straight, in CIE Lab) towards those around it; far when `hard`."""
    alpha = layer[..., 3:]
    colour = np.clip(layer[..., :3] / np.maximum(alpha, 1e-3), 0, 1)
    inside = alpha[..., 0] > 0.5
    if not inside.any():
        return colour
    lab = cv2.cvtColor(np.ascontiguousarray(colour, np.float32), cv2.COLOR_RGB2LAB)
    around = cv2.cvtColor(np.ascontiguousarray(ground, np.float32), cv2.COLOR_RGB2LAB)
    ring = (cv2.dilate(inside.astype(np.uint8), np.ones((31, 31), np.uint8)) > 0) & ~inside
    near = around[ring if ring.any() else inside]
    least, most = ([0.3, 0.5, 0.5], [0.7, 0.95, 0.95]) if hard else ([0.0, 0.1, 0.1], [0.35, 0.5, 0.5])
    pull = rng.uniform(least, most)
    spread = np.clip(near.std(axis=0) / (lab[inside].std(axis=0) + 1e-3), 0.35, 1.3)
    keep = 1 - pull * (1 - spread) * (0.8 if hard else 0.4)
    mean = lab[inside].mean(axis=0)
    lab = (lab - mean) * keep + mean + pull * (near.mean(axis=0) - mean)
    if hard:  # the ground's own detail on the object takes the colour models' footing away
        fine = around[..., 0] - cv2.GaussianBlur(around[..., 0], (0, 0), 9)
        moved = np.roll(fine[::-1, ::-1], (int(rng.integers(400)), int(rng.integers(400))), (0, 1))
        lab[..., 0] += rng.uniform(0.25, 0.6) * moved
    lab[..., 0] = np.clip(lab[..., 0], 3, 98)
    return np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1)


def _shadow(rng: Generator, alpha: np.ndarray) -> np.ndarray:
    """Return the light left on the ground, 0..1 (H, W): a soft cast shadow and a tight contact one."""
    h, w = alpha.shape
    reach = 0.12 * max(h, w)
    ys = np.nonzero(alpha.max(axis=1) > 0.5)[0]
    foot = float(ys[-1]) if len(ys) else h - 1.0
    lean, squash = rng.uniform(-0.8, 0.8), rng.uniform(0.35, 1.0)
    move = np.array([[1, lean * squash * 0.5, -lean * squash * 0.5 * foot + rng.uniform(-0.3, 0.3) * reach],
                     [0, squash, (1 - squash) * foot + rng.uniform(0, 0.15) * reach]], np.float32)
    cast = cv2.GaussianBlur(cv2.warpAffine(alpha, move, (w, h)), (0, 0), rng.uniform(2.0, 0.14 * reach + 2.5))
    shift = np.array([[1, 0, rng.uniform(-3, 3)], [0, 1, rng.uniform(1, 5)]], np.float32)
    contact = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, (w, h)), (0, 0), rng.uniform(1.5, 4.0))
    return (1 - rng.uniform(0.15, 0.55) * cast) * (1 - rng.uniform(0.05, 0.35) * contact)


def compose(rng: Generator, objects: list[np.ndarray], background: np.ndarray, size: tuple[int, int],
            hard: bool = False, clutter: bool = True) -> Composite:
    """Composite straight RGBA uint8 objects over an RGB uint8 background in a frame of `size` (H, W).

    All objects are foreground. `hard` shifts their colours close to the ground's, `clutter` allows a
    light blur. The result depends on nothing but the arguments and the state of `rng`.
    """
    h, w = size
    ground = crop_background(rng, background, size)
    out = ground.copy()
    alpha_all = np.zeros(size, np.float32)
    n = len(objects)
    for i, rgba in enumerate(objects):
        if n == 1:
            extent, centre = rng.uniform(0.72, 1.0), (rng.uniform(0.36, 0.64), rng.uniform(0.36, 0.64))
        else:
            extent = rng.uniform(0.5, 0.78)
            centre = ((i + rng.uniform(0.35, 0.65)) / n, rng.uniform(0.38, 0.68))
        layer = warp_object(rng, rgba, size, extent, centre)
        alpha = layer[..., 3]
        if rng.random() < 0.85:
            out *= _shadow(rng, alpha)[..., None]
        colour = _harmonise(rng, layer, out, hard)
        # Broad mottling and a ramp of light break the even fills of drawn objects.
        mottle = 1 + rng.uniform(0.02, 0.12) * _smooth_noise(rng, size, int(rng.integers(10, 60)))
        grain = 1 + rng.uniform(0.0, 0.07) * _smooth_noise(rng, size, 3)
        way = rng.uniform(0, 2 * np.pi)
        gx, gy = np.meshgrid(np.linspace(-1, 1, w, dtype=np.float32), np.linspace(-1, 1, h, dtype=np.float32))
        ramp = 1 + rng.uniform(0.05, 0.4) * (gx * np.cos(way) + gy * np.sin(way))
        colour = np.clip(colour * (mottle * grain * ramp)[..., None], 0, 1)
        if clutter and rng.random() < 0.3:
            colour = cv2.GaussianBlur(colour, (0, 0), rng.uniform(0.4, 0.9))
        out = out * (1 - alpha[..., None]) + colour * alpha[..., None]
        alpha_all = alpha + alpha_all * (1 - alpha)

    gx, gy = np.meshgrid(np.linspace(-1, 1, w), np.linspace(-1, 1, h))
    way = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.25) * (gx * np.cos(way) + gy * np.sin(way))
    light = light - rng.uniform(0, 0.2) * (gx * gx + gy * gy) / 2
    out, before = out * light[..., None], ground * light[..., None]
    if clutter and rng.random() < 0.35:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, 0.8))
    noise = rng.normal(0, 1, (h, w, 1)) * 0.7 + rng.normal(0, 1, (h, w, 3)) * 0.5
    out = out + noise * rng.uniform(0.002, 0.016) * np.sqrt(np.clip(out, 0.05, 1))
    image = np.round(np.clip(out, 0, 1) * 255).astype(np.uint8)
    mask = np.round(np.clip(alpha_all, 0, 1) * 255).astype(np.uint8)
    mask[mask < 6] = 0
    mask[mask > 249] = 255
    solid = alpha_all > 0.5
    contrast = float(np.abs(before - out).max(axis=2)[solid].mean()) if solid.any() else 0.0
    edge = np.concatenate([alpha_all[0], alpha_all[-1], alpha_all[:, 0], alpha_all[:, -1]])
    return Composite(image, mask, int(rng.integers(80, 94)), contrast, float((edge > 0.5).mean()))
