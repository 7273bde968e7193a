"""The task of erasing text: picture and mask -> windows around what is masked -> the picture without it.

The arrays that the methods take are uint8 (H, W, 4): RGB and the mask (above 127: erase). One array, since a task is
given one: everything that cuts windows, forms batches, exports and compares then needs no second input.
"""
from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import cv2
import numpy as np

from dense.errors import ImageError
from dense.io import Picture
from dense.tasks.base import Output, RunAll, Task, register_task
from dense.tasks.plan import Plan, Window, blend_weights, starts

LOGGER = logging.getLogger("dense")
MULTIPLE = 8  # that windows' sides are of
STEP = 32  # in which windows grow: few sizes, so that batches form and runtimes plan them once
SMALLEST = 64  # side of a window; exported graphs take no less
AT_ONCE = 32  # windows whose outputs are held at the same time, at least those of one region


@dataclass(frozen=True)
class ErasePlan(Plan):
    """regions: rectangles of the picture, disjoint, that hold all that is masked; groups: the windows of each."""

    regions: tuple[Window, ...] = ()
    groups: tuple[tuple[Window, ...], ...] = ()


@register_task
@dataclass(frozen=True)
class EraseTask(Task):
    """Geometry of a text eraser.

    size: (height, width) of the largest window, multiples of 8; what is larger is covered by several, blended.
    context: pixels of the surroundings that a window has at least around what is masked.
    dilate: by how many pixels the mask is widened, so that soft edges of letters go too; what lies outside of the
        widened mask is returned bit for bit as it was.
    feather: over how many pixels, from the widened mask's edge inwards, the result fades in; up to ``dilate``, all that
        was masked is the network's.
    overlap: share that neighbouring windows have in common, where one region needs several.

    Modes: 'windows', around each part of the mask at the picture's own resolution, as small as they may be; 'tiles',
    the same with windows of exactly ``size`` (for exports of one size); 'whole', all of the picture at once.
    Networks that normalise over all they see (InstanceNorm) give other values in a window than in the whole picture.

    A network in use takes float32 (N, 4, h, w), RGB and mask 0..255, and gives RGB (N, 3, h, w) in 0..1.
    """

    size: tuple[int, int] = (384, 384)
    context: int = 48
    dilate: int = 3
    feather: int = 3
    overlap: float = 0.25

    kind: ClassVar = "erase"
    modes: ClassVar = ("windows", "tiles", "whole")
    fixed_mode: ClassVar = "tiles"
    takes_mask: ClassVar = True

    def __post_init__(self):
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or any(int(s) != s or s < SMALLEST or s % MULTIPLE for s in size):
            raise ValueError(f"size must be two multiples of {MULTIPLE}, at least {SMALLEST} (height, width), not "
                             f"{self.size!r}")
        for name in ("context", "dilate", "feather"):
            value = getattr(self, name)
            if int(value) != value or value < 0:
                raise ValueError(f"{name} must be a whole number of pixels, at least 0, not {value!r}")
            object.__setattr__(self, name, int(value))
        if not 0 <= self.overlap < 0.9:
            raise ValueError(f"overlap must be at least 0 and below 0.9, not {self.overlap!r}")
        object.__setattr__(self, "size", tuple(int(s) for s in size))

    # -- picture and mask -> windows -> tensors

    def inputs(self, picture: Picture) -> np.ndarray:
        """RGB and mask, uint8 (H, W, 4). ImageError where there is no mask, or one of another size."""
        pixels, mask = picture.pixels, picture.mask
        if mask is None:
            raise ImageError(f"{picture.name}: nothing says what is to be erased; give a mask or boxes")
        if mask.shape != pixels.shape[:2]:
            raise ImageError(f"{picture.name}: has {pixels.shape[1]} x {pixels.shape[0]} pixels, its mask "
                             f"{mask.shape[1]} x {mask.shape[0]}; give a mask of the picture's size")
        if mask.size and int(mask.min()) > 127:
            LOGGER.warning("%s: the mask covers all of the picture, there is nothing left to go by", picture.name)
        return np.dstack([pixels, mask])

    def plan(self, shape: tuple[int, int], mode: str = "windows") -> ErasePlan:
        """How a picture of ``shape`` (H, W) is fed if all of it is masked; ``plan_for`` knows the mask."""
        return self._plan(np.ones(tuple(-(-s // MULTIPLE) for s in shape), np.uint8), shape, mode)

    def plan_for(self, image: np.ndarray, mode: str = "windows") -> ErasePlan:
        """The windows of a picture with its mask, uint8 (H, W, 4); none where nothing is masked."""
        _check(image)
        shape = image.shape[:2]
        mask = image[..., 3] > 127
        cells = np.zeros(tuple(-(-s // MULTIPLE) for s in shape), np.uint8)
        rows = np.add.reduceat(mask, np.arange(0, shape[0], MULTIPLE), axis=0, dtype=np.uint16)
        cells[np.add.reduceat(rows, np.arange(0, shape[1], MULTIPLE), axis=1, dtype=np.uint32) > 0] = 1
        return self._plan(cells, shape, mode)

    def _plan(self, cells: np.ndarray, shape: tuple[int, int], mode: str) -> ErasePlan:
        """cells: which squares of ``MULTIPLE`` pixels hold something masked."""
        self.check_mode(mode)
        padded = tuple(max(SMALLEST, -(-s // MULTIPLE) * MULTIPLE) for s in shape)
        if mode == "whole":
            return ErasePlan(shape, padded, Window(0, 0, *padded) if cells.any() else None)
        margin = -(-max(self.context, self.dilate + self.feather) // MULTIPLE)
        near = cv2.dilate(cells, np.ones((2 * margin + 1,) * 2, np.uint8))
        regions = tuple(Window(*(v * MULTIPLE for v in box)) for box in _rectangles(near))
        groups = tuple(self._windows(region, cells, padded, mode) for region in regions)
        tiles = tuple(w for group in groups for w in group)
        largest = tuple(max((s[i] for s in ((w.height, w.width) for w in tiles)), default=self.size[i])
                        for i in (0, 1))
        return ErasePlan(shape, largest, None, tiles, regions, groups)

    def _windows(self, region: Window, cells: np.ndarray, padded: tuple[int, int], mode: str) -> tuple[Window, ...]:
        axes = []
        for begin, length, largest, total in zip((region.y, region.x), (region.height, region.width), self.size,
                                                 padded, strict=True):
            if length > largest:
                axes.append(([begin + s for s in starts(length, largest, self.overlap)], largest))
                continue
            side = largest if mode == "tiles" else min(largest, total, max(SMALLEST, -(-length // STEP) * STEP))
            axes.append(([max(0, min(begin - (side - length) // 2, total - side))], side))
        (ys, height), (xs, width) = axes
        return tuple(Window(y, x, height, width) for y, x in product(ys, xs)
                     if len(ys) == len(xs) == 1 or _holds(cells, Window(y, x, height, width), self.dilate))

    def region(self, mask: np.ndarray, window: Window | None = None) -> np.ndarray:
        """The widened mask, uint8 0/1, in a window (the whole by default), without what lies beyond the picture."""
        height, width = mask.shape
        window, reach = window or Window(0, 0, height, width), self.dilate
        top, left = max(0, window.y - reach), max(0, window.x - reach)
        part = mask[top:window.y + window.height + reach, left:window.x + window.width + reach]
        part = (part > 127).view(np.uint8)
        if reach:
            y, x = np.ogrid[-reach:reach + 1, -reach:reach + 1]
            part = cv2.dilate(part, (y * y + x * x <= reach * reach).astype(np.uint8))
        y, x = window.y - top, window.x - left
        return part[y:y + min(window.height, height - window.y), x:x + min(window.width, width - window.x)]

    def tensor(self, image: np.ndarray, plan: Plan | None = None, window: Window | None = None) -> np.ndarray:
        """What a network in use is fed for one window (the plan's overview, or all of the picture).

        image: uint8 (H, W, 4). Returns float32 (4, h, w): RGB and the widened mask, 0..255; beyond the picture both
        are mirrored.
        """
        _check(image)
        if window is None:
            window = (plan.overview if plan else None) or self.plan(image.shape[:2], "whole").overview
        part = image[window.slices].copy()
        part[..., 3] = 255 * self.region(image[..., 3], window)
        below, beside = window.height - part.shape[0], window.width - part.shape[1]
        if below or beside:
            part = cv2.copyMakeBorder(part, 0, below, 0, beside, cv2.BORDER_REFLECT_101)
        return np.ascontiguousarray(part.transpose(2, 0, 1), np.float32)

    # -- outputs -> picture

    def weights(self, region: np.ndarray) -> np.ndarray:
        """Share of the network's output, float32 (H, W): 0 outside of the widened mask, 1 well inside of it."""
        if not self.feather:
            return region.astype(np.float32)
        if region.all():  # there is no edge
            return np.ones(region.shape, np.float32)
        distance = cv2.distanceTransform(region, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return np.clip(distance / self.feather, 0, 1)

    def paste(self, picture: np.ndarray, region: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The picture, uint8 (H, W, 3), with ``values``, float (H, W, 3) in 0..1, in the region, uint8 0/1 (H, W)."""
        out, inside = picture.copy(), region > 0
        weight = self.weights(region)[inside][:, None]
        mixed = (1 - weight) * picture[inside] + weight * 255 * np.clip(values[inside], 0, 1)
        out[inside] = np.rint(mixed)
        return out

    def finish(self, image: np.ndarray, plan: ErasePlan, overview: Output | None, run_all: RunAll) -> np.ndarray:
        """uint8 RGB (H, W, 3): outside of the widened mask bit for bit as it was."""
        height, width = image.shape[:2]
        out, mask = image[..., :3].copy(), image[..., 3]
        if overview is not None:
            values = np.asarray(overview).transpose(1, 2, 0)[:height, :width]
            return self.paste(out, self.region(mask), values)
        for some in _in_portions(plan):
            outputs = iter(run_all(self.tensor(image, plan, w) for _, windows in some for w in windows))
            for region, windows in some:
                values = _merge(region, windows, [np.asarray(next(outputs)) for _ in windows])
                part = out[region.slices]
                part[...] = self.paste(part, self.region(mask, region), values[:part.shape[0], :part.shape[1]])
        return out


def _check(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        raise ValueError(f"expected a uint8 picture with its mask (H, W, 4), got {image.dtype} {image.shape}")


def _rectangles(cells: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(y, x, height, width) of disjoint rectangles that cover all non-zero cells: boxes of connected parts, united
    where they overlap or touch."""
    while True:
        _, _, stats, _ = cv2.connectedComponentsWithStats(cells, connectivity=8)
        boxes = [(int(y), int(x), int(h), int(w)) for x, y, w, h, _ in stats[1:]]
        if all(h * w == area for (_, _, h, w), area in zip(boxes, stats[1:, 4], strict=True)):
            return boxes
        cells = np.zeros_like(cells)
        for y, x, h, w in boxes:
            cells[y:y + h, x:x + w] = 1


def _holds(cells: np.ndarray, window: Window, reach: int) -> bool:
    """Whether a window holds something masked, or comes as near to it as ``reach`` pixels."""
    y, x = (max(0, (v - reach) // MULTIPLE) for v in (window.y, window.x))
    below, right = window.y + window.height + reach, window.x + window.width + reach
    return bool(cells[y:-(-below // MULTIPLE), x:-(-right // MULTIPLE)].any())


def _in_portions(plan: ErasePlan) -> Iterator[list[tuple[Window, tuple[Window, ...]]]]:
    """Regions with their windows, so many at a time that outputs stay within bounds."""
    some, count = [], 0
    for region, windows in zip(plan.regions, plan.groups, strict=True):
        if some and count + len(windows) > AT_ONCE:
            yield some
            some, count = [], 0
        some.append((region, windows))
        count += len(windows)
    if some:
        yield some


def _merge(region: Window, windows: tuple[Window, ...], outputs: list[np.ndarray]) -> np.ndarray:
    """Values (h, w, 3) in a region, from the outputs (3, h, w) of its windows; 0 where no window is."""
    total = np.zeros((region.height, region.width, 3), np.float32)
    covered = np.zeros((region.height, region.width, 1), np.float32)
    for window, output in zip(windows, outputs, strict=True):
        top, left = max(region.y, window.y), max(region.x, window.x)
        bottom = min(region.y + region.height, window.y + window.height)
        right = min(region.x + region.width, window.x + window.width)
        there = slice(top - region.y, bottom - region.y), slice(left - region.x, right - region.x)
        here = slice(top - window.y, bottom - window.y), slice(left - window.x, right - window.x)
        values = output.transpose(1, 2, 0)[here]
        if len(windows) == 1:
            total[there] = values
            return total
        weight = blend_weights(window.height, window.width)[here][..., None]
        total[there] += weight * values
        covered[there] += weight
    return total / np.maximum(covered, 1e-12)
