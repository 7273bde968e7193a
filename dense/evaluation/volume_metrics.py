"""The measures of volumes as a metric of mmengine's evaluator."""
from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from mmengine.evaluator import BaseMetric

from dense.errors import DatasetError, MissingDependencyError
from dense.evaluation.volume import ClassFigures, measure_volume, summarise_volumes
from dense.io import atomic_path
from dense.registry import METRICS

LOGGER = logging.getLogger("dense")


@METRICS.register_module()
class VolumeMetrics(BaseMetric):
    """DSC, NSD, HD95 and VD of ``pred_labels`` against ``gt_labels`` (Z, Y, X), with the sample's ``spacing``; see
    ``dense.evaluation.volume`` for what they are.

    tolerance: of the surface Dice, mm. ignore: value of ``gt_labels`` where nothing counts. surfaces: NSD and HD95 too.
    table: a CSV file for the figures of each class in every volume.
    Class names are those of the data set. Classes that never occur are named in a warning.
    """

    def __init__(self, tolerance: float = 1.0, ignore: int | None = -1, surfaces: bool = True,
                 table: str | Path | None = None, **kwargs):
        super().__init__(**kwargs)
        if surfaces and find_spec("monai") is None:  # not at the end of the first volume
            raise MissingDependencyError("VolumeMetrics: surface Dice and HD95 need MONAI. Remedy: pip install "
                                         "'dense[medical]', or surfaces=False")
        self.tolerance, self.ignore, self.surfaces, self.table = tolerance, ignore, surfaces, table

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes; DatasetError if the data set names none."""
        names = (self.dataset_meta or {}).get("classes")
        if not names:
            raise DatasetError("VolumeMetrics: the data set names no classes. Remedy: metainfo=dict(classes=...)")
        return tuple(names)

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            pred, truth = (sample[key].cpu().numpy() for key in ("pred_labels", "gt_labels"))
            try:
                figures = measure_volume(pred, truth, sample["spacing"], len(self.names), self.tolerance, self.ignore,
                                         self.surfaces)
            except ValueError as error:
                where = sample.get("label_path") or sample.get("name") or "a sample"
                raise DatasetError(f"{where}: {error}. Remedy: check the labels") from None
            self.results.append((sample.get("name", ""), figures))

    def compute_metrics(self, results: Sequence[tuple[str, list[ClassFigures]]]) -> dict[str, float]:
        absent = [name for index, name in enumerate(self.names[1:])
                  if not any(figures[index].truth_ml for _, figures in results)]
        if absent:
            LOGGER.warning("no voxel of the evaluated volumes is %s: left out of the means unless predicted",
                           ", ".join(absent))
        if self.table:
            self._write_table(results)
        figures = summarise_volumes([figures for _, figures in results], self.names)
        return {"DSC": 0.0} | figures  # where no class is anywhere, hooks go by it all the same

    def _write_table(self, results: Sequence[tuple[str, list[ClassFigures]]]) -> None:
        columns = {"dice": "DSC", "surface_dice": "NSD", "hd95": "HD95", "ml": "ml", "truth_ml": "truth_ml"}
        try:
            with atomic_path(Path(self.table)) as temporary, open(temporary, "w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["name", "class", *columns.values()])
                for name, figures in results:
                    for one, values in zip(self.names[1:], map(asdict, figures), strict=True):
                        writer.writerow([name, one, *("" if values[k] is None else values[k] for k in columns)])
        except OSError as error:
            LOGGER.warning("%s not written: %s", self.table, error)
