"""What verification knows of each kind of task: where data come from, how answers are compared and measured."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dense.errors import DatasetError
from dense.io import find_pairs, find_splits, read_image, read_mask, split_folders
from dense.io.pairs import Pair
from dense.tasks import Task
from dense.tasks.base import Forward
from dense.tasks.pictures import fit

ROOT = Path(__file__).resolve().parents[2]


class TaskCheck(ABC):
    """Of one task.

    metrics: their names, as in ``summary``. answer, things: what answers and what is compared are called, in the
    plural. bundled: folder of the set that comes with the clone, below its root. panels: what a row of ``panel`` shows,
    in words.
    """

    metrics: ClassVar[tuple[str, ...]]
    answer: ClassVar[str]
    things: ClassVar[str] = "pictures"
    bundled: ClassVar[str]
    panels: ClassVar[str]

    def __init__(self, task: Task):
        self.task = task

    def run(self, image: Any, forward: Forward) -> Any:
        """The answer for one picture or volume by a function of batches: what ``difference`` and ``measure`` take."""
        return self.task.run(image, forward)

    def default_root(self) -> Path | None:
        """The bundled set, where it is there."""
        places = (ROOT / self.bundled, Path(self.bundled))
        return next((p for p in places if p.is_dir()), None)

    @abstractmethod
    def find(self, root: str | Path) -> tuple[list[Pair], str]:
        """Pairs of picture and truth (or other things with a ``name``, which ``read`` takes) below ``root``, and where
        they are; DatasetError where there are none."""

    @abstractmethod
    def read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Picture uint8 RGB (H, W, 3), or ``Volume``, and its truth. DenseError for files that cannot be read."""

    @abstractmethod
    def difference(self, found: Any, expected: Any) -> tuple[float, float]:
        """Largest and mean difference of two answers, infinite where one is not finite."""

    @abstractmethod
    def measure(self, answer: Any, truth: np.ndarray) -> dict:
        """What one picture adds to the metrics."""

    @abstractmethod
    def summary(self, rows: Sequence[dict]) -> dict[str, float]:
        """Metrics of all measured pictures."""

    @abstractmethod
    def panel(self, image: np.ndarray, truth: np.ndarray, expected: Any, found: Any) -> np.ndarray:
        """uint8 RGB row that shows where two answers differ."""


def absolute_difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Largest and mean absolute difference; infinite where a value is not finite."""
    delta = np.abs(found.astype(np.float64) - expected)
    return (float(delta.max()), float(delta.mean())) if np.isfinite(delta).all() else (float("inf"),) * 2


CHECKS: dict[str, type[TaskCheck]] = {}
"""By kind of task; bundles of other kinds are verified on their golden input alone."""


def register_check(kind: str) -> Callable[[type[TaskCheck]], type[TaskCheck]]:
    """Class decorator: bundles of tasks of this kind are verified with it."""
    def register(check: type[TaskCheck]) -> type[TaskCheck]:
        if CHECKS.setdefault(kind, check) is not check:
            raise KeyError(f"tasks of kind {kind!r} have a check")
        return check

    return register


def check_of(task: Task) -> TaskCheck | None:
    """The check of a task, or None."""
    import dense.deployment.erase_check
    import dense.deployment.semantic_check
    import dense.deployment.volume_check  # noqa: F401  all register themselves

    return CHECKS[task.kind](task) if task.kind in CHECKS else None


@register_check("cutout")
class CutoutCheck(TaskCheck):
    """Alphas, float (H, W) in 0..1, against masks."""

    metrics = ("maxF", "MAE", "IoU")
    answer = "alphas"
    bundled = "data/cutouts"
    panels = "Picture, truth, alpha of the reference, alpha of the backend, and their difference"

    def find(self, root: str | Path) -> tuple[list[Pair], str]:
        """The validation part of a folder in the layout of DIS5K, or a folder of pictures and masks."""
        splits = find_splits(root)
        split = "DIS-VD" if "DIS-VD" in splits else splits[0] if splits else None
        pairs = find_pairs(*split_folders(root, split)).pairs
        if not pairs:
            raise DatasetError(f"{root}: no picture has a mask of the same name. Remedy: tools/data/check.py says more")
        return pairs, str(Path(root) / split) if split else str(root)

    def read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """See ``TaskCheck``. Raises DatasetError too where picture and mask differ in size."""
        image, mask = read_image(pair.image), read_mask(pair.mask)
        if image.shape[:2] != mask.shape:
            raise DatasetError(f"{pair.mask}: {mask.shape[1]} x {mask.shape[0]} pixels, its picture has "
                               f"{image.shape[1]} x {image.shape[0]}; tools/data/check.py finds all such pairs")
        return image, mask

    def difference(self, found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
        return absolute_difference(found, expected)

    def measure(self, answer: np.ndarray, truth: np.ndarray) -> dict:
        from dense.evaluation import iou, mae, precision_recall

        alpha = np.nan_to_num(answer, nan=0.0, posinf=1.0, neginf=0.0)  # the difference says that it was not finite
        levels = np.rint(alpha * 255).astype(np.uint8)
        return {"counts": precision_recall(levels, truth), "MAE": mae(alpha, truth), "IoU": iou(levels, truth)}

    def summary(self, rows: Sequence[dict]) -> dict[str, float]:
        from dense.evaluation import max_f

        return {"maxF": max_f([r["counts"] for r in rows]),
                **{m: float(np.mean([r[m] for r in rows])) for m in ("MAE", "IoU")}}

    def panel(self, image: np.ndarray, truth: np.ndarray, expected: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Picture, truth, both alphas, and their difference stretched to its largest value."""
        delta = np.nan_to_num(np.abs(found - expected), nan=1.0)
        panels = (image, truth, expected, np.nan_to_num(found), delta / max(float(delta.max()), 1e-12))
        return np.hstack([fit(p, 200, 200) for p in panels])
