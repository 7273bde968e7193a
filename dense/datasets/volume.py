"""Data of volumetric segmentation: nnU-Net's folders, or a list of files, prepared as the task says."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from dense.datasets.volume_cache import VolumeCache, prepare_all, read_case
from dense.datasets.volume_cases import (
    LAYOUT,
    VolumeCase,
    VolumeClasses,
    find_cases,
    read_dataset_json,
    read_list,
    split_cases,
)
from dense.errors import DatasetError
from dense.io.volume import Volume
from dense.registry import DATASETS, TRANSFORMS
from dense.tasks import as_task


@DATASETS.register_module()
class VolumeDataset(Dataset):
    """Volumes with labels, prepared once by the task (``VolumeTask.prepare``, as for inference) and kept on disk.

    root: a folder as nnU-Net has it (``dense.datasets.volume_cases.LAYOUT``). cases: a list of them instead, see
        ``read_list``; label values are then the task's classes, 0, 1 ..., and ``ignore``.
    split: 'train' or 'val' of a fold, 'test' (``imagesTs``, ``labelsTs``), or None, all of ``imagesTr``.
    fold, folds: which of how many; see ``split_cases``. Where the folder has a splits_final.json, it says.
    ignore: value of labels that are to be ignored, where no dataset.json says.
    length: samples an epoch; None is the number of cases. limit: use the first ``limit`` cases only.
    seed: of patches and augmentation, with epoch and index. cache: folder of prepared volumes.

    Raises DatasetError that says where it looked and what it expects, and if the classes are not those of the task.
    """

    def __init__(self, root: str | Path, split: str | None = None, pipeline: Sequence = (), task=None,
                 cases: str | Path | Sequence[Mapping] | None = None, fold: int = 0, folds: int = 5,
                 ignore: int | None = None, length: int | None = None, limit: int | None = None, seed: int = 0,
                 cache: str | Path | None = None):
        self.root, self.seed, self.task = Path(root), seed, as_task(task, "volume")
        channels, classes = self.task.channels, self.task.classes
        self.classes = VolumeClasses(channels, classes, tuple(range(len(classes))), ignore)
        if cases is not None:
            found = split_cases(read_list(cases, self.root, len(channels)), split, fold, folds)
        else:
            self._read_description()
            found = find_cases(self.root, "Ts" if split == "test" else "Tr", len(channels))
            if split != "test":
                found = split_cases(found, split, fold, folds, self.root / "splits_final.json")
        if lacking := [c.name for c in found if c.label is None]:
            raise DatasetError(f"{self.root}: {lacking[0]} has no labels, nor have {len(lacking) - 1} more. "
                               "Remedy: name their label files, or leave these cases out")
        self.cases = found[:limit]
        if not self.cases:
            raise DatasetError(f"{self.root}: no case in the split {split!r}. Remedy: check fold and splits_final.json")
        self.length = length or len(self.cases)
        self.cache = VolumeCache(self.task, self.classes, cache)
        self.metainfo = {"classes": classes, "palette": [list(c) for c in self.task.palette]}
        self.pipeline = Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline])
        # whole volumes are evaluated from their files: these need not be prepared
        self.prepares = any(getattr(t, "mode", "") is None for t in self.pipeline.transforms)

    def _read_description(self) -> None:
        path = self.root / "dataset.json"
        if not path.is_file():
            raise DatasetError(missing_volumes_message(self.root))
        self.classes = read_dataset_json(path)
        for what, own, named in (("classes", self.task.classes, self.classes.classes),
                                 ("channels", self.task.channels, self.classes.channels)):
            if own != named:
                raise DatasetError(f"{path}: the {what} {', '.join(named)} are not those of the task, "
                                   f"{', '.join(own)}. Remedy: make task[{what!r}] and the file agree")

    def __len__(self) -> int:
        return self.length

    def read(self, case: VolumeCase) -> tuple[Volume, np.ndarray]:
        """A case at its own grid: see ``read_case``."""
        return read_case(case, self.task, self.classes)

    def prepare(self, say: Callable[[int, int], object] = lambda done, total: None) -> None:
        """Prepare all volumes whose patches are asked for. DatasetError at the end, with all that cannot be used."""
        if self.prepares:
            prepare_all(self.cache, self.cases, say)

    def __getitem__(self, draw: int) -> dict:
        """Sample of a draw ``epoch * len(self) + index``; cases take turns."""
        epoch, index = divmod(int(draw), len(self))
        case = self.cases[index % len(self.cases)]
        results = {"name": case.name, "image_path": str(case.images[0]), "label_path": str(case.label),
                   "task": self.task, "rng": np.random.default_rng([self.seed, epoch, index]),
                   "read": lambda: self.read(case)}
        if self.prepares:
            results["case"] = self.cache.get(case)
        return self.pipeline(results)


def missing_volumes_message(root: Path) -> str:
    """Where was looked and what is expected."""
    folder = root.resolve()
    state = f"the folder {folder} has no dataset.json" if root.is_dir() else f"there is no folder {folder}"
    return "\n".join((
        f"the data set was not found: {state}", "Expected there:", LAYOUT.format(root=root),
        "Remedy: put or link it there, or name another place with --data-root FOLDER.",
        "Without it: tools/data/make_mni152.py makes a small one (data/mni152) for configs/stunet_mni152.py."))
