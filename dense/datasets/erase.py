"""Data for erasing text: published layouts, and scenes that are made as they are asked for."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from dense.errors import DatasetError
from dense.io import list_images, read_image
from dense.io.texts import find_files
from dense.registry import DATASETS, TRANSFORMS
from dense.tasks import as_task


class _Drawn(Dataset, ABC):
    """Samples by draws ``epoch * len(self) + index``, as ``DrawSampler`` gives them."""

    metainfo: ClassVar[dict] = {"classes": ("text",)}

    def __init__(self, pipeline: Sequence, task, seed: int):
        self.task, self.seed = as_task(task, "erase"), seed
        self.pipeline = Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline])

    def __getitem__(self, draw: int) -> dict:
        epoch, index = divmod(int(draw), len(self))
        rng = np.random.default_rng([self.seed, epoch, index])
        return self.pipeline(self.content(index, rng) | {"task": self.task, "rng": rng})

    @abstractmethod
    def content(self, index: int, rng: np.random.Generator) -> dict:
        """What the pipeline begins with."""


@DATASETS.register_module()
class EraseDataset(_Drawn):
    """Pictures with text and without, from files; see ``find_files``.

    limit: use the first ``limit`` only. seed: of crops and of the choice of what is erased, with epoch and index.
    """

    def __init__(self, root: str | Path, split: str | Sequence[str] | None = None, pipeline: Sequence = (), task=None,
                 limit: int | None = None, seed: int = 0):
        super().__init__(pipeline, task, seed)
        splits = [split] if split is None or isinstance(split, str) else split
        self.files = [f for one in splits for f in find_files(root, one)][:limit]

    def __len__(self) -> int:
        return len(self.files)

    def content(self, index: int, rng: np.random.Generator) -> dict:
        return {"files": self.files[index]}


@DATASETS.register_module()
class SyntheticText(_Drawn):
    """Texts in many fonts and scripts on pieces of photographs, made as they are asked for: without end, the same for
    the same seed, epoch, index, fonts and photographs, whatever the number of processes.

    root, split: ``root/SPLIT/backgrounds`` holds photographs, ``root/SPLIT/fonts`` fonts (without that folder, those of
    the system); or other folders are named with ``backgrounds`` and ``fonts``. length: scenes an epoch; limit: at most
    so many. settings: of ``SceneSettings``.
    """

    def __init__(self, root: str | Path = "data/text", split: str | None = "train",
                 backgrounds: str | Path | None = None, fonts: str | Path | Sequence | None = None,
                 length: int = 10_000, limit: int | None = None, pipeline: Sequence = (), task=None, seed: int = 0,
                 settings: dict | None = None):
        from dense.datasets.text import SceneSettings, find_fonts

        super().__init__(pipeline, task, seed)
        folder = Path(root) / (split or "")
        backgrounds = Path(backgrounds or folder / "backgrounds")
        if fonts is None and (folder / "fonts").is_dir():
            fonts = folder / "fonts"
        if not backgrounds.is_dir():
            raise DatasetError(f"{backgrounds}: the folder of photographs does not exist. Remedy: "
                               "tools/data/make_text_sources.py makes data/text; or name another with backgrounds=...")
        self.backgrounds = list_images(backgrounds, recursive=True)
        if not self.backgrounds:
            raise DatasetError(f"{backgrounds}: holds no picture; name a folder of photographs with backgrounds=...")
        self.fonts, self.length = find_fonts(fonts), min(length, limit or length)
        self.settings = SceneSettings(**{k: tuple(v) for k, v in (settings or {}).items()})

    def __len__(self) -> int:
        return self.length

    def content(self, index: int, rng: np.random.Generator) -> dict:
        from dense.datasets.text import make_scene

        path = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        scene = make_scene(rng, _photograph(path), self.fonts, self.settings)
        return {"image": scene.image, "clean": scene.clean, "polygons": scene.polygons,
                "name": f"{index:06d}", "image_path": str(path)}


@lru_cache(maxsize=32)
def _photograph(path: Path) -> np.ndarray:
    """uint8 RGB (H, W, 3), kept for the next scenes of this process."""
    return read_image(path)
