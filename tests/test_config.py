"""Configs: every mistake is an error that says where it is, and names the near miss."""
from __future__ import annotations

import pytest

from dense.config import check_config, config_folder, find_config, parse_option, read_config
from dense.engine.runner import build_runner
from dense.engine.settings import Settings, load_config, runner_config
from dense.engine.train import train
from dense.errors import ConfigError

SHIPPED = sorted(p.stem for p in config_folder().glob("*.py") if not p.stem.startswith("_"))
BEGIN = "from mmengine.config import read_base\nwith read_base():\n    from .isnet_cutouts_supervised import *\n"


@pytest.fixture
def write(tmp_path):
    """Write a config that inherits from a shipped one; returns its path."""
    for source in config_folder().rglob("*.py"):
        target = tmp_path / source.relative_to(config_folder())
        target.parent.mkdir(exist_ok=True)
        target.write_text(source.read_text())

    def write(text: str, begin: str = BEGIN):
        path = tmp_path / "mine.py"
        path.write_text(begin + text)
        return path

    return write


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs_are_read_by_name_and_have_only_known_keys(name):
    assert read_config(name).train_cfg.max_iters > 0
    assert find_config(f"configs/{name}.py").stem == find_config(name).stem == name


def test_an_unknown_name_brings_the_near_miss():
    with pytest.raises(ConfigError, match=r"isnet_dis5: no such config file; did you mean isnet_dis5k"):
        read_config("isnet_dis5")


def test_an_unknown_name_without_a_near_miss_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"shipped configs: .*isnet_dis5k"):
        read_config("xyz")


@pytest.mark.parametrize(("text", "words"), [
    ("dataroot = 'x'\n", "unknown setting 'dataroot'; did you mean 'data_root'"),
    ("model['feature_los'] = 'kl'\n", "CutoutModel has no setting 'feature_los'; did you mean 'feature_loss'"),
    ("model['network']['widht'] = 0.5\n", "ISNet has no setting 'widht'; did you mean 'width'"),
    ("model['gt_encoder']['chekpoint'] = 'x'\n", "gt_encoder has no setting 'chekpoint'; did you mean 'checkpoint'"),
    ("train_dataloader['batchsize'] = 4\n", "no setting 'batchsize'; did you mean 'batch_size'"),
    ("train_dataloader['dataset']['pipeline'][2]['horizontl'] = 0.1\n",
     "RandomFlip has no setting 'horizontl'; did you mean 'horizontal'"),
    ("custom_hooks[3]['patienc'] = 1\n", "EarlyStopping has no setting 'patienc'; did you mean 'patience'"),
    ("default_hooks['chekpoint'] = default_hooks['checkpoint']\n", "no setting 'chekpoint'; did you mean 'checkpoint'"),
    ("optim_wrapper['optimizer']['learning_rate'] = 1\n", "Adam has no setting 'learning_rate'"),
    ("randomness['sed'] = 1\n", "no setting 'sed'; did you mean 'seed'"),
    ("task['sizes'] = (64, 64)\n", "CutoutTask has no setting 'sizes'; did you mean 'size'"),
])
def test_a_misspelt_key_is_refused_with_file_and_near_miss(write, text, words):
    path = write(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("option", "words"), [
    ("dataroot=x", "unknown setting 'dataroot'; did you mean 'data_root'"),
    ("model.network.widht=1", "ISNet has no setting 'widht'; did you mean 'width'"),
    ("modle.network.width=1", "there is no 'modle'; did you mean 'model'"),
    ("model.netwrk.width=1", "there is no 'model.netwrk'; did you mean 'network'"),
    ("custom_hooks.9.patience=2", "no entry '9' in a list of"),
    ("custom_hooks.x=2", "no entry 'x' in a list of"),
    ("custom_hooks.99={'type': 'Progress'}", "no entry '99' in a list of"),
    ("data_root.x=2", "it has no parts to set. Remedy: set data_root as a whole"),
    ("task.size.0=64", "it has no parts to set. Remedy: set task.size as a whole"),
    ("custom_hooks=[dict(type='Progress')]", "is no Python literal"),
    ("nothing", "expected KEY=VALUE"),
    ("=3", "expected KEY=VALUE"),
])
def test_a_wrong_option_is_refused(option, words):
    with pytest.raises(ConfigError, match=words):
        read_config("isnet_cutouts", [option])


@pytest.mark.parametrize(("text", "value"), [
    ("3", 3), ("1e-3", 1e-3), ("(64, 64)", (64, 64)), ("kl", "kl"), ("'kl'", "kl"), ("None", None), ("none", None),
    ("true", True), ("False", False), ("[1, 2]", [1, 2]), ("{'a': 1}", {"a": 1}), ("data/x=y", "data/x=y"), ("", "")])
def test_values_of_options_are_literals_or_else_text(text, value):
    assert parse_option(f"a.b={text}") == (["a", "b"], value)


def test_options_reach_their_place():
    cfg = read_config("isnet_cutouts", [
        "task.size=(64, 64)", "custom_hooks.3.patience=2", "model.gt_encoder=None", "model.feature_loss=kl",
        "train_dataloader.dataset.pipeline.2.horizontal=0.1", "optim_wrapper.optimizer.lr=1e-4",
        "param_scheduler=[{'type': 'ConstantLR', 'factor': 0.5}]", "model_wrapper_cfg={'type': 'X'}"])
    assert cfg.task.size == (64, 64)
    assert cfg.custom_hooks[3].patience == 2
    assert cfg.model.gt_encoder is None
    assert cfg.model.feature_loss == "kl"
    assert cfg.train_dataloader.dataset.pipeline[2].horizontal == 0.1
    assert cfg.optim_wrapper.optimizer.lr == 1e-4
    assert cfg.param_scheduler[0].factor == 0.5


def test_a_transform_that_fails_is_told_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path))
    settings = Settings(work_dir=str(tmp_path / "run"), options=["train_dataloader.dataset.pipeline.0.scale=x"])
    with pytest.raises(ConfigError, match=r"isnet_cutouts\.py: cannot be built"):
        train("isnet_cutouts", settings)
    assert not (tmp_path / "run").exists()


def test_a_syntax_error_names_file_and_line(write):
    path = write("data_root = = 3\n")
    with pytest.raises(ConfigError, match=r"mine\.py, line 4"):
        read_config(path)


@pytest.mark.parametrize(("text", "words"), [
    ("from .isnet_cutout import *\n", "isnet_cutout"), ("x = undefined\n", "NameError.*undefined"),
    ("model['nothing']['width'] = 1\n", "nothing")])
def test_a_config_that_fails_to_run_says_why(write, text, words):
    begin = BEGIN if not text.startswith("from") else "from mmengine.config import read_base\nwith read_base():\n    "
    path = write(text, begin)
    with pytest.raises(ConfigError, match=words) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


def test_check_config_takes_every_parameter_of_the_runner(write):
    check_config(read_config(write("auto_scale_lr = None\nresume = False\nlog_level = 'INFO'\n")))


@pytest.mark.parametrize(("option", "words"), [
    ("task.size=10", "size must be two whole numbers >= 32"),
    ("task.size=(10, 10)", "size must be two whole numbers >= 32"),
    ("task.size=big", "size"),
    ("model.feature_loss=foo", "feature_loss='foo' is unknown; use mse"),
    ("model.network.width=abc", "ISNet"),
    ("optim_wrapper.optimizer.lr=-1", "Invalid learning rate"),
    ("train_dataloader.batch_size=x", "batch_size"),
    ("train_dataloader.dataset.pipeline.0={'type': 'LoadPiar'}", "LoadPiar"),
    ("val_evaluator.names=('maxG',)", "unknown metrics maxG"),
    ("custom_hooks.0={'type': 'Progress', 'speed': 3}", "unexpected keyword argument 'speed'"),
    ("train_cfg.max_iters=1.5", "max_iters"),
])
def test_a_value_that_a_class_refuses_is_a_config_error_with_the_cause(tmp_path, option, words):
    with pytest.raises(ConfigError, match=words):
        build_runner(runner_config(load_config("isnet_cutouts", Settings(
            work_dir=str(tmp_path), workers=0, options=["model.gt_encoder=None", "visualizer=None", option]))), "mine")
