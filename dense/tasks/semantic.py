"""The semantic task: picture -> tensors; logits of classes -> one class for each pixel."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from dense.tasks.base import RunAll, Task, register_task
from dense.tasks.palettes import CITYSCAPES, distinct_colours
from dense.tasks.plan import Plan, Window, blend_weights, tile_windows, whole
from dense.tasks.resample import Upsampled, argmax_of

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
LEAST = 64  # smallest side that is fed: the deepest features still have a pixel


@register_task
@dataclass(frozen=True)
class SemanticTask(Task):
    """Geometry, value ranges and classes of a semantic segmentation network.

    size: (height, width) that the network is usually fed.
    mean, std: per-channel constants in units of 0..255 values: tensor = (value - mean) / std.
    classes: names, in the order of the logits; palette: their RGB colours, distinct ones by default.
    align_corners: how logits lie over the tensor, see ``dense.tasks.resample``.
    ignore_index: label of pixels without one, in ground truth; no class has it.
    fit: how a picture gets ``size`` in the mode 'global': 'pad', scaled to fit, with the mean colour to its right and
        below; 'stretch', without regard to its shape.
    overlap: share that neighbouring windows have in common in the mode 'sliding'.

    A network in use (``forward``) takes values 0..255, float32 (N, 3, h, w) RGB, and gives logits (N, classes, h', w')
    at its own resolution: normalisation is inside, resizing and argmax are not, they are here.
    """

    size: tuple[int, int] = (1024, 2048)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    classes: tuple[str, ...] = tuple(CITYSCAPES)
    palette: tuple[tuple[int, int, int], ...] = ()
    align_corners: bool = False
    ignore_index: int = 255
    fit: str = "pad"
    overlap: float = 0.25

    kind: ClassVar = "semantic"
    modes: ClassVar = ("global", "whole", "sliding")

    def __post_init__(self):
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or any(int(s) != s or s < 32 for s in size):
            raise ValueError(f"size must be two whole numbers >= 32 (height, width), not {self.size!r}")
        object.__setattr__(self, "size", tuple(int(s) for s in size))
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        if len(self.mean) != 3 or len(self.std) != 3 or any(s <= 0 for s in self.std):
            raise ValueError(f"mean and std need three values (R, G, B), std positive, not {self.mean} and {self.std}")
        if self.fit not in ("pad", "stretch"):
            raise ValueError(f"fit must be 'pad' or 'stretch', not {self.fit!r}")
        if not 0 <= self.overlap < 0.9:
            raise ValueError(f"overlap must be at least 0 and below 0.9, not {self.overlap!r}")
        self._check_classes()

    def _check_classes(self) -> None:
        classes = tuple(str(c) for c in self.classes)
        if not 2 <= len(classes) < 65535 or len(set(classes)) < len(classes):
            raise ValueError(f"classes must be at least two different names, not {self.classes!r}")
        if 0 <= self.ignore_index < len(classes):
            raise ValueError(f"ignore_index {self.ignore_index} is the class {classes[self.ignore_index]!r}")
        palette = tuple(self.palette)
        if not palette:
            palette = tuple(CITYSCAPES.values()) if classes == tuple(CITYSCAPES) else distinct_colours(len(classes))
        palette = tuple(tuple(int(v) for v in colour) for colour in palette)
        if len(palette) != len(classes) or any(len(c) != 3 or not all(0 <= v <= 255 for v in c) for c in palette):
            raise ValueError(f"palette must be one RGB colour (0..255) for each of {len(classes)} classes, "
                             f"not {self.palette!r}")
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "palette", palette)

    # -- picture -> tensors

    def plan(self, shape: tuple[int, int], mode: str = "global") -> Plan:
        """How a picture of ``shape`` (H, W) is fed.

        mode: 'global', all of it at ``size`` (``fit``); 'whole', all of it at its own resolution, for networks that
            take any size; 'sliding', windows of ``size`` at its own resolution, which overlap.
        """
        self.check_mode(mode)
        if mode == "sliding":
            return Plan(shape, self.size, None, tile_windows(shape, self.size, self.overlap))
        return Plan(shape, tuple(max(LEAST, s) for s in shape) if mode == "whole" else self.size, whole(shape))

    def content(self, plan: Plan, window: Window) -> tuple[int, int]:
        """(height, width) that a window of the plan has in the tensor; the rest of the tensor is padding."""
        shape = window.height, window.width
        if plan.overview is None or window != plan.overview:
            return shape
        if self.fit == "stretch":
            return plan.size
        scale = min(t / s for s, t in zip(shape, plan.size, strict=True))
        return tuple(max(1, min(t, round(s * scale))) for s, t in zip(shape, plan.size, strict=True))

    def tensor(self, image: np.ndarray, plan: Plan | None = None, window: Window | None = None) -> np.ndarray:
        """What a network in use is fed for one window (the overview by default).

        image: uint8 RGB (H, W, 3). Returns float32 (3, h, w), values 0..255, contiguous.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected a uint8 RGB picture (H, W, 3), got {image.dtype} {image.shape}")
        plan = plan or self.plan(image.shape[:2])
        window = window or plan.overview
        height, width = self.content(plan, window)
        part = np.ascontiguousarray(image[window.slices])
        if part.shape[:2] != (height, width):
            # shrinking by area: every pixel counts, which fine structures need; enlarging is bilinear
            shrinks = height * width < part.shape[0] * part.shape[1]
            part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        if (height, width) == plan.size:
            return np.ascontiguousarray(part.transpose(2, 0, 1), np.float32)
        out = np.empty((3, *plan.size), np.float32)
        out[:] = np.float32(self.mean).reshape(3, 1, 1)
        out[:, :height, :width] = part.transpose(2, 0, 1)
        return out

    def normalise(self, tensor: np.ndarray) -> np.ndarray:
        """(value - mean) / std of float32 (..., 3, h, w): what the network proper takes."""
        mean, std = (np.float32(v).reshape(3, 1, 1) for v in (self.mean, self.std))
        return (tensor - mean) / std

    # -- outputs -> classes

    def upsampled(self, logits: np.ndarray, plan: Plan, window: Window) -> Upsampled:
        """Logits (classes, h, w) of a window at the window's own pixels."""
        if len(logits) != len(self.classes):
            raise ValueError(f"the network gives {len(logits)} classes, the task has {len(self.classes)}")
        return Upsampled(logits, (window.height, window.width), self.content(plan, window), plan.size,
                         self.align_corners)

    def decode(self, logits: np.ndarray, plan: Plan) -> np.ndarray:
        """Logits float (classes, h, w) of the overview -> classes uint8 (uint16 above 256) at the picture's size.

        Logits are resized bilinearly, in one step, to the picture; then the largest wins.
        """
        return argmax_of(plan.shape, len(self.classes), self.upsampled(logits, plan, plan.overview))

    def merge(self, logits: Sequence[np.ndarray], plan: Plan) -> np.ndarray:
        """Classes (H, W) from the logits (classes, h, w) of the plan's tiles.

        Where tiles overlap their logits are averaged, with weights that fall towards a tile's edges, where a network
        sees less around a pixel.
        """
        tiles = [(t, self.upsampled(x, plan, t), blend_weights(t.height, t.width))
                 for t, x in zip(plan.tiles, logits, strict=True)]

        def block(rows: slice, columns: slice) -> np.ndarray:
            total = np.zeros((len(self.classes), rows.stop - rows.start, columns.stop - columns.start), np.float32)
            for tile, values, weights in tiles:
                top, bottom = max(rows.start, tile.y), min(rows.stop, tile.y + tile.height)
                left, right = max(columns.start, tile.x), min(columns.stop, tile.x + tile.width)
                if top < bottom and left < right:
                    inner = slice(top - tile.y, bottom - tile.y), slice(left - tile.x, right - tile.x)
                    there = (slice(top - rows.start, bottom - rows.start),
                             slice(left - columns.start, right - columns.start))
                    total[:, *there] += weights[inner] * values(*inner)
            return total  # its argmax is that of the mean: one sum of weights for all classes

        return argmax_of(plan.shape, len(self.classes), block)

    def finish(self, image: np.ndarray, plan: Plan, overview: np.ndarray | None, run_all: RunAll) -> np.ndarray:
        """Classes uint8 (uint16 above 256) (H, W) from the overview's logits, or from those of the plan's tiles."""
        if overview is not None:
            return self.decode(overview, plan)
        return self.merge(run_all(self.tensor(image, plan, tile) for tile in plan.tiles), plan)

    # -- classes -> pictures

    def colour(self, labels: np.ndarray) -> np.ndarray:
        """uint8 RGB (H, W, 3) of classes (H, W) in the palette; what is no class is black."""
        table = np.zeros((65536 if labels.dtype.itemsize > 1 else 256, 3), np.uint8)
        table[:len(self.palette)] = self.palette
        if 0 <= self.ignore_index < len(table):
            table[self.ignore_index] = 0
        return table[labels]
