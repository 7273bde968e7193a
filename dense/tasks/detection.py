"""The task of detection: picture -> tensor; boxes and probabilities of queries -> objects in the picture's pixels."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from dense.tasks.base import RunAll, Task, register_task
from dense.tasks.palettes import COCO, bright_colours
from dense.tasks.plan import Plan, Window, whole
from dense.tasks.semantic import IMAGENET_MEAN, IMAGENET_STD

MULTIPLE = 32  # of the tensor's sides: the coarsest features have a whole number of pixels
LEAST = 64  # smallest side that is fed
PADDING = -1.0  # where there is no picture; no pixel has this value


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects, the surest first.

    boxes: float32 (n, 4), left, top, right, bottom in pixels of the picture (0: the left or upper edge of the first
    pixel). scores: float32 (n,), 0..1. labels: int64 (n,), indices of classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, which: np.ndarray | slice) -> Detections:
        """Some of them, by a mask, indices or a slice."""
        return Detections(self.boxes[which], self.scores[which], self.labels[which])


@dataclass(frozen=True)
class DetectionPlan(Plan):
    """content: (height, width) of the picture in the tensor; the rest, to its right and below, is padding."""

    content: tuple[int, int] = (0, 0)


@register_task
@dataclass(frozen=True)
class DetectionTask(Task):
    """Geometry, value ranges and classes of an object detector.

    size: (height, width) that the network is usually fed, multiples of 32. longest: the longer side of the picture in
        it is at most this (published: 800 x 1333 pixels in 800 x 1344); None: that of ``size``.
    mean, std: per-channel constants in units of 0..255 values: tensor = (value - mean) / std.
    classes: names, in the order of the outputs; palette: their RGB colours, distinct ones by default.
    threshold: objects with a lower score are left out; most: objects of a picture, the surest ones, at most (published:
        the number of queries). clip: boxes end at the picture's edges, and those wholly beyond are left out.

    Modes: 'fit', scaled to fit ``size``, upright or turned, whichever way the picture is, and padded to multiples of
    32, so that sizes differ from picture to picture; 'global', scaled to fit ``size`` as it is, and padded to it.

    A network in use takes float32 (N, 3, h, w) RGB 0..255, ``PADDING`` where there is no picture, and gives (N,
    queries, 4 + classes): left, top, right, bottom as shares of the picture's width and height, then the probability
    of each class. Every query may be several objects, of different classes; nothing is suppressed.
    """

    size: tuple[int, int] = (800, 1344)
    longest: int | None = 1333
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    classes: tuple[str, ...] = COCO
    palette: tuple[tuple[int, int, int], ...] = ()
    threshold: float = 0.3
    most: int = 100
    clip: bool = True

    kind: ClassVar = "detection"
    modes: ClassVar = ("fit", "global")
    fixed_mode: ClassVar = "global"

    def __post_init__(self):
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or any(int(s) != s or s < LEAST or s % MULTIPLE for s in size):
            raise ValueError(f"size must be two multiples of {MULTIPLE}, at least {LEAST} (height, width), not "
                             f"{self.size!r}")
        object.__setattr__(self, "size", tuple(int(s) for s in size))
        if self.longest is not None and (int(self.longest) != self.longest or self.longest < LEAST):
            raise ValueError(f"longest must be a whole number of pixels, at least {LEAST}, or None, not "
                             f"{self.longest!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        if len(self.mean) != 3 or len(self.std) != 3 or any(s <= 0 for s in self.std):
            raise ValueError(f"mean and std need three values (R, G, B), std positive, not {self.mean} and {self.std}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in 0..1, not {self.threshold!r}")
        if int(self.most) != self.most or self.most < 1:
            raise ValueError(f"most must be a whole number, at least 1, not {self.most!r}")
        self._check_classes()

    def _check_classes(self) -> None:
        classes = tuple(str(c) for c in self.classes)
        if not classes or len(set(classes)) < len(classes):
            raise ValueError(f"classes must be different names, at least one, not {self.classes!r}")
        palette = tuple(self.palette) or bright_colours(len(classes))
        palette = tuple(tuple(int(v) for v in colour) for colour in palette)
        if len(palette) != len(classes) or any(len(c) != 3 or not all(0 <= v <= 255 for v in c) for c in palette):
            raise ValueError(f"palette must be one RGB colour (0..255) for each of {len(classes)} classes, "
                             f"not {self.palette!r}")
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "palette", palette)

    # -- picture -> tensor

    def plan(self, shape: tuple[int, int], mode: str = "fit") -> DetectionPlan:
        """How a picture of ``shape`` (H, W) is fed."""
        self.check_mode(mode)
        if mode == "global":
            bounds = tuple(min(s, self.longest or s) for s in self.size)
            content = scaled_to_fit(shape, bounds)
            return DetectionPlan(shape, self.size, whole(shape), content=content)
        content = self.fitted(shape)
        padded = tuple(max(LEAST, -(-s // MULTIPLE) * MULTIPLE) for s in content)
        return DetectionPlan(shape, padded, whole(shape), content=content)

    def fitted(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of a picture of ``shape`` scaled to the mode 'fit', without padding."""
        short, long = sorted(self.size)
        bounds = short, min(long, self.longest or long)
        return scaled_to_fit(shape, bounds if shape[0] <= shape[1] else bounds[::-1])

    def resize(self, image: np.ndarray, content: tuple[int, int]) -> np.ndarray:
        """The picture at (height, width) ``content``: bilinear, as published, also where it shrinks."""
        if image.shape[:2] == tuple(content):
            return image
        return cv2.resize(image, content[::-1], interpolation=cv2.INTER_LINEAR)

    def tensor(self, image: np.ndarray, plan: DetectionPlan | None = None,
               window: Window | None = None) -> np.ndarray:
        """What a network in use is fed, float32 (3, h, w), contiguous. image: uint8 RGB (H, W, 3)."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected a uint8 RGB picture (H, W, 3), got {image.dtype} {image.shape}")
        plan = plan or self.plan(image.shape[:2])
        out = np.full((3, *plan.size), PADDING, np.float32)
        height, width = plan.content
        out[:, :height, :width] = self.resize(image, plan.content).transpose(2, 0, 1)
        return out

    def normalise(self, tensor: np.ndarray) -> np.ndarray:
        """(value - mean) / std of float32 (..., 3, h, w), 0 in the padding: what the network proper takes."""
        mean, std = (np.float32(v).reshape(3, 1, 1) for v in (self.mean, self.std))
        return np.where(tensor[..., :1, :, :] >= 0, (tensor - mean) / std, np.float32(0))

    # -- outputs -> objects

    def decode(self, output: np.ndarray, shape: tuple[int, int], threshold: float | None = None) -> Detections:
        """Objects in a picture of ``shape`` (H, W) from the network's output (queries, 4 + classes).

        threshold: instead of the task's.
        """
        if output.ndim != 2 or output.shape[1] != 4 + len(self.classes):
            raise ValueError(f"the network gives {output.shape}, the task with its {len(self.classes)} classes takes "
                             f"(queries, {4 + len(self.classes)})")
        scores = output[:, 4:].ravel()
        order = np.argsort(-scores, kind="stable")[:self.most]
        order = order[scores[order] >= (self.threshold if threshold is None else threshold)]
        query, labels = np.divmod(order, len(self.classes))
        height, width = shape
        boxes = (output[query, :4] * np.float32([width, height, width, height])).astype(np.float32)
        found = Detections(boxes, scores[order].astype(np.float32), labels.astype(np.int64))
        if not self.clip:
            return found
        np.clip(boxes[:, 0::2], 0, width, out=boxes[:, 0::2])
        np.clip(boxes[:, 1::2], 0, height, out=boxes[:, 1::2])
        return found[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])]

    def finish(self, image: np.ndarray, plan: Plan, overview: np.ndarray | None, run_all: RunAll) -> Detections:
        """Objects in the picture's own pixels."""
        return self.decode(overview, plan.shape)


def scaled_to_fit(shape: Sequence[int], bounds: Sequence[int]) -> tuple[int, int]:
    """(height, width) of ``shape`` scaled by one factor to the largest within ``bounds``, rounded."""
    scale = min(b / s for b, s in zip(bounds, shape, strict=True))
    return tuple(max(1, min(b, int(s * scale + 0.5))) for b, s in zip(bounds, shape, strict=True))
