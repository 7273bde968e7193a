"""tools/data/browse.py writes sheets of what the network is fed."""
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from dense.datasets.browse import OUTLINE, outlined, sheets
from dense.datasets.cutout import CutoutDataset
from dense.io import read_image

TOOL = Path(__file__).resolve().parents[2] / "tools" / "data" / "browse.py"
PIPELINE = [dict(type="LoadPair", cache=False), dict(type="RandomFlip"), dict(type="PackCutout")]


@pytest.fixture
def root(tmp_path) -> Path:
    for split in ("DIS-TR", "DIS-VD"):
        for folder in ("im", "gt"):
            (tmp_path / "data" / split / folder).mkdir(parents=True)
        for index in range(5):
            mask = np.zeros((60, 80), np.uint8)
            mask[10:40, 5 + index:40] = 255
            cv2.imwrite(str(tmp_path / f"data/{split}/im/p{index}.jpg"), np.dstack([mask // 2 + 60] * 3))
            cv2.imwrite(str(tmp_path / f"data/{split}/gt/p{index}.png"), mask)
    return tmp_path / "data"


@pytest.fixture
def main(monkeypatch, tmp_path):
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    spec = importlib.util.spec_from_file_location("browse_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_sheets(root):
    dataset = CutoutDataset(root, "DIS-TR", PIPELINE, dict(size=(48, 64)))
    made = list(sheets(dataset, count=4, epochs=3, size=64, rows=3))
    assert len(made) == 2 and all(sheet.dtype == np.uint8 and sheet.shape[2] == 3 for sheet in made)
    assert made[0].shape[0] == 3 * made[1].shape[0] and made[0].shape[1] == made[1].shape[1] >= 6 * 64
    assert (made[0] == OUTLINE).all(axis=2).any()
    assert len(list(sheets(dataset, count=99, size=64, rows=8))) == 1
    pipeline = [dict(type="LoadPair", cache=False, keep_mask=True), dict(type="PackCutout")]
    once, = sheets(CutoutDataset(root, "DIS-TR", pipeline, dict(size=(48, 64))), count=2, epochs=3, size=64)
    assert once.shape[1] < 3 * 64  # without randomness one epoch says all


def test_outline_runs_around_the_mask():
    image, mask = np.full((64, 64, 3), 100, np.uint8), np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    panel = outlined(image, mask, 64)
    edge = (panel == OUTLINE).all(axis=2)
    assert edge[19, 19:41].all() and edge[19:41, 40].all() and edge.sum() == 4 * 21
    assert (panel[25:35, 25:35] == 100).all() and panel[5, 5, 0] < 50


@pytest.mark.parametrize("config, split", [
    ("isnet_cutouts", "train"), ("isnet_dis5k", "val"), ("isnet_gt_encoder_cutouts", "train")])
def test_tool(main, root, tmp_path, capsys, config, split):
    code = main([config, "--data-root", str(root), "--split", split, "--count", "3", "--epochs", "2", "--size", "64",
                 "--panel", "64", "-o", str(tmp_path / "out")])
    path, = capsys.readouterr().out.split()
    assert code == 0 and Path(path).name == f"{config}_{split}_01.png"
    assert read_image(path).shape[0] >= 3 * 64


def test_tool_explains(main, tmp_path, capsys):
    assert main(["isnet_dis5k", "--data-root", str(tmp_path / "none")]) == 2
    assert "github.com/xuebinqin/DIS" in capsys.readouterr().err
    assert main(["isnet_dis5q"]) == 2
    assert "did you mean isnet_dis5k" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["isnet_dis5k", "--count", "0"])


def test_sheets_of_volumes(tmp_path, monkeypatch):
    pytest.importorskip("nibabel", reason="volumes need the extra 'medical'")
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "datasets"))
    from volumes import make_set

    from dense.datasets.volume import VolumeDataset
    from dense.tasks import VolumeTask

    task = VolumeTask(size=(16, 20, 24), spacing=(2.0, 1.0, 1.5), channels=("C0",),
                      classes=("background", "ball", "box"))
    pipeline = [dict(type="VolumePatch", foreground=1), dict(type="RandomVolumeMirror"), dict(type="PackVolume")]
    dataset = VolumeDataset(make_set(tmp_path / "data", 3), None, pipeline, task)
    sheet, = sheets(dataset, count=2, epochs=2, size=64)
    assert sheet.shape[1] >= 4 * 64 and ((sheet == (128, 0, 0)) | (sheet == (0, 128, 0))).all(axis=2).any()
