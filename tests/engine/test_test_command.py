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
from dense.cli import main
from dense.engine import test as testing
from dense.engine.settings import Settings
from dense.errors import ConfigError, DatasetError, DenseError, WeightsError
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
    margin = rows["GrabCut"]["maxF"] - rows["trained"]["maxF"]
    assert f"trained against GrabCut: maxF worse by {margin:.3f}, MAE worse" in capsys.readouterr().out


def test_baselines_run_on_every_split_once(toy, weights, capsys):
    baselines = ["untrained", "grabcut"]
    rows = testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out")), baselines=baselines,
                        splits=["DIS-TE1", "DIS-VD", "DIS-TE1"], metrics="MAE")
    assert list(rows) == ["DIS-TE1", "DIS-VD", "untrained, DIS-TE1", "untrained, DIS-VD", "GrabCut, DIS-TE1",
                          "GrabCut, DIS-VD"]
    assert capsys.readouterr().err.count("on DIS-TE1 of") == 1
    alone = testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "alone")), baselines=baselines,
                         metrics="MAE")
    for name in ("untrained", "GrabCut"):
        assert rows[f"{name}, DIS-VD"] == alone[name] != rows[f"{name}, DIS-TE1"]
    assert (toy.folder / "out" / "DIS-TE1" / "untrained" / "test.csv").is_file()
    testing.print_table(rows)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if " against " in line] == [
        f"{split} against {name}, {split}" for name in ("untrained", "GrabCut") for split in ("DIS-TE1", "DIS-VD")]


def test_a_wrong_split_is_said_before_the_test(toy, weights):
    with pytest.raises(DatasetError, match=r"for DIS-TE9.*splits that are there: DIS-TR, DIS-VD, DIS-TE1"):
        testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out")), splits=["DIS-VD", "DIS-TE9"])
    assert not (toy.folder / "out" / "DIS-VD").exists()


def test_margins_have_the_digits_and_direction_of_the_measure(capsys):
    own = {"maxF": 0.9, "MAE": 0.02, "HCE": 1200.4, "IoU": 0.8, "other": 1.0}
    other = {"maxF": 0.912, "MAE": 0.05, "HCE": 1300.0, "IoU": 0.80004, "other": 0.5}
    testing.print_table({"trained": own, "GrabCut": other})
    assert capsys.readouterr().out.splitlines()[-1] == (
        "trained against GrabCut: maxF worse by 0.012, MAE better by 0.030, HCE better by 100, IoU equal, other +0.500")


def test_the_report_agrees_with_the_figures(toy, weights):
    work_dir = toy.folder / "out"
    rows = testing.test(toy.config, weights, Settings(work_dir=str(work_dir)), splits=["DIS-VD", "DIS-TE1"],
                        metrics="all", report=True)
    for split in ("DIS-VD", "DIS-TE1"):
        report = work_dir / split / "report"
        summary = json.loads((report / "summary.json").read_text())
        (method,) = summary["methods"]
        assert method["name"] == "toy" and method["problems"] == []
        assert {name: method["figures"][name] for name in rows[split]} == rows[split]
        assert summary["settings"]["metrics"] == list(rows[split])
        assert {path.relative_to(report).as_posix() for path in report.rglob("*") if path.is_file()} == {
            "summary.json", "summary.md", "summary.tex", "curves.png", "toy/per_image.csv", "toy/per_image.json",
            "toy/worst_HCE.png", "toy/worst_MAE.png"}
        with open(work_dir / split / "test.csv", newline="") as file:
            table = {row["name"]: row for row in csv.DictReader(file)}
        for row in json.loads((report / "toy" / "per_image.json").read_text()):
            assert {name: float(table[row["name"]][name]) for name in rows[split]} == {
                name: row[name] for name in rows[split]}
        panels = read_image(report / "toy" / "worst_HCE.png").shape[1]
        assert panels > 3.5 * 420  # the picture is among them


def test_a_report_of_what_was_tested_only(toy, weights):
    """Pictures that the config leaves out are no gaps, and masks of an earlier test do not count."""
    options = ["test_dataloader.dataset.limit=2", "custom_hooks=[]"]
    (toy.folder / "out" / "masks").mkdir(parents=True)
    (toy.folder / "out" / "masks" / "dis-vd_2.png").write_bytes(b"old")
    rows = testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out"), options=options),
                        metrics="MAE", report=True)
    (method,) = json.loads((toy.folder / "out" / "report" / "summary.json").read_text())["methods"]
    assert method["images"] == 2 and method["problems"] == [] and method["figures"] == rows["trained"]


def test_no_report_of_two_pictures_of_one_name(toy, weights, capsys):
    options = ["test_dataloader.dataset.split=['DIS-VD', 'DIS-VD']"]
    testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out"), options=options), report=True)
    assert "no report in" in capsys.readouterr().err and not (toy.folder / "out" / "report").exists()


def test_the_command_says_where_all_is(toy, weights, capsys):
    config = str(toy.config)
    assert main(["test", config, str(weights), "--splits", "DIS-VD", "--metrics", "maxF", "MAE,IoU"]) == 0
    out = capsys.readouterr().out
    folder = os.path.join("work_dirs", "toy-test")
    assert "| | maxF | MAE | IoU |" in out
    assert f"per picture {folder}/DIS-VD/test.csv" in out and f"report {folder}/DIS-VD/report: " in out
    assert (toy.folder / folder / "DIS-VD" / "report" / "summary.tex").is_file()
    arguments = ["--splits", "DIS-VD", "DIS-TE1", "DIS-VD", "--metrics", "MAE", "--no-report", "--work-dir", "plain"]
    assert main(["test", config, str(weights), *arguments]) == 0
    out = capsys.readouterr().out
    assert "plain/{DIS-VD,DIS-TE1}/test.csv" in out and "report " not in out
    assert not list((toy.folder / "plain").rglob("report")) and not list((toy.folder / "plain").rglob("masks"))


def test_a_file_as_work_directory_is_refused_before_the_test(toy, weights):
    (toy.folder / "out").write_text("")
    with pytest.raises(DenseError, match="out: is a file instead of a folder; choose another"):
        testing.test(toy.config, weights, Settings(work_dir=str(toy.folder / "out")))


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
