"""Runs are repeatable, and an interrupted run goes on as if nothing had happened."""
from __future__ import annotations

import json
import signal
import subprocess

import pytest
import torch
from toy import PLAIN, assert_same, command, environment, last_iteration, run, wait_for

from dense.engine.hooks.checkpoint import saved_checkpoints
from dense.engine.hooks.curves import read_log
from dense.engine.settings import Settings
from dense.engine.train import train
from dense.errors import ConfigError
from dense.weights.files import read_checkpoint, read_weights


def settings(work_dir, *options: str, **values) -> Settings:
    return Settings(work_dir=str(work_dir), options=[PLAIN, *options], **values)


def assert_same_checkpoint(one, other) -> None:
    """Weights, averages, optimiser, generator and counters of two ``iter_N.pth`` are equal to the bit."""
    one, other = read_checkpoint(one), read_checkpoint(other)
    for checkpoint in (one, other):
        checkpoint["message_hub"].pop("trained_seconds", None)
    assert_same(one, other)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(toy):
    best = {name: read_weights(train(toy.config, settings(toy.folder / name, seed=seed))).tensors
            for name, seed in (("one", 3), ("two", 3), ("other", 4))}
    assert_same(best["one"], best["two"])
    assert_same_checkpoint(toy.folder / "one" / "iter_4.pth", toy.folder / "two" / "iter_4.pth")
    assert not torch.equal(best["one"]["conv_in.weight"], best["other"]["conv_in.weight"])


@pytest.mark.slow
def test_a_run_killed_in_each_stage_and_resumed_equals_an_uninterrupted_one(toy):
    arguments = [toy.config, "--ema", "0.01", "--accumulate", "2", "--workers", "1", "--max-iters", "8",
                 "--val-interval", "4", "--seed", "5"]
    whole, broken = toy.folder / "whole", toy.folder / "broken"
    assert run("train", *arguments, "--work-dir", whole).returncode == 0

    for stage in (broken / "gt_encoder", broken):
        process = subprocess.Popen(command("train", *arguments, "--work-dir", broken, "--resume"),
                                   env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(process, lambda stage=stage: (stage / "iter_4.pth").exists() and last_iteration(stage) >= 5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (stage / "iter_8.pth").exists(), "killed too late to show anything"
    done = run("train", *arguments, "--work-dir", broken, "--resume")
    assert done.returncode == 0, done.stderr
    assert "from iter_4.pth on" in done.stderr

    for stage in ("gt_encoder", "."):
        names = [p.name for p in saved_checkpoints(whole / stage)]
        assert names == ["iter_4.pth", "iter_8.pth"] == [p.name for p in saved_checkpoints(broken / stage)]
        for name in names:
            assert_same_checkpoint(whole / stage / name, broken / stage / name)
        one, other = (read_weights(folder / stage / "best.safetensors") for folder in (whole, broken))
        assert_same([one.tensors, one.meta], [other.tensors, other.meta])
        assert read_log(whole / stage / "log.jsonl") == read_log(broken / stage / "log.jsonl")
    rows = [r["iter"] for r in read_log(broken / "log.jsonl") if "loss" in r]
    assert rows == list(range(1, 9))
    assert "ema_state_dict" in read_checkpoint(broken / "iter_8.pth")
    assert "ema_state_dict" not in read_checkpoint(broken / "gt_encoder" / "iter_8.pth")


def test_early_stopping_counts_on_after_a_resume(toy, monkeypatch):
    monkeypatch.setattr("dense.evaluation.metrics.summarise", lambda rows, names: dict.fromkeys(names, 0.5))
    folder = toy.folder / "run"
    every = ["train_cfg.val_interval=1", "default_hooks.checkpoint.interval=1"]
    train(toy.config, settings(folder, *every, patience=3, max_iters=3))
    assert read_checkpoint(folder / "iter_3.pth")["message_hub"]["stopping_waited"] == 2
    (folder / "finished.json").unlink()
    train(toy.config, settings(folder, *every, patience=3, max_iters=50), resume=True)
    # the first validation is the best, three more follow
    assert json.loads((folder / "finished.json").read_text())["iterations"] == 4
    assert saved_checkpoints(folder)[-1].name == "iter_4.pth"
    assert read_checkpoint(folder / "iter_4.pth")["message_hub"]["best_iter"] == 1


@pytest.mark.parametrize("hook", ["custom_hooks.3", "default_hooks.checkpoint"])
def test_a_metric_to_go_by_that_is_not_computed_is_refused(toy, hook):
    with pytest.raises(ConfigError, match=r"monitor 'HCE' is not among the metrics maxF, MAE, IoU"):
        train(toy.config, settings(toy.folder / "run", f"{hook}.monitor=HCE"))


def test_a_time_budget_ends_with_a_validation_and_a_checkpoint(toy):
    folder = toy.folder / "run"
    budget = {"type": "TimeBudget", "seconds": 0.01}
    train(toy.config, settings(folder, f"custom_hooks.3={budget}", max_iters=1000))
    ended = json.loads((folder / "finished.json").read_text())["iterations"]
    assert ended < 1000
    assert saved_checkpoints(folder)[-1].name == f"iter_{ended}.pth"
    assert any(r["iter"] == ended and "val/maxF" in r for r in read_log(folder / "log.jsonl"))
    assert (folder / "best.safetensors").is_file()


def test_time_spent_before_an_interruption_counts(toy):
    folder = toy.folder / "run"
    train(toy.config, settings(folder, "custom_hooks.3={'type': 'TimeBudget', 'seconds': 1000}"))
    spent = read_checkpoint(folder / "iter_4.pth")["message_hub"]["trained_seconds"]
    assert spent > 0
    (folder / "finished.json").unlink()
    train(toy.config, settings(folder, f"custom_hooks.3={{'type': 'TimeBudget', 'seconds': {spent}}}", max_iters=1000),
          resume=True)
    assert json.loads((folder / "finished.json").read_text())["iterations"] == 5


def test_an_earlier_run_is_kept_finished_or_moved_aside_but_never_overwritten(toy, capsys):
    folder = toy.folder / "run"
    best = train(toy.config, settings(folder))
    before, stamp = best.read_bytes(), best.stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"(?s)iter_4\.pth.*--resume.*--fresh.*--work-dir"):
        train(toy.config, settings(folder))
    capsys.readouterr()
    assert train(toy.config, settings(folder), resume=True) == best
    assert "already trained to the end" in capsys.readouterr().err
    assert best.stat().st_mtime_ns == stamp
    train(toy.config, settings(folder, seed=9), fresh=True)
    assert (toy.folder / "run.old1" / "best.safetensors").read_bytes() == before
    assert best.read_bytes() != before


def test_a_finished_run_goes_on_when_more_iterations_are_asked_for(toy):
    short, long = toy.folder / "short", toy.folder / "long"
    train(toy.config, settings(long, max_iters=8))
    train(toy.config, settings(short))
    train(toy.config, settings(short, max_iters=8), resume=True)
    assert json.loads((short / "finished.json").read_text())["iterations"] == 8
    one, other = (read_checkpoint(folder / "iter_8.pth")["state_dict"] for folder in (short, long))
    assert_same(one, other)


def test_a_time_budget_ends_no_accumulation_half_way(toy):
    folder = toy.folder / "run"
    train(toy.config, settings(folder, "custom_hooks.3={'type': 'TimeBudget', 'seconds': 0.001}", max_iters=900,
                               accumulate=3, val_interval=300))
    assert json.loads((folder / "finished.json").read_text())["iterations"] == 3


def test_runs_of_one_process_share_no_counters(toy):
    # mmengine's message hubs are global and named after the second
    for name in ("one", "two"):
        train(toy.config, settings(toy.folder / name, max_iters=2))
    hubs = [read_checkpoint(toy.folder / name / "iter_2.pth")["message_hub"] for name in ("one", "two")]
    assert hubs[0] == hubs[1]
    assert hubs[0]["best_iter"] == 2


def test_a_checkpoint_interval_that_splits_an_accumulation_is_refused(toy):
    with pytest.raises(ConfigError, match="not a multiple of accumulate=4"):
        train(toy.config, settings(toy.folder / "run", accumulate=4))
