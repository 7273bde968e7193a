"""The cut-out task (dichotomous segmentation): picture -> square tensor; probability map -> alpha.

Source of the constants: the released code of IS-Net (Qin et al., ECCV 2022), see docs/systems/isnet.md.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class CutoutTask:
    """Geometry and value ranges of a cut-out network.

    size: (height, width) that the network is fed; the picture is stretched to it, bilinear, no
        antialiasing (as the published training and inference do).
    mean, std: per-channel constants in units of 0..255 values: tensor = (value - mean) / std.
    min_max: stretch each alpha to the full range as the published script does. Off by default, because
        it turns the noise of a picture without a subject into a full-strength mask.
    """

    size: tuple[int, int] = (1024, 1024)
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    min_max: bool = False

    kind = "cutout"

    def __post_init__(self):
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or any(int(s) != s or s < 32 for s in size):
            raise ValueError(f"size must be two whole numbers >= 32 (height, width), not {self.size!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"mean and std need three values (R, G, B), not {self.mean} and {self.std}")
        if any(s <= 0 for s in self.std):
            raise ValueError(f"std must be positive, not {self.std}")
        object.__setattr__(self, "size", tuple(int(s) for s in size))

    def to_dict(self) -> dict:
        """Plain values (JSON) that ``task_from_dict`` reads back."""
        return {"kind": self.kind, **{k: list(v) if isinstance(v, tuple) else v
                                      for k, v in asdict(self).items()}}

    def resize(self, array: np.ndarray) -> np.ndarray:
        """Stretch uint8 (H, W[, C]) to ``size``: the one place that decides how."""
        height, width = self.size
        if array.shape[:2] == (height, width):
            return array
        return cv2.resize(array, (width, height), interpolation=cv2.INTER_LINEAR)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB (H, W, 3) -> float32 (3, h, w), resized and normalised."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected a uint8 RGB picture (H, W, 3), got {image.dtype} {image.shape}")
        tensor = self.resize(image).astype(np.float32)
        tensor = (tensor - np.float32(self.mean)) / np.float32(self.std)
        return np.ascontiguousarray(tensor.transpose(2, 0, 1))

    def decode(self, probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """float (h, w) in 0..1 -> alpha float32 (H, W) in 0..1 at the picture's ``shape``."""
        height, width = shape
        alpha = np.asarray(probability, np.float32)
        if alpha.shape != (height, width):
            alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.min_max:
            low, high = float(alpha.min()), float(alpha.max())
            alpha = (alpha - low) / (high - low) if high > low else np.zeros_like(alpha)
        return np.clip(alpha, 0.0, 1.0)

    def run(self, image: np.ndarray, forward: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Alpha (H, W) of a picture; ``forward`` maps float32 (N, 3, h, w) to probabilities (N, 1, h, w)."""
        probability = forward(self.prepare(image)[None])
        return self.decode(np.asarray(probability)[0, 0], image.shape[:2])
