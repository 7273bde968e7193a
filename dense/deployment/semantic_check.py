"""What verification knows of semantic segmentation: label maps, and how decided they were where two of them differ."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dense.deployment.checks import TaskCheck, register_check
from dense.errors import DatasetError
from dense.io import find_pairs, find_splits, read_image, split_folders
from dense.io.classes import ClassList, find_class_file, read_classes
from dense.io.labels import read_labels
from dense.io.pairs import Pair
from dense.tasks.base import Forward
from dense.tasks.pictures import fit
from dense.tasks.plan import Plan
from dense.tasks.resample import margin_of

SPLITS = ("val", "valid", "validation", "test")


@dataclass(frozen=True)
class Answer:
    """labels: classes (H, W); logits (classes, h, w) that they are from; plan: how the picture was fed."""

    labels: np.ndarray
    logits: np.ndarray
    plan: Plan


@register_check("semantic")
class SemanticCheck(TaskCheck):
    """Classes of the pixels against label pictures.

    Where two label maps differ, their difference is half of the margin between the two largest logits of the reference:
    the least error of the logits that explains it, in the logits' units, hence with the tolerance of the logits. A
    pixel that was all but undecided may differ, one that was decided may not.
    """

    metrics = ("mIoU", "aAcc")
    answer = "classes"
    bundled = "data/scenes"
    panels = ("Picture, truth, classes of the reference, classes of the backend, and how decided the reference was "
              "where they differ")
    _classes: ClassList | None = None

    def default_root(self) -> Path | None:
        """The bundled set, where it is there and has the classes of the task."""
        root = super().default_root()
        file = find_class_file(root) if root else None
        return root if file and read_classes(file).names == self.task.classes else None

    def find(self, root: str | Path) -> tuple[list[Pair], str]:
        """The validation part of a folder of pictures and label pictures; see docs/segmentation.md.

        Raises DatasetError too where its class file has other classes than the task.
        """
        splits = find_splits(root)
        split = next((s for s in SPLITS if s in splits), splits[0] if splits else None)
        pairs = find_pairs(*split_folders(root, split)).pairs
        if not pairs:
            raise DatasetError(f"{root}: no picture has labels of the same name. Remedy: tools/data/check.py says more")
        names = self.task.classes
        file = find_class_file(root, *([Path(root) / split] if split else []))
        self._classes = read_classes(file) if file else ClassList(
            names, tuple(range(len(names))), self.task.palette, origin="the task's classes")
        if self._classes.names != names:
            raise DatasetError(f"{file}: the classes are {', '.join(self._classes.names[:6])} ..., those of the bundle "
                               f"{', '.join(names[:6])} ... Remedy: --data with labels of the bundle's classes, or "
                               "--golden-only")
        return pairs, str(Path(root) / split) if split else str(root)

    def read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """See ``TaskCheck``. Raises DatasetError too where picture and labels differ in size."""
        image, labels = read_image(pair.image), read_labels(pair.mask, self._classes, self.task.ignore_index)
        if image.shape[:2] != labels.shape:
            raise DatasetError(f"{pair.mask}: {labels.shape[1]} x {labels.shape[0]} pixels, its picture has "
                               f"{image.shape[1]} x {image.shape[0]}; tools/data/check.py finds all such pairs")
        return image, labels

    def run(self, image: np.ndarray, forward: Forward) -> Answer:
        """See ``TaskCheck``."""
        plan = self.task.plan(image.shape[:2])
        (logits,) = forward(self.task.tensor(image, plan)[None])
        return Answer(self.task.decode(logits, plan), logits, plan)

    def difference(self, found: Answer, expected: Answer) -> tuple[float, float]:
        if not np.isfinite(found.logits).all() or not np.isfinite(expected.logits).all():
            return (float("inf"),) * 2
        differs = found.labels != expected.labels
        if not differs.any():
            return 0.0, 0.0
        half = 0.5 * self._margins(expected)[differs].astype(np.float64)
        return float(half.max()), float(half.sum() / differs.size)

    def _margins(self, answer: Answer) -> np.ndarray:
        plan = answer.plan
        return margin_of(plan.shape, self.task.upsampled(answer.logits, plan, plan.overview))

    def measure(self, answer: Answer, truth: np.ndarray) -> dict:
        from dense.evaluation.semantic import count_semantic

        return {"counts": count_semantic(answer.labels, truth, len(self.task.classes), self.task.ignore_index, False)}

    def summary(self, rows: Sequence[dict]) -> dict[str, float]:
        from dense.evaluation.semantic import summarise_semantic

        figures = summarise_semantic([r["counts"] for r in rows], self.task.classes)
        return {m: figures[m] for m in self.metrics}

    def panel(self, image: np.ndarray, truth: np.ndarray, expected: Answer, found: Answer) -> np.ndarray:
        """Picture, truth, both label maps, and the reference's margin where they differ, stretched to its largest."""
        delta = np.where(found.labels != expected.labels, self._margins(expected), 0)
        maps = (self.task.colour(labels) for labels in (truth, expected.labels, found.labels))
        return np.hstack([fit(p, 200, 260) for p in (image, *maps, delta / max(float(delta.max()), 1e-12))])
