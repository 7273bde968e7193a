"""Small data sets of volumes in nnU-Net's layout."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dense.io.volume import Volume, write_values

LABELS = {"background": 0, "ball": 1, "box": 2}


def draw_volume(seed: int, shape=(30, 34, 28)) -> tuple[np.ndarray, np.ndarray]:
    """float32 values (Z, Y, X) whose level tells the class, and uint8 labels: a ball and a box; zeros around."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    centre = [int(rng.integers(8, n - 8)) for n in shape]
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    labels[sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < 36] = 1
    corner = [int(rng.integers(3, n - 10)) for n in shape]
    box = tuple(slice(c, c + 7) for c in corner)
    labels[box] = np.where(labels[box] == 1, 1, 2)
    values = (100 + 80.0 * labels + rng.normal(0, 4, shape)).astype(np.float32)
    values[[0, -1]] = values[:, [0, -1]] = values[:, :, [0, -1]] = 0
    return values, labels * (values != 0)


def save(path: Path, array: np.ndarray, spacing=(2.0, 1.0, 1.5)) -> None:
    affine = np.diag([*spacing[::-1], 1.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_values(path, array, Volume(array[None], spacing, affine))


def make_set(root: Path, count: int = 6, channels: int = 1, labels=None, splits=None, part: str = "Tr",
             stored=None) -> Path:
    """``count`` cases a0, a1 ...; stored: label value by index of the class, where it is another."""
    for index in range(count):
        values, truth = draw_volume(index)
        for channel in range(channels):
            save(root / f"images{part}" / f"a{index}_{channel:04}.nii.gz", values * (1 + channel))
        truth = truth if stored is None else np.asarray(stored, np.uint8)[truth]
        save(root / f"labels{part}" / f"a{index}.nii.gz", truth)
    description = {"channel_names": {str(c): f"C{c}" for c in range(channels)}, "labels": labels or LABELS,
                   "numTraining": count, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(description))
    if splits is not None:
        (root / "splits_final.json").write_text(json.dumps(splits))
    return root
