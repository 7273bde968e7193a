"""Data for erasing text: published layouts, and scenes that are made as they are asked for."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from dense.errors import DatasetError
from dense.io import list_images, read_image
from dense.registry import DATASETS, TRANSFORMS
from dense.tasks import as_task

# names of folders in use, the first that is there counts
NAMES = {
    "image": ("all_images", "images", "image", "imgs", "img", "input", "im"),
    "clean": ("all_labels", "labels", "label", "clean", "target", "background", "bg"),
    "boxes": ("all_gts", "gts", "txt", "boxes", "gt"),
    "mask": ("masks", "mask"),
}
LAYOUT = """\
  {root}[/SPLIT]/
    all_images/*.jpg    pictures with text (also images, image, img, input)
    all_labels/*.jpg    the same without it (also labels, label, clean, target)
    all_gts/*.txt       x1,y1,...,x4,y4[,text] a line (also gts, txt, boxes); or
    masks/*.png         white where text is (also mask); or neither: text is where the two pictures differ"""


@dataclass(frozen=True)
class EraseFiles:
    """Files of one picture: with text, without, and where the text is (a .txt of boxes, a mask, or None)."""

    image: Path
    clean: Path
    where: Path | None = None

    @property
    def name(self) -> str:
        return self.image.stem


def find_files(root: str | Path, split: str | None = None) -> list[EraseFiles]:
    """The pictures of a data set in the layout of SCUT-EnsText, SCUT-Syn or Oxford's synthetic text.

    Raises DatasetError that says where was looked, and which pictures have no clean version.
    """
    folder = Path(root) / (split or "")
    expected = f"Expected:\n{LAYOUT.format(root=root)}"
    if not folder.is_dir():
        raise DatasetError(f"{folder}: there is no such folder. {expected}")
    found = {kind: next((folder / n for n in names if (folder / n).is_dir()), None) for kind, names in NAMES.items()}
    if found["image"] is None or found["clean"] is None:
        lacks = "pictures with text" if found["image"] is None else "clean pictures"
        raise DatasetError(f"{folder}: there is no folder of {lacks}. {expected}")
    clean = {p.stem: p for p in list_images(found["clean"])}
    masks = {p.stem: p for p in list_images(found["mask"])} if found["mask"] else {}
    boxes = {re.sub(r"^gt_", "", p.stem): p for p in sorted(found["boxes"].glob("*.txt"))} if found["boxes"] else {}
    images = list_images(found["image"])
    if lone := [p for p in images if p.stem not in clean]:
        raise DatasetError(f"{folder}: {len(lone)} pictures have no clean version in {found['clean'].name}, "
                           f"{lone[0].name} first. Remedy: add them, or take these away")
    if not images:
        raise DatasetError(f"{found['image']}: holds no picture. {expected}")
    return [EraseFiles(p, clean[p.stem], boxes.get(p.stem) or masks.get(p.stem)) for p in images]


class _Drawn(Dataset):
    """Samples by draws ``epoch * len(self) + index``, as ``DrawSampler`` gives them."""

    metainfo: ClassVar[dict] = {"classes": ("text",)}

    def __init__(self, pipeline: Sequence, task, seed: int):
        self.task, self.seed = as_task(task, "erase"), seed
        self.pipeline = Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline])

    def __getitem__(self, draw: int) -> dict:
        epoch, index = divmod(int(draw), len(self))
        rng = np.random.default_rng([self.seed, epoch, index])
        return self.pipeline(self.content(index, rng) | {"task": self.task, "rng": rng})

    def content(self, index: int, rng: np.random.Generator) -> dict:
        """What the pipeline begins with."""
        raise NotImplementedError


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
