"""Training and testing of volumes: one command, classes of dataset.json, resuming, figures of the written labels."""
from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("nibabel", reason="volumes need the extra 'medical'")
pytest.importorskip("monai", reason="volumes need the extra 'medical'")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datasets"))

from toy import assert_same, run
from volumes import draw_volume, make_set, save

from dense import build_model
from dense.config import config_folder, read_config
from dense.engine import test as testing
from dense.engine.settings import Settings, load_config, runner_config
from dense.engine.train import train
from dense.errors import ConfigError, DatasetError
from dense.evaluation.volume import measure_volume, summarise_volumes
from dense.io import read_image
from dense.io.volume import read_volume
from dense.registry import MODELS
from dense.weights.files import read_checkpoint, read_weights

CONFIG = """\
from mmengine.config import read_base

with read_base():
    from .stunet_mni152 import *

data_root = {root!r}
task.update(size=(16, 16, 16), spacing=(2.0, 1.5, 1.5))
model["network"].update(width=0.125, pool=((2, 2, 2), (2, 2, 2), (1, 1, 1), (1, 1, 1), (1, 1, 1)))
train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader["dataset"].update(folds=3)
val_dataloader.update(num_workers=0, persistent_workers=False)
val_dataloader["dataset"].update(folds=3)
test_dataloader.update(num_workers=0, persistent_workers=False)
test_dataloader["dataset"].update(folds=3)
train_cfg.update(max_iters=4, val_interval=2)
default_hooks["checkpoint"]["interval"] = 2
custom_hooks = custom_hooks[:3]
custom_hooks[1]["interval"] = 1
ema = None
baselines = ()
"""
CLASSES = ("background", "ball", "box")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_set(tmp_path_factory.mktemp("volumes") / "data", 6)


@pytest.fixture
def toy(tmp_path, data, monkeypatch) -> SimpleNamespace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    configs = tmp_path / "configs"
    shutil.copytree(config_folder(), configs, ignore=shutil.ignore_patterns("__pycache__"))
    (configs / "toy.py").write_text(CONFIG.format(root=str(data)))
    return SimpleNamespace(config=configs / "toy.py", data=data, folder=tmp_path)


def test_dataset_json_sets_classes_and_channels_of_task_and_network(toy):
    best = train(toy.config, Settings(work_dir="out"))
    weights = read_weights(best)
    assert tuple(weights.meta["task"]["classes"]) == CLASSES and weights.meta["task"]["channels"] == ["C0"]
    assert weights.meta["network"]["num_classes"] == 3
    model = build_model("stunet_small", weights=best)
    assert model.task.classes == CLASSES and model.task.size == (16, 16, 16)
    assert set(weights.tensors) == set(model.network.state_dict())
    assert sorted(p.name for p in Path("out/pictures").iterdir()) == ["val_000002.png", "val_000004.png"]
    log = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    assert {"val/DSC", "val/DSC.box", "val/VD"} <= set().union(*log) and Path("out/curves.png").is_file()


def test_a_resumed_run_equals_an_uninterrupted_one(toy):
    train(toy.config, Settings(work_dir="whole", seed=3, ema=0.1))
    train(toy.config, Settings(work_dir="broken", seed=3, ema=0.1, max_iters=2))
    train(toy.config, Settings(work_dir="broken", seed=3, ema=0.1, max_iters=4), resume=True)
    one, other = (read_checkpoint(Path(name, "iter_4.pth")) for name in ("whole", "broken"))
    for key in ("state_dict", "optimizer", "ema_state_dict"):
        assert_same(one[key], other[key])
    assert_same(*(read_weights(Path(name, "best.safetensors")).tensors for name in ("whole", "broken")))


def test_figures_are_those_of_the_written_labels(toy):
    best = train(toy.config, Settings(work_dir="run", max_iters=2))
    rows = testing.test(toy.config, best, Settings(work_dir="out"), masks=True, baselines=["untrained", "intensity"])
    figures = []
    for file in sorted(Path("out/masks").iterdir()):
        truth = read_volume(toy.data / "labelsTr" / file.name)
        written = read_volume(file)
        assert np.array_equal(written.affine, truth.affine)
        figures.append(measure_volume(written.values[0], truth.values[0], truth.spacing, 3))
    assert len(figures) == 2
    assert rows["trained"] == pytest.approx(summarise_volumes(figures, CLASSES))
    assert set(rows) == {"trained", "untrained", "class by intensity"}
    assert rows["class by intensity"]["DSC"] > 0.95  # the toy's classes are levels of grey
    text = Path("out/test.md").read_text()
    assert "| DSC | NSD | HD95 | VD |" in text and "| class | DSC | NSD | HD95, mm | VD, ml |" in text
    assert read_image("out/pictures/test_worst.png").size
    table = Path("out/test.csv").read_text().splitlines()
    assert table[0] == "name,class,DSC,NSD,HD95,ml,truth_ml" and len(table) == 1 + 2 * 2


def test_one_volume_is_learned_by_heart(toy):
    settings = Settings(work_dir="out", overfit=1, max_iters=120, val_interval=120, learning_rate=1e-2)
    best = train(toy.config, settings)
    assert read_weights(best).meta["metrics"]["DSC"] > 0.7


def test_the_whole_command_says_what_it_did(toy):
    done = run("train", toy.config, "--work-dir", "out", "--max-iters", "2", DENSE_CACHE=str(toy.folder / "cache"))
    assert done.returncode == 0, done.stderr
    for text in ("| trained |", "| box |", "three planes", "per volume      out/test.csv", "volume VOLUMES -o OUT"):
        assert text in done.stdout
    assert "4 volumes to train on, 2 volumes to validate on" in done.stderr


def test_weights_of_other_classes_begin_a_fine_tuning(toy):
    network = read_config(toy.config).model["network"]
    other = MODELS.build(dict(network, num_classes=5))
    torch.save(other.state_dict(), "five.pth")
    train(toy.config, Settings(work_dir="out", weights="five.pth", learning_rate=1e-9, max_iters=2))
    tensors = read_weights("out/best.safetensors").tensors
    assert tensors["seg_outputs.4.weight"].shape[0] == 3
    key = "conv_blocks_context.0.0.conv1.weight"
    assert torch.allclose(tensors[key], other.state_dict()[key], atol=1e-5)


@pytest.mark.parametrize(("options", "message"), [
    (dict(baselines=["majority"]), "majority is not for toy"), (dict(metrics="MAE"), "--metrics")])
def test_what_pictures_have_is_refused(toy, options, message):
    with pytest.raises(ConfigError, match=message):
        testing.test(toy.config, None, Settings(work_dir="out"), **options)


def test_bad_volumes_end_the_run_before_it_begins_and_are_all_named(toy, tmp_path):
    root = make_set(tmp_path / "bad", 6)
    for index in (0, 1, 2, 3):
        values = draw_volume(index)[0]
        values[4, 4, 4] = np.inf
        save(root / f"imagesTr/a{index}_0000.nii.gz", values)
    with pytest.raises(DatasetError, match=r"(?s)of 4 cases cannot be used:.*infinite.*\n.*infinite.*Remedy"):
        train(toy.config, Settings(work_dir="out", data_root=str(root)))
    assert not Path("out").exists()


def test_a_missing_set_is_explained(toy):
    with pytest.raises(DatasetError, match=r"(?s)nowhere.*dataset\.json.*imagesTr.*make_mni152"):
        train(toy.config, Settings(work_dir="out", data_root="nowhere"))


@pytest.mark.parametrize("name", ["small", "base", "large", "huge"])
def test_the_published_recipe(name):
    cfg = runner_config(load_config(f"stunet_{name}", Settings(data_root="here", max_iters=500)))
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (0.01, 0.99, True, 3e-5)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=12)
    assert cfg.param_scheduler[0]["power"] == 0.9 and cfg.param_scheduler[0]["end"] == 500
    assert load_config(f"stunet_{name}", Settings()).train_cfg.max_iters == 250 * 1000
    assert cfg.train_dataloader.batch_size == 2 and cfg.task["size"] == (128, 128, 128)
    assert cfg.model["network"]["name"] == f"stunet_{name}"
    batch = load_config(f"stunet_{name}", Settings(options=["model.loss.batch_dice=True"]))
    assert MODELS.build(batch.model.loss).batch_dice and MODELS.build(cfg.model.loss).ignore == -1


def test_a_cube_for_a_side():
    assert load_config("stunet_small", Settings(size=96)).task["size"] == (96, 96, 96)


def test_the_command_takes_every_baseline():
    from argparse import ArgumentParser

    from dense.commands.test import add_arguments

    parser = ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args(["c", "w", "--baselines", *testing.BASELINES]).baselines == list(testing.BASELINES)
