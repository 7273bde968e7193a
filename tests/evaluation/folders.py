"""Small folders of masks and predictions for the tests of the evaluation."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

NAMES = [f"p_{i}" for i in range(6)]


def make_folders(root: Path, size: int = 48) -> Path:
    """``root`` with ``data/im``, ``data/gt`` and the predictions ``soft_net`` and ``hard`` of six pictures.

    p_0 has an empty ground truth, p_1 a full one; p_2 is larger than the others.
    """
    rng = np.random.default_rng(5)
    for number, name in enumerate(NAMES):
        side = size * (2 if number == 2 else 1)
        gt = np.zeros((side, side + 8), np.uint8)
        cv2.circle(gt, (side // 2, side // 2), side // 3 - number, 255, -1)  # no two are alike
        gt[::7] = 0
        if number < 2:
            gt[:] = 255 * number
        soft = cv2.GaussianBlur(gt, (0, 0), 3) * rng.uniform(0.6, 1)
        hard = np.roll(gt, (4, 7), (0, 1))
        hard[2:9, 3:12] = 255 - hard[2:9, 3:12]
        image = rng.integers(0, 255, (*gt.shape, 3), dtype=np.uint8)
        for folder, array in (("data/gt", gt), ("data/im", image), ("soft_net", soft.astype(np.uint8)), ("hard", hard)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / folder / f"{name}.png"), array)
    return root
