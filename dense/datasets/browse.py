"""Contact sheets of what a network is really fed: the samples of a built data set, after its pipeline."""
from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from dense.tasks.palettes import distinct_colours
from dense.tasks.pictures import contact_sheet, fit, label
from dense.tasks.volume_pictures import window_of

OUTLINE = (255, 0, 200)
GAP = 6


def outlined(image: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """uint8 RGB square of ``size``: the picture, darkened outside the mask (both (H, W)), with its outline."""
    panel, alpha = fit(image, size, size), fit(mask, size, size)[..., :1]
    out = (panel * (0.35 + 0.65 / 255 * alpha)).astype(np.uint8)
    inside = (alpha[..., 0] > 128).astype(np.uint8)
    out[cv2.dilate(inside, np.ones((3, 3), np.uint8)) > inside] = OUTLINE
    return out


def sample_panels(sample: dict, size: int) -> tuple[np.ndarray, np.ndarray]:
    """image | outline of a packed sample, each uint8 RGB (size, size, 3); of volumes, image | labels of the middle
    plane."""
    if "gt_labels" in sample["data_samples"]:
        return _volume_panels(sample, size)
    image = sample["inputs"].numpy().transpose(1, 2, 0)
    image = image[..., 0] if image.shape[2] == 1 else image
    mask = sample["data_samples"].gt_alpha.data[0].numpy()
    if mask.shape != image.shape[:2]:  # evaluation keeps the mask at its own size
        mask = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_AREA)
    return fit(image, size, size), outlined(image, mask, size)


def _volume_panels(sample: dict, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What has no label is white."""
    values, labels = sample["inputs"][0].numpy(), sample["data_samples"].gt_labels.numpy()
    labels = labels.reshape(labels.shape[-3:])
    middle = len(values) // 2
    low, high = window_of(values)
    grey = np.clip((values[middle] - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    colours = np.array([*distinct_colours(max(2, int(labels.max()) + 1)), (255, 255, 255)], np.uint8)
    return fit(grey, size, size), fit(colours[labels[middle]], size, size)


def sheets(dataset, count: int = 24, epochs: int = 3, size: int = 240, rows: int = 8) -> Iterator[np.ndarray]:
    """Sheets, uint8 RGB, of ``count`` samples spread evenly over the data set, ``rows`` samples each.

    A row is one sample in ``epochs`` consecutive epochs (one only if nothing in the pipeline is random), each
    as image | outline.
    """
    if not any(getattr(t, "random", False) for t in dataset.pipeline.transforms):
        epochs = 1
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))
    for start in range(0, len(indices), rows):
        yield contact_sheet([_row(dataset, int(i), epochs, size) for i in indices[start:start + rows]])


def _row(dataset, index: int, epochs: int, size: int) -> np.ndarray:
    cells = []
    for epoch in range(epochs):
        sample = dataset[epoch * len(dataset) + index]
        image, outline = sample_panels(sample, size)
        sides = " x ".join(map(str, reversed(sample["inputs"].shape[1:])))
        name = sample["data_samples"].name
        text = f"{name[:22]}  {sides}  epoch {epoch}" if epoch == 0 else f"epoch {epoch}"
        cell = label(np.hstack([image, outline]), text)
        cells.append(np.pad(cell, ((0, GAP), (0, GAP), (0, 0))))
    return np.hstack(cells)
