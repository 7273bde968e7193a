"""What verification knows of detection: the network's boxes and probabilities, and COCO's average precision."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dense.deployment.checks import TaskCheck, register_check
from dense.errors import DatasetError
from dense.io import read_image
from dense.io.coco import CocoPicture, Objects, find_coco, read_coco
from dense.tasks.base import Forward
from dense.tasks.detection import Detections
from dense.tasks.detection_pictures import draw_boxes
from dense.tasks.pictures import fit

SPLITS = ("val", "valid", "validation", "test", None)


@dataclass(frozen=True, eq=False)
class Answer:
    """found: objects in the picture; output: (queries, 4 + classes) that they are from."""

    found: Detections
    output: np.ndarray


@register_check("detection")
class DetectionCheck(TaskCheck):
    """Objects against COCO's annotations.

    Two answers differ by their probabilities, and by the edges of their boxes, as shares of the picture, times the
    largest probability of the query: where a box is that nothing is in does not matter.
    """

    metrics = ("AP", "AP50")
    answer = "boxes"
    bundled = "data/detection"
    panels = "Picture with the true boxes, boxes of the reference, boxes of the backend"

    def find(self, root: str | Path) -> tuple[list[CocoPicture], str]:
        """The validation part of a folder in one of the layouts of ``dense.io.coco``.

        Raises DatasetError too where its annotations lack one of the task's classes.
        """
        errors = []
        for split in SPLITS:
            try:
                file, folder = find_coco(root, split)
            except DatasetError as error:
                errors.append(error)
                continue
            pictures = read_coco(file, folder, self.task.classes).pictures
            if not pictures:
                raise DatasetError(f"{file}: none of its pictures are in {folder}")
            return pictures, str(file)
        raise errors[0]

    def read(self, pair: CocoPicture) -> tuple[np.ndarray, Objects]:
        """Picture uint8 RGB (H, W, 3), and what is in it. DatasetError too where the picture has another size."""
        image = read_image(pair.image)
        if image.shape[:2] != pair.shape:
            raise DatasetError(f"{pair.image}: {image.shape[1]} x {image.shape[0]} pixels, its annotations say "
                               f"{pair.shape[1]} x {pair.shape[0]}")
        return image, pair.objects

    def run(self, image: np.ndarray, forward: Forward) -> Answer:
        """See ``TaskCheck``. All objects, whatever the task's threshold: average precision counts them."""
        plan = self.task.plan_for(image, self.mode)
        (output,) = forward(self.task.tensor(image, plan)[None])
        return Answer(self.task.decode(output, plan.shape, 0.0), output)

    @property
    def mode(self) -> str:
        """Of the task, the usual one."""
        return self.task.modes[0]

    def difference(self, found: Answer, expected: Answer) -> tuple[float, float]:
        if not np.isfinite(found.output).all() or not np.isfinite(expected.output).all():
            return (float("inf"),) * 2
        delta = np.abs(found.output.astype(np.float64) - expected.output)
        delta[:, :4] *= expected.output[:, 4:].max(1, keepdims=True)
        return float(delta.max()), float(delta.mean())

    def measure(self, answer: Answer, truth: Objects) -> dict:
        return {"found": answer.found, "truth": truth}

    def summary(self, rows: Sequence[dict]) -> dict[str, float]:
        """AP and AP50; 0 where the pictures hold no object."""
        from dense.evaluation.detection import average_precision

        figures = average_precision([r["found"] for r in rows], [r["truth"] for r in rows], self.task.classes)
        return {m: float(np.nan_to_num(figures[m])) for m in self.metrics}

    def panel(self, image: np.ndarray, truth: Objects, expected: Answer, found: Answer) -> np.ndarray:
        """See ``panels``; boxes of at least the task's threshold."""
        names, colours = self.task.classes, self.task.palette
        panels = [draw_boxes(image, truth.boxes, [names[k] for k in truth.labels], [colours[k] for k in truth.labels])]
        for answer in (expected, found):
            shown = answer.found[answer.found.scores >= self.task.threshold]
            texts = [f"{names[k]} {s:.2f}" for k, s in zip(shown.labels, shown.scores, strict=True)]
            panels.append(draw_boxes(image, shown.boxes, texts, [colours[k] for k in shown.labels]))
        return np.hstack([fit(p, 260, 340) for p in panels])
