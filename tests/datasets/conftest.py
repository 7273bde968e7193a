"""Each test has a picture cache of its own, and small data sets to read."""
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pictures"


class Maker:
    """Writes pictures and masks without flushing each to the disk."""

    @staticmethod
    def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
        grain = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        return cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)

    @staticmethod
    def mask(height: int = 48, width: int = 64) -> np.ndarray:
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4:height // 2 + 1, width // 4:width // 2 + 1] = 255
        return mask

    @staticmethod
    def write(path: Path, array: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)
        return path

    def pairs(self, folder: Path, count: int, first: int = 0, names: tuple[str, str] = ("im", "gt")) -> Path:
        for index in range(first, first + count):
            self.write(folder / names[0] / f"p{index}.jpg", self.picture(index))
            self.write(folder / names[1] / f"p{index}.png", np.roll(self.mask(), index, axis=1))
        return folder


@pytest.fixture
def maker() -> Maker:
    return Maker()
