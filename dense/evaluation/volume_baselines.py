"""What a network that segments volumes must beat: the class that is most frequent at each intensity."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from dense.tasks.volume import VolumeTask

BINS = 256


@dataclass(frozen=True)
class IntensityBaseline:
    """Each voxel gets the class that is most frequent at its intensity, in the first channel as the task normalises it.

    No threshold does better on the volumes it was made of. edges: of the bins, (BINS - 1,); classes: of each bin.
    """

    task: VolumeTask
    edges: np.ndarray
    classes: np.ndarray

    @classmethod
    def fit(cls, task: VolumeTask, cases: Iterable[tuple[np.ndarray, tuple[float, ...], np.ndarray]]
            ) -> IntensityBaseline:
        """Of training volumes: values (C, Z, Y, X), spacing, labels (Z, Y, X), indices of classes, -1 left out."""
        task = replace(task, spacing=None)
        edges, counts = None, np.zeros((len(task.classes), BINS), np.int64)
        for values, spacing, labels in cases:
            prepared = task.prepare(values, spacing)
            inside = labels.transpose(task.transpose)[prepared.crop.slices]
            known = inside >= 0
            found, truth = prepared.values[0][known], inside[known]
            if not found.size:
                continue
            if edges is None:  # bins of the first volume: all are normalised alike
                edges = np.linspace(*np.percentile(found, (0.1, 99.9)), BINS - 1)
            np.add.at(counts, (truth, np.digitize(found, edges)), 1)
        if edges is None:
            raise ValueError("no voxel has a label")
        best = counts.argmax(0)
        filled = np.flatnonzero(counts.sum(0))
        nearest = filled[np.abs(np.arange(BINS)[:, None] - filled).argmin(1)]  # empty bins as those beside them
        return cls(task, edges, best[nearest])

    def predict(self, values: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
        """Labels int64 (Z, Y, X) of a volume (C, Z, Y, X); what is cropped away is background."""
        prepared = self.task.prepare(values, spacing)
        labels = np.zeros(values.shape[1:], np.int64)
        labels.transpose(self.task.transpose)[prepared.crop.slices] = self.classes[
            np.digitize(prepared.values[0], self.edges)]
        return labels
