"""tools/analysis/flops.py: names, configs, sizes, the table and the file."""
import importlib.util
import json
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "analysis" / "flops.py"


@pytest.fixture(scope="module")
def flops():
    spec = importlib.util.spec_from_file_location("flops", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_name_and_a_config(flops, capsys, tmp_path):
    assert flops.main(["isnet_gt_encoder", "isnet_cutouts", "--size", "64", "128", "--batch", "2", "--stages",
                       "--json", str(tmp_path / "f.json")]) == 0
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["isnet_gt_encoder"]["input"] == [2, 1, 64, 128]
    assert found["isnet_gt_encoder"]["parameters"] == 6_877_734
    assert found["isnet_cutouts"]["input"] == [2, 3, 64, 128]
    assert {s["name"] for s in found["isnet_cutouts"]["stages"]} >= {"stage1", "stage6", "side1"}
    out = capsys.readouterr().out
    assert "2x1x64x128" in out and "6.88" in out and "stage1d" in out


def test_the_size_is_the_tasks(flops, capsys):
    assert flops.main(["isnet_cutouts"]) == 0
    assert "1x3x192x192" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["isnett"], "did you mean isnet"), (["isnet", "--size", "3"], "--size has 1 numbers, it takes 2"),
    (["isnet_cutouts", "--json", "/proc/none/f.json"], "f.json")])
def test_mistakes_are_said_in_a_line(flops, capsys, arguments, message):
    assert flops.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_others_are_measured_beside_one_that_is_wrong(flops, capsys):
    assert flops.main(["isnett", "isnet_cutouts"]) == 1
    assert "isnet_cutouts" in capsys.readouterr().out
