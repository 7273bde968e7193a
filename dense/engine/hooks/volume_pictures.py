"""Segmented volumes as pictures: three planes of image | truth | prediction | what is wrong."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from dense.engine.hooks.pictures import ResultPictures
from dense.evaluation.volume import measure_volume
from dense.io.volume import read_volume, write_labels
from dense.registry import HOOKS
from dense.tasks import VolumeTask
from dense.tasks.pictures import FALSE_POSITIVE, PANEL_BACKGROUND, label
from dense.tasks.semantic_pictures import legend_bar
from dense.tasks.volume_pictures import largest_sections, three_planes

SIDE = 220


@HOOKS.register_module()
class VolumePictures(ResultPictures):
    """``ResultPictures`` of volumes, the worst by mean Dice; ``masks`` are labels as NIfTI, on the image's grid.

    What has no label, and is not measured, shows the image."""

    task: VolumeTask
    suffix = ".nii.gz"

    def before_run(self, runner) -> None:
        self.task = runner.plain_model.task

    def score(self, sample) -> float:
        """Mean Dice over the classes of the volume, 0 if it has none."""
        figures = measure_volume(_array(sample, "pred_labels"), _array(sample, "gt_labels"), sample.spacing,
                                 len(self.task.classes), ignore=-1, surfaces=False)
        return float(np.mean([f.dice for f in figures if f.dice is not None] or [0.0]))

    def entry(self, sample) -> tuple:
        """What ``draw`` needs of a sample, kept until the end."""
        return (sample.image_path, sample.name, _array(sample, "gt_labels"), _array(sample, "pred_labels"),
                self.score(sample))

    def draw(self, entry: tuple) -> np.ndarray:
        """uint8 RGB: a row for each plane, the legend of the classes below."""
        path, title, truth, pred, score = entry
        volume = read_volume(path)
        known = truth >= 0
        truth, pred = np.where(known, truth, 0), np.where(known, pred, 0)
        wrong = (truth != pred).astype(np.uint8)
        at = largest_sections(truth)
        columns = []
        for labels, palette in ((None, ()), (truth, self.task.palette), (pred, self.task.palette),
                                (wrong, ((0, 0, 0), FALSE_POSITIVE))):
            columns.append(three_planes(volume.values[0], labels, volume.spacing, volume.affine, palette, SIDE, at=at))
        rows = [np.hstack([p for panel in row for p in (panel, _gap(panel))][:-1])
                for row in zip(*columns, strict=True)]
        width = max(r.shape[1] for r in rows)
        rows = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=PANEL_BACKGROUND[0]) for r in rows]
        present = [i for i in range(1, len(self.task.classes)) if (truth == i).any() or (pred == i).any()]
        bar = legend_bar([(self.task.classes[i], self.task.palette[i]) for i in present], width)
        return np.vstack([label(rows[0], f"{title}   Dice {score:.3f}"), *rows[1:], bar])

    def write_mask(self, path: Path, sample) -> None:
        """Classes as NIfTI."""
        write_labels(path, _array(sample, "pred_labels"), read_volume(sample.image_path))


def _array(sample, key: str) -> np.ndarray:
    return sample.get(key).cpu().numpy()


def _gap(panel: np.ndarray) -> np.ndarray:
    return np.full((len(panel), 4, 3), PANEL_BACKGROUND, np.uint8)
