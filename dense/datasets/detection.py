"""Data of detection: COCO, or any folder of pictures with annotations in COCO's format."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from dense.errors import DatasetError
from dense.io.coco import CocoPicture, find_coco, read_coco
from dense.registry import DATASETS, TRANSFORMS
from dense.tasks import as_task

LOGGER = logging.getLogger("dense")


@DATASETS.register_module()
class DetectionDataset(Dataset):
    """Pictures and the objects in them.

    root: the data set's folder; split: 'train', 'val' ..., or as COCO names them ('train2017'), None where ``root``
        itself holds one JSON and the pictures; ``dense.io.coco`` lists the layouts.
    annotations, images: file and folder, relative to ``root``, where the layout is another one.
    limit: use the first ``limit`` pictures only. seed: of the augmentation, with epoch and index.
    empty: False leaves out pictures without objects, and those with crowds alone, as is usual in training.

    Classes are the task's. Faulty annotations are named in a warning, and left out or mended (``read_coco``).
    Raises DatasetError that says where it looked, and if a class of the task is none of the file.
    """

    def __init__(self, root: str | Path, split: str | None = None, pipeline: Sequence = (), task=None,
                 annotations: str | None = None, images: str | None = None, limit: int | None = None, seed: int = 0,
                 empty: bool = True):
        self.root, self.seed, self.task = Path(root), seed, as_task(task, "detection")
        if annotations is None:
            file, folder = find_coco(self.root, split)
        else:
            file, folder = self.root / annotations, self.root / (images or "")
        self.coco = read_coco(file, folder, self.task.classes)
        for line in self.coco.describe_problems():
            LOGGER.warning("%s: %s", file, line)
        self.metainfo = {"classes": self.task.classes, "palette": [list(c) for c in self.task.palette],
                         "category_ids": list(self.coco.category_ids)}
        self.pairs: list[CocoPicture] = [p for p in self.coco.pictures if empty or not p.objects.crowd.all()][:limit]
        if not self.pairs:
            raise DatasetError(f"{file}: no picture in {folder} is annotated. Remedy: check the paths in the file")
        self.pipeline = Compose([TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline])

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, draw: int) -> dict:
        """Sample of a draw ``epoch * len(self) + index``."""
        epoch, index = divmod(int(draw), len(self))
        return self.pipeline({"picture": self.pairs[index], "task": self.task,
                              "rng": np.random.default_rng([self.seed, epoch, index])})
