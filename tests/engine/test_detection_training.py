"""Training and testing of a detector on a toy data set: the runner's way from annotations to average precision."""
from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("mmdet", reason="StageInteractor needs the extra 'det'")

from toy_coco import CLASSES, make_coco

from dense import build_model
from dense.config import config_folder
from dense.engine.runner import build_runner
from dense.engine.settings import Settings, load_config, runner_config
from dense.engine.test import test as run_test
from dense.weights.files import read_weights

CONFIG = """\
from mmengine.config import read_base

with read_base():
    from .stageinteractor_r50_300_coco import *

data_root = {root!r}
task.update(size=(64, 96), longest=96, classes=("red", "light"), most=8)
model["network"].update(backbone="r18", width=0.125, stages=3, queries=8, num_classes=2, sub_points=3, points=2,
                        first_points=3, rows=8, groups=2, frozen_stages=-1, norm_eval=False)
train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader["dataset"]["pipeline"][2].update(short=(60, 90), sides=(30, 60))
train_dataloader["dataset"]["pipeline"][3].update(short=(48, 64), longest=96)
val_dataloader.update(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
param_scheduler = None
optim_wrapper["optimizer"]["lr"] = 1e-3
train_cfg.update(max_iters=6, val_interval=3)
default_hooks["checkpoint"]["interval"] = 3
custom_hooks = [custom_hooks[0], custom_hooks[2]]
ema = 0.01
"""


def test_a_detector_is_trained_tested_and_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_coco(tmp_path / "data", "train", 5)
    make_coco(tmp_path / "data", "val", 3, first=20)
    for source in config_folder().rglob("*.py"):
        target = tmp_path / source.relative_to(config_folder())
        target.parent.mkdir(exist_ok=True)
        target.write_text(source.read_text())
    config = tmp_path / "toy.py"
    config.write_text(CONFIG.format(root=str(tmp_path / "data")))
    runner = build_runner(runner_config(load_config(config, Settings(work_dir=str(tmp_path / "run")))), config)
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    assert any(not torch.equal(v, before[k]) for k, v in runner.model.state_dict().items())
    assert 0 <= runner.message_hub.get_info("best_value") <= 1
    best = tmp_path / "run/best.safetensors"
    assert read_weights(best).meta["network"]["queries"] == 8
    assert (tmp_path / "run/pictures/val_000006.png").is_file()
    rows = run_test(config, best, Settings(work_dir=str(tmp_path / "tested")), baselines=("untrained",), masks=True)
    assert list(rows) == ["trained", "untrained"] and 0 <= rows["trained"]["AP50"] <= 1
    assert {"AP.red", "AP50.light", "AR.red"} <= set(rows["trained"])
    made = {p.relative_to(tmp_path / "tested").as_posix() for p in (tmp_path / "tested").rglob("*") if p.is_file()}
    assert {"test.csv", "coco_results.json", "precision_recall.png", "pictures/test_worst.png", "masks/020.png"} <= made
    assert "| red | " in (tmp_path / "tested/test.md").read_text()
    results = json.loads((tmp_path / "tested/coco_results.json").read_text())
    assert {r["image_id"] for r in results} <= {20, 21, 22}
    assert {r["category_id"] for r in results} <= set(CLASSES.values())
    model = build_model("stageinteractor_r50", weights=best)
    assert model.task.classes == ("red", "light") == tuple(sorted(CLASSES, reverse=True))
    graph = model.graph()
    with torch.no_grad():
        found = model.task.run(np.zeros((60, 80, 3), np.uint8), lambda x: graph(torch.from_numpy(x)).numpy())
    assert found.boxes.shape == (len(found), 4)
