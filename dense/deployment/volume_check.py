"""What verification knows of volumes: labels of voxels, and how decided they were where two of them differ."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dense.deployment.checks import TaskCheck, register_check
from dense.errors import DatasetError, DenseError
from dense.io.volume import Volume
from dense.tasks.base import Forward
from dense.tasks.pictures import fit

if TYPE_CHECKING:
    from dense.datasets.volume_cases import VolumeCase, VolumeClasses

IGNORED = -1


@dataclass(frozen=True)
class Answer:
    """labels: classes (Z, Y, X); margins: between the two largest probabilities, float16 (Z, Y, X)."""

    labels: np.ndarray
    margins: np.ndarray


@register_check("volume")
class VolumeCheck(TaskCheck):
    """Classes of voxels against label files, every patch once, without mirrored copies.

    Where two label maps differ, their difference is half of the margin between the two largest probabilities of the
    reference: no smaller error explains it. Errors of logits are no less than those of their probabilities: the
    tolerance is that of the logits. A voxel that was all but undecided may differ, one that was decided may not.
    """

    metrics = ("DSC",)
    answer = "classes"
    things = "volumes"
    bundled = "data/mni152"
    panels = ("The slice where most differs: volume, truth, classes of the reference, classes of the backend, and how "
              "decided the reference was where they differ")
    _classes: VolumeClasses | None = None

    def default_root(self) -> Path | None:
        """The bundled set, where it is there and has the channels and classes of the task."""
        root = super().default_root()
        try:
            return root if root and self._described(root) else None
        except DatasetError:
            return None

    def find(self, root: str | Path) -> tuple[list[VolumeCase], str]:
        """Cases with labels of a folder in nnU-Net's layout: those of the first fold that are validated on, all of
        them where there are no folds. DatasetError too where its dataset.json has other channels or classes."""
        from dense.datasets.volume_cases import find_cases, split_cases

        root = Path(root)
        self._classes = self._described(root)
        cases = find_cases(root, "Tr", len(self.task.channels))
        listing = root / "splits_final.json"
        if listing.is_file():
            cases = split_cases(cases, "val", listing=listing)
        if not cases:
            raise DatasetError(f"{root}: no case to compare. Remedy: see dense/datasets/volume_cases.py for the layout")
        return cases, str(root)

    def _described(self, root: Path) -> VolumeClasses:
        """Channels and classes of dataset.json; DatasetError where they are not the task's."""
        from dense.datasets.volume_cases import read_dataset_json

        found = read_dataset_json(root / "dataset.json")
        for what, own, other in (("classes", self.task.classes, found.classes),
                                 ("channels", self.task.channels, found.channels)):
            if own != other:
                raise DatasetError(f"{root / 'dataset.json'}: the {what} are {', '.join(other[:6])}, those of the "
                                   f"bundle {', '.join(own[:6])}. Remedy: --data with the bundle's, or --golden-only")
        return found

    def read(self, pair: VolumeCase) -> tuple[Volume, np.ndarray]:
        """The volume, and its labels (Z, Y, X), -1 where nobody knows."""
        from dense.datasets.volume_cache import read_case

        if pair.label is None:
            raise DatasetError(f"{pair.images[0]}: has no labels")
        return read_case(pair, self.task, self._classes)

    def run(self, image: Volume, forward: Forward) -> Answer:
        """See ``TaskCheck``. Margins are infinite where the network's output is not finite."""
        margins = np.zeros(image.shape, np.float16)

        def keep(part: slice, probabilities: np.ndarray) -> None:
            largest = np.partition(probabilities, -2, axis=0)[-2:]
            margins[part] = largest[1] - largest[0]

        try:
            labels = self.task.segment(image.values, image.spacing, forward, mode="plain", probabilities=keep)
        except DenseError as error:
            if "not finite" not in str(error):
                raise
            labels, margins = np.zeros(image.shape, np.uint8), np.full(image.shape, np.inf, np.float16)
        return Answer(labels, margins)

    def difference(self, found: Answer, expected: Answer) -> tuple[float, float]:
        if not np.isfinite(found.margins).all() or not np.isfinite(expected.margins).all():
            return (float("inf"),) * 2
        differs = found.labels != expected.labels
        if not differs.any():
            return 0.0, 0.0
        half = 0.5 * expected.margins[differs].astype(np.float64)
        return float(half.max()), float(half.sum() / differs.size)

    def measure(self, answer: Answer, truth: np.ndarray) -> dict:
        from dense.evaluation.volume import measure_volume

        return {"figures": measure_volume(answer.labels, truth, (1, 1, 1), len(self.task.classes), ignore=IGNORED,
                                          surfaces=False)}

    def summary(self, rows: Sequence[dict]) -> dict[str, float]:
        from dense.evaluation.volume import summarise_volumes

        figures = summarise_volumes([r["figures"] for r in rows], self.task.classes)
        return {"DSC": figures.get("DSC", 1.0)}  # nothing to be found, and nothing found

    def panel(self, image: Volume, truth: np.ndarray, expected: Answer, found: Answer) -> np.ndarray:
        """One slice along z: values, truth, both label maps, and the reference's margin where they differ."""
        delta = np.where(found.labels != expected.labels, np.nan_to_num(expected.margins.astype(np.float32)), 0)
        amount = delta.sum((1, 2)) if delta.any() else (truth > 0).sum((1, 2))
        z = int(np.argmax(amount))
        values = image.values[0, z].astype(np.float32)
        low, high = np.percentile(values, (1, 99))
        grey = np.clip((values - low) / max(float(high - low), 1e-12), 0, 1)
        colours = np.asarray(self.task.palette, np.uint8)
        maps = (colours[np.maximum(labels[z], 0)] for labels in (truth, expected.labels, found.labels))
        return np.hstack([fit(p, 200, 200) for p in (grey, *maps, delta[z] / max(float(delta[z].max()), 1e-12))])
