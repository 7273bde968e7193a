"""The metric of volumes as loops use it, and the baseline that goes by intensity alone."""
import csv
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("scipy", reason="volumes need the extra 'medical'")

from dense.errors import DatasetError
from dense.evaluation.volume import measure_volume, summarise_volumes
from dense.evaluation.volume_baselines import IntensityBaseline
from dense.evaluation.volume_metrics import VolumeMetrics
from dense.tasks import VolumeTask

NAMES = ("background", "a", "b")


def sample(pred, truth, name="x", spacing=(2.0, 1.0, 1.0)) -> dict:
    return {"pred_labels": torch.from_numpy(pred), "gt_labels": torch.from_numpy(truth), "spacing": spacing,
            "name": name}


def labels(seed: int, high: int = 3) -> np.ndarray:
    return np.repeat(np.random.default_rng(seed).integers(0, high, (4, 5, 6)), 2, 0)


def metric(**values) -> VolumeMetrics:
    found = VolumeMetrics(surfaces=False, **values)
    found.dataset_meta = {"classes": NAMES}
    return found


def test_figures_of_samples_and_the_table(tmp_path):
    pairs = [(labels(0), labels(1)), (labels(2), np.where(labels(4) == 2, -1, labels(3)))]
    measure = metric(table=tmp_path / "t.csv")
    measure.process(None, [sample(*pair, name=f"n{i}") for i, pair in enumerate(pairs)])
    figures = [measure_volume(*pair, (2.0, 1.0, 1.0), 3, ignore=-1, surfaces=False) for pair in pairs]
    assert measure.compute_metrics(measure.results) == pytest.approx(summarise_volumes(figures, NAMES))
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [(r["name"], r["class"]) for r in rows] == [("n0", "a"), ("n0", "b"), ("n1", "a"), ("n1", "b")]
    assert float(rows[2]["DSC"]) == pytest.approx(figures[1][0].dice) and rows[2]["HD95"] == ""
    assert float(rows[3]["truth_ml"]) == pytest.approx(figures[1][1].truth_ml)


def test_absent_classes_are_named_and_have_no_figures(caplog):
    measure = metric()
    one = labels(0, 2)
    measure.process(None, [sample(one, one)])
    with caplog.at_level(logging.WARNING, logger="dense"):
        assert measure.compute_metrics(measure.results) == pytest.approx({"DSC": 1, "VD": 0, "DSC.a": 1, "VD.a": 0})
    assert "no voxel of the evaluated volumes is b" in caplog.text
    empty = metric()
    empty.process(None, [sample(0 * one, 0 * one)])
    assert empty.compute_metrics(empty.results) == {"DSC": 0.0}


def test_labels_that_do_not_fit_name_their_file():
    bad = sample(labels(0), labels(1)[:-1]) | {"label_path": "labels.nii.gz"}
    with pytest.raises(DatasetError, match=r"labels.nii.gz: .*different grids.*Remedy"):
        metric().process(None, [bad])


def test_the_baseline_takes_the_most_frequent_class_of_each_intensity():
    # overlapping levels: 0..59 are background, 40..99 class 1; between, class 1 is twice as frequent
    values = np.concatenate([np.repeat(np.arange(0, 60), 10), np.repeat(np.arange(40, 100), 20)]).astype(np.float32)
    truth = np.repeat([0, 1], [600, 1200])
    order = np.random.default_rng(0).permutation(1800)
    values, truth = (a[order].reshape(10, 12, 15) for a in (values, truth))
    task = VolumeTask(size=16, spacing=(1.0, 1.0, 1.0), classes=("background", "a"), transpose=(1, 0, 2), crop=False)
    hidden = np.where(np.random.default_rng(1).random(truth.shape) < 0.3, -1, truth)
    baseline = IntensityBaseline.fit(task, [(values[None], (3.0, 1.0, 2.0), hidden)])
    assert np.array_equal(baseline.predict(values[None], (3.0, 1.0, 2.0)), values >= 40)
    # another scanner: the same up to brightness and contrast
    assert np.array_equal(baseline.predict(7 * values[None] + 30, (1.0, 1.0, 1.0)), values >= 40)
    with pytest.raises(ValueError, match="no voxel"):
        IntensityBaseline.fit(replace(task, transpose=(0, 1, 2)),
                              [(values[None], (1.0,) * 3, np.full(truth.shape, -1))])
