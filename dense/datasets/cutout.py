"""Cut-out data: DIS5K, or any folder of pictures and masks."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from dense.errors import DatasetError
from dense.io import find_pairs, split_folders
from dense.registry import DATASETS, TRANSFORMS
from dense.tasks import as_task

LAYOUT = """\
  {root}/
    DIS-TR/im/*.jpg   DIS-TR/gt/*.png      3000 training pictures
    DIS-VD/im/*.jpg   DIS-VD/gt/*.png       470 validation pictures
    DIS-TE1 ... DIS-TE4, the same way       500 test pictures each"""


@DATASETS.register_module()
class CutoutDataset(Dataset):
    """Pairs of a picture and a grey mask (0 background, 255 foreground), matched by file name.

    root: the data set's folder; split: one of its splits (``'DIS-TR'``), several (evaluated together), or
        None when ``root`` itself holds the two folders (``im``/``gt``, ``images``/``masks`` ...).
    limit: use the first ``limit`` pairs only. seed: of the augmentation, with epoch and index.

    Raises DatasetError that says where it looked and what it expects.
    """

    metainfo: ClassVar[dict] = {"classes": ("background", "foreground"), "palette": [(0, 0, 0), (255, 255, 255)]}

    def __init__(self, root: str | Path, split: str | Sequence[str] | None = None, pipeline: Sequence = (),
                 task=None, limit: int | None = None, seed: int = 0):
        self.root, self.seed, self.task = Path(root), seed, as_task(task)
        self.pairs = self._find(split)[:limit]
        if not self.pairs:
            raise DatasetError(f"{self.root}: no pair of picture and mask with the same name in {split}. "
                               "Remedy: tools/data/check.py says what is missing")
        self.pipeline = Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline])

    def _find(self, split) -> list:
        if not self.root.is_dir():
            raise DatasetError(missing_data_message(self.root))
        pairs = []
        for one in [split] if split is None or isinstance(split, str) else split:
            try:
                listing = find_pairs(*split_folders(self.root, one))
            except DatasetError as error:
                if any(self.root.iterdir()):
                    raise
                raise DatasetError(missing_data_message(self.root)) from error
            lone = len(listing.images_without_mask) + len(listing.masks_without_image)
            if lone or listing.ambiguous:
                first = [*listing.images_without_mask, *listing.masks_without_image,
                         *(p for ps in listing.ambiguous.values() for p in ps)][0]
                raise DatasetError(
                    f"{self.root}, split {one}: {lone} files without a partner and {len(listing.ambiguous)} "
                    f"ambiguous names, {first} first. Remedy: tools/data/check.py {self.root} lists them all")
            pairs += listing.pairs
        return pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: int) -> dict:
        """Sample of a draw ``epoch * len(self) + index``."""
        epoch, index = divmod(int(draw), len(self))
        return self.pipeline({"pair": self.pairs[index], "pairs": self.pairs, "task": self.task,
                              "rng": np.random.default_rng([self.seed, epoch, index])})


def missing_data_message(root: Path) -> str:
    """Where was looked, what is expected, where it comes from, and what works without it."""
    if root.is_dir():
        found = f"the folder {root.resolve()} is empty"
    else:
        places = [root.resolve()]
        inside = Path(__file__).resolve().parents[2] / root  # where find_data looks too
        if inside not in places and inside.parents[1].joinpath("setup.cfg").is_file():
            places.append(inside)
        found = f"there is no folder {' and no folder '.join(map(str, places))}"
    return "\n".join((
        f"the data set was not found: {found}",
        "Expected there (DIS5K; any folder of pictures and masks works too):",
        LAYOUT.format(root=root),
        "DIS5K's terms of use (academic) and download links are on the project page of the paper 'Highly",
        "Accurate Dichotomous Image Segmentation' (github.com/xuebinqin/DIS).",
        "Remedy: put or link it there, or name another place with --data-root FOLDER.",
        "Without it: tools/train.py configs/isnet_cutouts.py trains on the bundled set (data/cutouts)."))
