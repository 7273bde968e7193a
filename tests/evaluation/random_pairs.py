"""Random predictions and ground truths for the tests of the measures."""

import cv2
import numpy as np


def random_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """bool (height, width): discs, lines, noise, a half plane, one pixel, empty or full."""
    mask = np.zeros((height, width), np.uint8)
    x, y = (lambda: int(rng.integers(-3, width + 3))), (lambda: int(rng.integers(-3, height + 3)))
    match rng.integers(8):
        case 0 | 1:
            for _ in range(rng.integers(1, 5)):
                cv2.circle(mask, (x(), y()), int(rng.integers(max(height, width) // 3 + 1)), 1, -1)
        case 2:
            for _ in range(rng.integers(1, 7)):
                cv2.line(mask, (x(), y()), (x(), y()), 1, int(rng.integers(1, 4)))
        case 3:
            mask[rng.random(mask.shape) < rng.choice([0.01, 0.1, 0.5, 0.95])] = 1
        case 4:
            mask[:, rng.integers(width) :] = 1
        case 5:
            mask[rng.integers(height), rng.integers(width)] = 1
        case 6:
            mask[:] = 1
    return mask.view(bool)


def random_pair(seed: int, largest: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """uint8 prediction, related to the ground truth or not, and bool ground truth."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, largest, 2).tolist()
    gt = random_mask(rng, height, width)
    pred = random_mask(rng, height, width) if rng.random() < 0.3 else np.roll(gt, rng.integers(-2, 3, 2), (0, 1))
    pred = pred * 255.0
    if rng.random() < 0.7:
        pred = cv2.GaussianBlur(pred, (0, 0), rng.uniform(0.4, 3)).reshape(gt.shape)
        pred += rng.choice([0, 0, 20]) * rng.standard_normal(gt.shape)
    return np.rint(np.clip(pred * rng.choice([1, 1, 0.3]), 0, 255)).astype(np.uint8), gt


def layouts(array: np.ndarray) -> list[np.ndarray]:
    """The same (H, W) array in Fortran order, as part of a larger one, and with negative strides."""
    larger = np.zeros((array.shape[0] + 5, 2 * array.shape[1]), array.dtype)
    inside = larger[3:-2, ::2]
    inside[:] = array
    return [np.asfortranarray(array), inside, np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]]


INVALID = [
    ("other shape", np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), "resize pred"),
    ("channels", np.zeros((4, 5, 1), np.uint8), np.zeros((4, 5, 1), np.uint8), r"expected \(H, W\)"),
    ("no pixel", np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8), "no pixel"),
    ("integers", np.zeros((4, 5), np.int64), np.zeros((4, 5), np.uint8), "pred has dtype int64"),
    ("range", np.full((4, 5), 1.5), np.zeros((4, 5), np.uint8), r"0\.\.1"),
    ("NaN", np.full((4, 5), np.nan), np.zeros((4, 5), np.uint8), r"0\.\.1"),
    ("float gt", np.zeros((4, 5), np.uint8), np.zeros((4, 5)), "gt has dtype float64"),
    ("labels", np.zeros((4, 5), np.uint8), np.eye(4, 5, dtype=np.uint8), "gt is uint8 with the values 0 and 1"),
]
