"""The measures as mmengine's metrics."""
from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement, PixelData

sys.path.insert(0, str(Path(__file__).parent))

from folders import NAMES, make_folders

from dense.errors import ConfigError
from dense.evaluation.folder import evaluate_folders
from dense.evaluation.measures import GROUPS, MEASURES, evaluate_pair
from dense.evaluation.metrics import CutoutMetrics
from dense.io import read_mask
from dense.registry import METRICS

FAMILIES = {"FMeasure": ("maxF", "maxF_image", "meanF", "adpF"), "WeightedFMeasure": ("wF",),
            "MeanAbsoluteError": ("MAE",), "SMeasure": ("S",), "EMeasure": ("maxE", "meanE", "adpE"),
            "HumanCorrectionEfforts": ("HCE",), "MaskIoU": ("IoU", "BIoU")}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    return make_folders(tmp_path)


def samples(root: Path) -> list[BaseDataElement]:
    found = []
    for name in NAMES:
        sample = BaseDataElement(metainfo={"name": name})
        alpha = read_mask(root / "soft_net" / f"{name}.png").astype(np.float32) / 255
        sample.pred_alpha = PixelData(data=torch.from_numpy(alpha)[None])
        sample.gt_alpha = PixelData(data=torch.from_numpy(read_mask(root / "data" / "gt" / f"{name}.png"))[None])
        found.append(sample)
    return found


def run(root: Path, *metrics: dict) -> dict:
    evaluator = Evaluator([METRICS.build(metric) for metric in metrics])
    for sample in samples(root):
        evaluator.process([sample], None)
    return evaluator.evaluate(len(NAMES))


def test_families_cover_the_table():
    assert sorted(name for members in FAMILIES.values() for name in members) == sorted(MEASURES)


def test_families_give_what_folders_give(root):
    (result,) = evaluate_folders([root / "soft_net"], root / "data", jobs=1).results
    figures = run(root, *({"type": name} for name in FAMILIES))
    assert figures == {name: result.figures[name] for name in MEASURES}
    assert all(type(value) is float for value in figures.values())  # numpy's types end in unsafe checkpoints


def test_all_in_one(root):
    figures = run(root, {"type": "CutoutMetrics", "names": "all"})
    assert tuple(figures) == GROUPS["all"]
    assert list(run(root, {"type": "CutoutMetrics"})) == ["maxF", "MAE", "IoU", "HCE"]


def test_table_of_pictures(root, tmp_path):
    run(root, {"type": "CutoutMetrics", "names": ("MAE", "HCE", "maxE"), "table": str(tmp_path / "x.csv")})
    with open(tmp_path / "x.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["name", "MAE", "HCE", "HCE_fp_points", "HCE_fp_independent", "HCE_fn_points",
                              "HCE_fn_independent", "maxE"]
    assert [row["name"] for row in table] == NAMES
    expected = evaluate_pair(read_mask(root / "soft_net" / "p_3.png"), read_mask(root / "data" / "gt" / "p_3.png"),
                             ("MAE", "HCE", "maxE"))
    assert {key: float(table[3][key]) for key in list(table[3])[1:]} == {
        key: expected[key] for key in list(table[3])[1:]}


def test_skeletons_are_cached(root, tmp_path):
    run(root, {"type": "HumanCorrectionEfforts"})
    entries = list((tmp_path / "cache" / "skeletons").rglob("*.png"))
    assert entries
    run(root, {"type": "HumanCorrectionEfforts", "cache": str(tmp_path / "elsewhere")})
    assert len(list((tmp_path / "elsewhere").rglob("*.png"))) == len(entries)
    assert CutoutMetrics(("MAE",)).skeletons is None


def test_wrong_names():
    with pytest.raises(ConfigError, match="unknown metrics maxG"):
        CutoutMetrics(("maxG",))
    with pytest.raises(ConfigError, match="SMeasure gives S, not MAE"):
        METRICS.build({"type": "SMeasure", "names": ("MAE",)})
    assert METRICS.build({"type": "EMeasure", "names": ("maxE",)}).names == ("maxE",)
