"""Every setting of ``dense train`` takes effect."""
from __future__ import annotations

import json
import shutil

import pytest
import torch
from toy import PLAIN, assert_same

from dense import build_model
from dense.config import type_name
from dense.engine.hooks.curves import read_log
from dense.engine.runner import build_runner
from dense.engine.settings import Settings, load_config, runner_config
from dense.engine.train import _inherited, train
from dense.errors import ConfigError, WeightsError
from dense.weights.files import read_checkpoint, read_weights


def losses(folder) -> list[float]:
    return [r["loss"] for r in read_log(folder / "log.jsonl") if "loss" in r]


def test_one_picture_is_learnt_by_heart_without_augmentation(toy):
    settings = Settings(work_dir=str(toy.folder / "run"), overfit=1, size=128, max_iters=40, val_interval=20,
                        learning_rate=3e-3, options=[PLAIN])
    cfg = runner_config(load_config(toy.config, settings))
    assert [t.type.__name__ for t in cfg.train_dataloader.dataset.pipeline] == ["LoadPair", "PackCutout"]
    train(toy.config, settings)
    curve = losses(toy.folder / "run")
    assert curve[-1] < 0.5 * curve[0]
    runner = build_runner(cfg, "toy")
    shown = {str(p.image) for loop in (runner.train_loop, runner.val_loop) for p in loop.dataloader.dataset.pairs}
    assert shown == {str(toy.data / "DIS-TR" / "im" / "dis-tr_0.png")}


def test_transforms_named_by_text_are_left_out_of_the_overfit_check_too(toy):
    options = [PLAIN, "train_dataloader.dataset.pipeline=[{'type': 'LoadPair'}, {'type': 'RandomFlip'}, "
                      "{'type': 'PackCutout'}]"]
    cfg = load_config(toy.config, Settings(overfit=1, options=options))
    assert [t["type"] for t in cfg.train_dataloader.dataset.pipeline] == ["LoadPair", "PackCutout"]


@pytest.mark.parametrize("layout", ["published", "data parallel", "best.safetensors"])
def test_fine_tuning_begins_from_the_weights(toy, layout):
    torch.manual_seed(7)
    network = build_model("isnet", width=0.125).network
    path = toy.folder / "isnet.pth"
    if layout == "best.safetensors":
        path = train(toy.config, Settings(work_dir=str(toy.folder / "first"), options=[PLAIN], ema=0.01))
        expected = read_weights(path).tensors
    else:
        prefix = "module." if layout == "data parallel" else ""
        torch.save({prefix + k: v for k, v in network.state_dict().items()}, path)
        expected = network.state_dict()
    settings = Settings(work_dir=str(toy.folder / "tuned"), weights=str(path), options=[PLAIN], max_iters=1,
                        val_interval=1, learning_rate=1e-12)
    train(toy.config, settings)
    tuned = read_checkpoint(toy.folder / "tuned" / "iter_1.pth")["state_dict"]
    for key, value in expected.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(tuned[f"network.{key}"], value, rtol=0, atol=1e-6)


def test_weights_of_another_width_are_refused(toy):
    torch.save(build_model("isnet", width=0.25).network.state_dict(), toy.folder / "wide.pth")
    settings = Settings(work_dir=str(toy.folder / "run"), weights=str(toy.folder / "wide.pth"), options=[PLAIN])
    with pytest.raises(WeightsError, match=r"(?s)wide\.pth.*another shape"):
        train(toy.config, settings)


def test_wrong_weights_are_refused_before_the_prerequisite_is_trained(toy):
    torch.save(build_model("isnet", width=0.25).network.state_dict(), toy.folder / "wide.pth")
    with pytest.raises(WeightsError, match="another shape"):
        train(toy.config, Settings(work_dir=str(toy.folder / "run"), weights=str(toy.folder / "wide.pth")))
    assert not (toy.folder / "run").exists()


def test_a_folder_without_splits_is_trained_and_validated_on_in_both_stages(toy, capsys):
    flat = toy.folder / "own"
    shutil.copytree(toy.data / "DIS-TR" / "im", flat / "images")
    shutil.copytree(toy.data / "DIS-TR" / "gt", flat / "masks")
    settings = Settings(work_dir=str(toy.folder / "run"), data_root=str(flat), max_iters=2, learning_rate=1e-3)
    cfg = load_config(toy.config, settings)
    inherited = _inherited(cfg, toy.config.parent / "toy_encoder.py", settings, toy.folder / "run" / "gt_encoder")
    assert inherited.learning_rate is None  # fine-tuning's is not that of an encoder from scratch
    assert train(toy.config, settings).is_file()
    assert (toy.folder / "run" / "gt_encoder" / "best.safetensors").is_file()
    assert "the same: it says nothing about new pictures" in capsys.readouterr().err


@pytest.mark.parametrize("hooks", ["custom_hooks=[]", "custom_hooks.3={'type': 'TimeBudget', 'seconds': 5}"])
def test_minutes_set_the_time_budget(toy, hooks):
    cfg = load_config(toy.config, Settings(options=[PLAIN, hooks], minutes=2))
    budgets = [h for h in cfg.custom_hooks if type_name(h) == "TimeBudget"]
    assert [h["seconds"] for h in budgets] == [120]
    train(toy.config, Settings(work_dir=str(toy.folder / "run"), options=[PLAIN, hooks], minutes=1e-5, max_iters=900))
    assert json.loads((toy.folder / "run" / "finished.json").read_text())["iterations"] == 1


def test_feature_supervision_can_be_switched_off(toy):
    train(toy.config, Settings(work_dir=str(toy.folder / "run"), feature_supervision=False, max_iters=2))
    assert not (toy.folder / "run" / "gt_encoder").exists()
    assert all("loss_feature" not in r for r in read_log(toy.folder / "run" / "log.jsonl"))


def test_a_given_encoder_skips_the_first_stage_and_stays_as_it_is(toy):
    torch.manual_seed(1)
    encoder = build_model("isnet_gt_encoder", width=0.125).network
    torch.save(encoder.state_dict(), toy.folder / "encoder.pth")
    settings = Settings(work_dir=str(toy.folder / "run"), gt_encoder=str(toy.folder / "encoder.pth"), max_iters=2)
    train(toy.config, settings)
    assert not (toy.folder / "run" / "gt_encoder").exists()
    assert all(r["loss_feature"] > 0 for r in read_log(toy.folder / "run" / "log.jsonl") if "loss" in r)
    runner = build_runner(runner_config(load_config(toy.config, settings)), "toy")
    runner.model.train()
    teacher = runner.model.teacher.network
    assert not teacher.training
    runner.train()
    assert_same(dict(teacher.state_dict()), dict(encoder.state_dict()))


def test_the_prerequisite_takes_data_size_and_width_of_the_config_that_needs_it(toy):
    options = ["model.network.width=0.25", "model.gt_encoder.network.width=0.25", "task.size=(96, 96)"]
    train(toy.config, Settings(work_dir=str(toy.folder / "run"), options=options, max_iters=2))
    encoder = read_weights(toy.folder / "run" / "gt_encoder" / "best.safetensors")
    assert encoder.meta["network"] == {"width": 0.25}
    assert encoder.meta["task"]["size"] == [96, 96]
    assert encoder.meta["iterations"] == 2


def test_a_long_run_does_not_lengthen_its_prerequisite(toy):
    settings = Settings(max_iters=100_000)
    cfg = load_config(toy.config, settings)
    assert _inherited(cfg, toy.config.with_name("toy_encoder.py"), settings, toy.folder).max_iters == 12


def test_settings_reach_what_they_name(toy):
    settings = Settings(batch_size=3, size=96, accumulate=2, ema=0.05, patience=7, workers=1, seed=11,
                        learning_rate=0.25, max_iters=6, val_interval=2, work_dir=str(toy.folder / "run"),
                        options=[PLAIN])
    runner = build_runner(runner_config(load_config(toy.config, settings)), "toy")
    batch = next(iter(runner.train_dataloader))
    assert [tuple(x.shape) for x in batch["inputs"]] == [(3, 96, 96)] * 3
    assert runner.train_dataloader.num_workers == 1
    assert runner.train_dataloader.sampler.seed == runner.train_dataloader.dataset.seed == runner.seed == 11
    assert runner.optim_wrapper._accumulative_counts == 2
    assert runner.optim_wrapper.get_lr()["lr"] == [0.25]
    assert (runner.max_iters, runner.train_loop.val_interval) == (6, 2)
    hooks = {type(h).__name__: h for h in runner.hooks}
    assert hooks["EarlyStopping"].patience == 7
    assert hooks["EMAHook"].ema_cfg["momentum"] == 0.05
    assert hooks["SaveCheckpoint"].interval == 2


def test_accumulated_batches_make_the_step_of_one_large_batch_without_batch_statistics(toy):
    # the loss is a mean and every batch has the same size, so that two halves add up to the whole; the shared
    # statistics of batch normalisation are taken out by evaluating it
    gradients = []
    for batch, counts in ((4, 1), (2, 2)):
        settings = Settings(work_dir=str(toy.folder / f"run{batch}"), batch_size=batch, accumulate=counts, seed=1,
                            options=[PLAIN])
        runner = build_runner(runner_config(load_config(toy.config, settings)), "toy")
        loader = iter(runner.train_dataloader)
        runner.model.eval()
        for _ in range(counts):
            data = runner.model.data_preprocessor(next(loader), True)
            loss, _ = runner.model.parse_losses(runner.model(**data, mode="loss"))
            runner.optim_wrapper.backward(runner.optim_wrapper.scale_loss(loss))
        gradients.append({k: p.grad for k, p in runner.model.named_parameters()})
    for key, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("values", "words"), [
    ({"batch_size": 0}, "batch_size 0"), ({"overfit": -1}, "overfit -1"), ({"workers": -1}, "workers -1"),
    ({"learning_rate": 0.0}, "learning_rate 0.0"), ({"accumulate": 0}, "accumulate 0")])
def test_settings_out_of_range_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        Settings(**values)


def test_an_average_without_a_momentum_is_refused(toy):
    with pytest.raises(ConfigError, match=r"ema=1\.5"):
        runner_config(load_config(toy.config, Settings(ema=1.5, options=[PLAIN])))
