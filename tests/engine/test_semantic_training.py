"""Training and testing of classes: one command, the class file's classes, resuming, figures of the written labels."""
from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("mmseg", reason="FFNet needs the extra 'seg'")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datasets"))

from test_semantic_data import draw, save
from toy import assert_same, run

from dense import build_model
from dense.config import config_folder
from dense.engine import test as testing
from dense.engine.settings import Settings, load_config
from dense.engine.train import train
from dense.errors import ConfigError, DatasetError, ImageError
from dense.evaluation import count_semantic, summarise_semantic
from dense.io import read_image
from dense.io.classes import read_classes
from dense.io.labels import read_labels
from dense.tasks import SemanticTask
from dense.weights.files import read_checkpoint, read_weights

CONFIG = """\
from mmengine.config import read_base

with read_base():
    from .ffnet_scenes import *

data_root = {root!r}
task["size"] = (64, 96)
model["network"].update(width=0.25, layers=(1, 1, 1, 1))
train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader["dataset"]["pipeline"][1]["size"] = (64, 96)
val_dataloader.update(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
train_cfg.update(max_iters=4, val_interval=2)
default_hooks["checkpoint"]["interval"] = 2
custom_hooks = custom_hooks[:3]
custom_hooks[1]["interval"] = 1
ema = None
baselines = ()
"""


@pytest.fixture
def toy(tmp_path, monkeypatch) -> SimpleNamespace:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    for split, first, count in (("train", 0, 5), ("val", 20, 3)):
        for index in range(first, first + count):
            save(data / split, f"{split}{index}", *draw(index))
    (data / "classes.txt").write_text("0 sky #4682b4\n7 road #804080\n11 car #00008e\n")
    configs = tmp_path / "configs"
    shutil.copytree(config_folder(), configs, ignore=shutil.ignore_patterns("__pycache__"))
    (configs / "toy.py").write_text(CONFIG.format(root=str(data)))
    return SimpleNamespace(config=configs / "toy.py", data=data, folder=tmp_path)


def test_the_class_file_sets_classes_of_task_and_network(toy):
    best = train(toy.config, Settings(work_dir="out"))
    weights = read_weights(best)
    assert weights.meta["task"]["classes"] == ["sky", "road", "car"]
    assert weights.meta["task"]["palette"] == [[70, 130, 180], [128, 64, 128], [0, 0, 142]]
    assert weights.meta["network"]["num_classes"] == 3
    model = build_model("ffnet40S_BCC_mobile", weights=best)
    assert model.task == SemanticTask((64, 96), classes=("sky", "road", "car"), palette=weights.meta["task"]["palette"])
    assert set(weights.tensors) == set(model.network.state_dict())
    assert sorted(p.name for p in Path("out/pictures").iterdir()) == ["val_000002.png", "val_000004.png"]
    log = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    assert {"val/mIoU", "val/IoU.car"} <= set().union(*log)
    with pytest.raises(ConfigError, match="holds an earlier run"):
        train(toy.config, Settings(work_dir="out"))


def test_a_resumed_run_equals_an_uninterrupted_one(toy):
    train(toy.config, Settings(work_dir="whole", seed=3))
    train(toy.config, Settings(work_dir="broken", seed=3, max_iters=2))
    train(toy.config, Settings(work_dir="broken", seed=3, max_iters=4), resume=True)
    one, other = (read_checkpoint(Path(name, "iter_4.pth")) for name in ("whole", "broken"))
    assert_same(one["state_dict"], other["state_dict"])
    assert_same(one["optimizer"], other["optimizer"])


@pytest.mark.parametrize("mode", ["global", "whole", "sliding"])
def test_figures_are_those_of_the_written_labels(toy, mode):
    best = train(toy.config, Settings(work_dir="run", max_iters=2))
    options = [f"test_dataloader.dataset.pipeline.1.mode={mode}"]
    rows = testing.test(toy.config, best, Settings(work_dir="out", options=options), masks=True,
                        baselines=["untrained", "majority"])
    classes = read_classes(toy.data / "classes.txt")
    plain = type(classes)(classes.names, (0, 1, 2))
    counts = []
    for file in sorted((toy.data / "val" / "masks").iterdir()):
        written = read_labels(Path("out/masks") / file.name, plain)
        counts.append(count_semantic(written, read_labels(file, classes), 3))
        assert written.shape == (80, 120)
    assert rows["trained"] == pytest.approx(summarise_semantic(counts, classes.names))
    majority = rows["most frequent class"]
    assert majority["IoU.road"] == pytest.approx(majority["aAcc"]) and majority["IoU.sky"] == 0
    assert set(rows) == {"trained", "untrained", "most frequent class"}
    text = Path("out/test.md").read_text()
    assert "| mIoU | mBIoU | mAcc | aAcc |" in text and "| car |" in text
    assert read_image("out/confusion.png").size and read_image("out/pictures/test_worst.png").size
    assert Path("out/test.csv").read_text().count("\n") == 4


def test_one_picture_is_learned_by_heart(toy):
    settings = Settings(work_dir="out", overfit=2, max_iters=160, val_interval=160, learning_rate=4e-3)
    best = train(toy.config, settings)
    assert read_weights(best).meta["metrics"]["mIoU"] > 0.75


def test_the_whole_command_says_what_it_did(toy):
    done = run("train", toy.config, "--work-dir", "out", "--max-iters", "2")
    assert done.returncode == 0, done.stderr
    for text in ("| trained |", "| car |", "what is wrong", "next:"):
        assert text in done.stdout
    assert "cutout" not in done.stdout
    assert "IoU.car" not in done.stderr  # those of single classes are in the log


@pytest.mark.parametrize(("options", "message"), [
    (dict(baselines=["grabcut"]), "grabcut is not for toy"), (dict(metrics="MAE"), "--metrics")])
def test_what_cut_outs_have_is_refused(toy, options, message):
    with pytest.raises(ConfigError, match=message):
        testing.test(toy.config, None, Settings(work_dir="out"), **options)


def test_labels_that_are_no_class_end_the_run_before_it_begins(toy):
    (toy.data / "classes.txt").write_text("0 sky\n7 road\n12 car\n")
    with pytest.raises(ImageError, match=r"train0.png: values that are no class: 11 \(600 pixels\)"):
        train(toy.config, Settings(work_dir="out"))
    assert not Path("out").exists()


def test_a_missing_set_is_explained(toy):
    with pytest.raises(DatasetError, match=r"classes\.txt"):
        train(toy.config, Settings(work_dir="out", data_root="nowhere"))


def test_schedules_end_with_the_run(toy):
    from dense.engine.settings import runner_config

    cfg = load_config("ffnet40S_dBBB_mobile_cityscapes", Settings(max_iters=500))
    assert runner_config(cfg).param_scheduler[0]["end"] == 500
    assert np.isclose(cfg.optim_wrapper.optimizer.lr, 0.01)
