"""Found objects as pictures: true boxes | found boxes."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from dense.engine.hooks.pictures import ResultPictures
from dense.evaluation.detection import match_objects
from dense.evaluation.detection_metrics import detections_of, truth_of
from dense.io import read_image, write_image
from dense.registry import HOOKS
from dense.tasks import DetectionTask
from dense.tasks.detection import Detections
from dense.tasks.detection_pictures import detection_row, draw_detections


@HOOKS.register_module()
class DetectionPictures(ResultPictures):
    """``ResultPictures`` of boxes, of objects from ``threshold`` (None: the task's), the worst by F1 at IoU 0.5;
    ``masks`` are the pictures with what was found."""

    task: DetectionTask

    def __init__(self, count: int = 6, masks: bool = False, threshold: float | None = None):
        super().__init__(count, masks)
        self.threshold = threshold

    def before_run(self, runner) -> None:
        self.task = runner.plain_model.task
        if self.threshold is None:
            self.threshold = self.task.threshold

    def score(self, sample) -> float:
        """F1 of the picture."""
        return match_objects(detections_of(sample), truth_of(sample), self.threshold).f1

    def entry(self, sample) -> tuple:
        """What ``draw`` needs of a sample, kept until the end."""
        truth, found = truth_of(sample), detections_of(sample)
        own = truth[~truth.crowd]
        shown = Detections(own.boxes, np.ones(len(own), np.float32), own.labels)
        return sample.img_path, sample.name, shown, found[found.scores >= self.threshold], self.score(sample)

    def draw(self, entry: tuple) -> np.ndarray:
        """uint8 RGB: a row of the sheet."""
        path, title, truth, found, score = entry
        return detection_row(read_image(path), truth, found, self.task, f"{title}   F1 {score:.2f}")

    def write_mask(self, path: Path, sample) -> None:
        """The picture with what was found."""
        found = detections_of(sample)
        write_image(path, draw_detections(read_image(sample.img_path), found[found.scores >= self.threshold],
                                          self.task))
