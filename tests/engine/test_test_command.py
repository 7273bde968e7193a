"""``tools/test.py``: figures, tables and pictures of weights on one or more splits."""
from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from toy import PLAIN, REPOSITORY, environment

from dense import build_model
from dense.engine import test as testing
from dense.engine.settings import Settings
from dense.errors import ConfigError, WeightsError
from dense.evaluation import human_correction_efforts, iou, mae, max_f, precision_recall
from dense.io import read_image, read_mask

NAMES = ["dis-vd_0", "dis-vd_1", "dis-vd_2"]


@pytest.fixture
def weights(toy):
    """A network whose alphas are not all the same."""
    torch.manual_seed(2)
    network = build_model("isnet", width=0.125).network
    torch.nn.init.normal_(network.side1.weight, std=2.0)
    torch.save(network.state_dict(), toy.folder / "isnet.pth")
    return toy.folder / "isnet.pth"


def direct_figures(masks, truths) -> dict[str, float]:
    """The metrics computed from the written masks with the functions of ``dense.evaluation``."""
    pairs = [(read_mask(masks / f"{name}.png"), read_mask(truths / f"{name}.png")) for name in NAMES]
    return {"maxF": max_f([precision_recall(p, t) for p, t in pairs]),
            "MAE": float(np.mean([mae(p, t) for p, t in pairs])),
            "IoU": float(np.mean([iou(p, t) for p, t in pairs])),
            "HCE": float(np.mean([human_correction_efforts(p, t).total for p, t in pairs]))}


def test_figures_are_those_of_the_written_masks(toy, weights):
    work_dir = toy.folder / "out"
    rows = testing.test(toy.config, weights, Settings(work_dir=str(work_dir), options=[PLAIN]), masks=True)
    assert rows == {"trained": pytest.approx(direct_figures(work_dir / "masks", toy.data / "DIS-VD" / "gt"))}
    assert sorted(p.stem for p in (work_dir / "masks").iterdir()) == NAMES
    with open(work_dir / "test.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == NAMES
    for metric in ("MAE", "IoU", "HCE"):
        assert np.mean([float(row[metric]) for row in table]) == pytest.approx(rows["trained"][metric])
    report = json.loads((work_dir / "test.json").read_text())
    assert report["figures"] == {"trained": pytest.approx(rows["trained"])}
    assert report["weights"] == str(weights)
    assert (work_dir / "test.md").read_text() == testing.markdown_table(rows)
    for sheet in ("test_worst", "test_first"):
        assert read_image(work_dir / "pictures" / f"{sheet}.png").size > 0
    assert not (work_dir / "log.jsonl").exists()


def test_each_split_gets_a_row_and_a_folder(toy, weights):
    work_dir = toy.folder / "out"
    rows = testing.test(toy.config, weights, Settings(work_dir=str(work_dir)), splits=["DIS-VD", "DIS-TE1"])
    assert list(rows) == ["DIS-VD", "DIS-TE1"]
    alone = testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "alone")))
    assert rows["DIS-VD"] == alone["trained"]
    assert len((work_dir / "DIS-TE1" / "test.csv").read_text().splitlines()) == 3


def test_baselines_come_as_rows_with_the_margin(toy, weights, capsys):
    rows = testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out")),
                        baselines=["untrained", "grabcut"])
    assert list(rows) == ["trained", "untrained", "GrabCut"]
    testing.print_table(rows)
    out = capsys.readouterr().out
    assert f"trained against GrabCut: maxF {rows['trained']['maxF'] - rows['GrabCut']['maxF']:+.3f}" in out


def test_hooks_and_evaluators_named_by_text_work(toy, weights):
    options = ["custom_hooks=[{'type': 'Progress'}, {'type': 'ResultPictures', 'count': 1}]",
               "test_evaluator={'type': 'CutoutMetrics', 'names': ('MAE',)}"]
    rows = testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out"), options=options))
    assert list(rows["trained"]) == ["MAE"]
    assert (toy.folder / "out" / "pictures" / "test_worst.png").is_file()


def test_worst_pictures_of_equal_iou_can_be_sorted(toy, weights):
    # a black prediction has IoU 0 everywhere, and two splits give more pictures than a sheet has rows
    options = ["custom_hooks.2.count=1", "test_dataloader.dataset.split=['DIS-VD', 'DIS-VD']"]
    network = torch.load(weights)
    network["side1.bias"].fill_(-100.0)
    torch.save(network, weights)
    testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out"), options=options))
    assert (toy.folder / "out" / "pictures" / "test_worst.png").is_file()


@pytest.mark.parametrize(("content", "words"), [
    (None, "no such weights file"), (b"", "empty"), (b"not a checkpoint", "no PyTorch file"),
    ({"other.weight": torch.zeros(2)}, "(?s)missing.*unknown"), ({"epoch": 3}, "holds no state dict")])
def test_wrong_weights_are_refused(toy, content, words):
    path = toy.folder / "wrong.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=words) as caught:
        testing.test(toy.config, path, Settings(work_dir=str(toy.folder / "out")))
    assert str(path) in str(caught.value)


def test_an_unknown_baseline_is_refused_before_the_test(toy, weights):
    with pytest.raises(ConfigError, match="unknown baselines magic"):
        testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out")), baselines=["magic"])


def test_the_tool_prints_the_table_and_where_the_rest_is(toy, weights):
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tools" / "test.py"), str(toy.config), str(weights), "--masks"],
        env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "| | maxF | MAE | IoU | HCE |" in done.stdout
    assert os.path.join("work_dirs", "toy-test") in done.stdout
    assert (toy.folder / "work_dirs" / "toy-test" / "masks" / "dis-vd_0.png").is_file()
