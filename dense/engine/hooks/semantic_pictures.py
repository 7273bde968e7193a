"""Predicted classes as pictures: image | truth | prediction | what is wrong."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from dense.engine.hooks.pictures import ResultPictures
from dense.evaluation.semantic import count_semantic, summarise_semantic
from dense.io import read_image, write_bytes
from dense.io.labels import label_png
from dense.registry import HOOKS
from dense.tasks import SemanticTask
from dense.tasks.semantic_pictures import legend, semantic_row


@HOOKS.register_module()
class SemanticPictures(ResultPictures):
    """``ResultPictures`` of classes: sheets with a legend, the worst by mIoU; ``masks`` are PNGs of class indices."""

    task: SemanticTask

    def before_run(self, runner) -> None:
        self.task = runner.plain_model.task

    def score(self, sample) -> float:
        """mIoU of the picture."""
        counts = count_semantic(_labels(sample), _truth(sample), len(self.task.classes), self.task.ignore_index, False)
        return summarise_semantic(counts, self.task.classes)["mIoU"]

    def entry(self, sample) -> tuple:
        """What ``draw`` needs of a sample, kept until the end."""
        return sample.image_path, sample.name, _truth(sample), _labels(sample), self.score(sample)

    def draw(self, entry: tuple) -> np.ndarray:
        """uint8 RGB: a row of the sheet, and the legend of the classes in it."""
        path, title, truth, labels, score = entry
        row = semantic_row(read_image(path), truth, labels, self.task, f"{title}   mIoU {score:.3f}")
        present = [i for i in range(len(self.task.classes)) if (truth == i).any() or (labels == i).any()]
        return np.vstack([row, legend(self.task, row.shape[1], present)])

    def write_mask(self, path: Path, sample) -> None:
        """Classes as a PNG."""
        write_bytes(path, label_png(_labels(sample), self.task.palette))


def _labels(sample) -> np.ndarray:
    return sample.pred_sem_seg.data[0].cpu().numpy()


def _truth(sample) -> np.ndarray:
    return sample.gt_sem_seg.data[0].cpu().numpy()
