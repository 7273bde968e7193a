"""Data of semantic segmentation: Cityscapes, or any folder of pictures, label pictures and a class file."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from dense.errors import DatasetError, MissingDependencyError
from dense.io import Pair, find_pairs, split_folders
from dense.io.classes import ClassList, find_class_file, read_classes
from dense.registry import DATASETS, TRANSFORMS
from dense.tasks import as_task
from dense.tasks.palettes import CITYSCAPES

LAYOUT = """\
  {root}/
    classes.txt                            '0 road', '1 car' ..., a class a line
    train/images/*.jpg  train/masks/*.png  labels: 8-bit grey or palette
    val/images/*.jpg    val/masks/*.png"""


@DATASETS.register_module()
class SemanticDataset(Dataset):
    """Pairs of a picture and a label picture, matched by file name.

    root: the data set's folder; split: one of its splits (``'train'``), several, or None when ``root`` itself holds
        the two folders (``images``/``masks``, ``im``/``gt`` ...).
    classes: a class file (``dense.io.classes``) or a list of names; None looks for one in the folder, and takes the
        task's classes, with ids 0, 1 ..., where there is none.
    limit: use the first ``limit`` pairs only. seed: of the augmentation, with epoch and index.

    Raises DatasetError that says where it looked and what it expects, and if the classes are not those of the task.
    """

    def __init__(self, root: str | Path, split: str | Sequence[str] | None = None, pipeline: Sequence = (),
                 task=None, classes: str | Path | Sequence[str] | None = None, limit: int | None = None, seed: int = 0):
        self.root, self.seed, self.task = Path(root), seed, as_task(task, "semantic")
        if not self.root.is_dir() or not any(self.root.iterdir()):
            raise DatasetError(missing_data_message(self.root, self.layout))
        splits = [split] if split is None or isinstance(split, str) else list(split)
        self.classes = self._read_classes(classes, splits)
        if self.classes.names != self.task.classes:
            raise DatasetError(f"{self.classes.origin}: the classes {', '.join(self.classes.names)} are not those of "
                               f"the task, {', '.join(self.task.classes)}. Remedy: make task['classes'] and the class "
                               "file agree")
        self.metainfo = {"classes": self.task.classes, "palette": [list(c) for c in self.task.palette]}
        self.pairs = [pair for one in splits for pair in self.find(one)][:limit]
        if not self.pairs:
            raise DatasetError(f"{self.root}: no pair of picture and labels with the same name in {split}. "
                               "Remedy: tools/data/check.py says what is missing")
        self.pipeline = Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline])

    layout = LAYOUT

    def _read_classes(self, classes, splits: Sequence[str | None]) -> ClassList:
        if classes is None:
            classes = find_class_file(self.root, *(self.root / s for s in splits if s))
        if classes is None:
            return ClassList(self.task.classes, tuple(range(len(self.task.classes))), self.task.palette,
                             origin="the task's classes")
        if isinstance(classes, str | Path):
            path = Path(classes)
            return read_classes(path if path.is_absolute() or path.is_file() else self.root / path)
        return ClassList(tuple(classes), tuple(range(len(classes))), origin="the config's classes")

    def find(self, split: str | None) -> list[Pair]:
        """Pairs of one split."""
        listing = find_pairs(*split_folders(self.root, split))
        lone = [*listing.images_without_mask, *listing.masks_without_image]
        if lone or listing.ambiguous:
            first = [*lone, *(p for ps in listing.ambiguous.values() for p in ps)][0]
            raise DatasetError(
                f"{self.root}, split {split}: {len(lone)} files without a partner and {len(listing.ambiguous)} "
                f"ambiguous names, {first} first. Remedy: tools/data/check.py {self.root} lists them all")
        return listing.pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: int) -> dict:
        """Sample of a draw ``epoch * len(self) + index``."""
        epoch, index = divmod(int(draw), len(self))
        return self.pipeline({"pair": self.pairs[index], "pairs": self.pairs, "task": self.task,
                              "classes": self.classes, "rng": np.random.default_rng([self.seed, epoch, index])})


# values of *_labelIds.png of the 19 classes of evaluation, in the order of their train ids
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


@DATASETS.register_module()
class CityscapesDataset(SemanticDataset):
    """Cityscapes as it is unpacked, its files found by mmseg's data set of the same name.

    split: 'train', 'val' or 'test'. ``*_labelTrainIds.png`` are read where the data set's scripts made them, else
    ``*_labelIds.png``, with the same result: the values that are not evaluated have no class.
    """

    layout = """\
  {root}/
    leftImg8bit/train/CITY/*_leftImg8bit.png    gtFine/train/CITY/*_gtFine_labelIds.png
    leftImg8bit/val/...                         gtFine/val/...        (labelTrainIds.png will do as well)"""

    def _read_classes(self, classes, splits: Sequence[str | None]) -> ClassList:
        self.suffix = "_gtFine_labelTrainIds.png"
        if any((self.root / "gtFine").glob(f"*/*/*{self.suffix}")):
            return ClassList(tuple(CITYSCAPES), tuple(range(19)), origin="Cityscapes' train ids")
        self.suffix = "_gtFine_labelIds.png"
        others = tuple(i for i in range(256) if i not in CITYSCAPES_IDS)
        return ClassList(tuple(CITYSCAPES), CITYSCAPES_IDS, ignored=others, origin="Cityscapes' label ids")

    def find(self, split: str | None) -> list[Pair]:
        """Pairs of one split."""
        try:
            from mmseg.datasets import CityscapesDataset as Layout
        except ImportError as error:
            raise MissingDependencyError("Cityscapes is read through mmsegmentation, which cannot be imported "
                                         f"({error}). Remedy: pip install 'dense[seg]'") from None
        images, labels = self.root / "leftImg8bit" / str(split), self.root / "gtFine" / str(split)
        if not images.is_dir() or not labels.is_dir():
            raise DatasetError(f"{self.root}: no folders {images} and {labels}. Expected there:\n"
                               + self.layout.format(root=self.root))
        rows = Layout(
            data_root=str(self.root), seg_map_suffix=self.suffix, pipeline=[], lazy_init=True,
            data_prefix=dict(img_path=f"leftImg8bit/{split}", seg_map_path=f"gtFine/{split}")).load_data_list()
        pairs = [Pair(Path(r["img_path"]).stem.removesuffix("_leftImg8bit"), Path(r["img_path"]),
                      Path(r["seg_map_path"])) for r in rows]
        missing = [p.mask for p in pairs if not p.mask.is_file()]
        if missing:
            raise DatasetError(f"{missing[0]}: missing, as are {len(missing) - 1} more of {len(pairs)} label pictures. "
                               "Remedy: unpack gtFine_trainvaltest.zip into the same folder")
        return pairs


def missing_data_message(root: Path, layout: str = LAYOUT) -> str:
    """Where was looked and what is expected."""
    state = f"the folder {root.resolve()} is empty" if root.is_dir() else f"there is no folder {root.resolve()}"
    return "\n".join((
        f"the data set was not found: {state}", "Expected there:", layout.format(root=root),
        "Remedy: put or link it there, or name another place with --data-root FOLDER.",
        "Without it: tools/train.py configs/ffnet_scenes.py trains on the bundled set (data/scenes)."))
