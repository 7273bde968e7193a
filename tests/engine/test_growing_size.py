"""Smaller batches until the given share of the training, by iterations or by time."""
from __future__ import annotations

import pytest
from mmengine.hooks import Hook
from toy import PLAIN

from dense.engine.hooks import GrowingSize, TimeBudget
from dense.engine.runner import build_runner
from dense.engine.settings import Settings, load_config, runner_config
from dense.errors import ConfigError


def sizes(toy, *hooks) -> list[int]:
    """Side of the batches that the network saw, of the six iterations and then of the validation."""
    seen = []

    class Watch(Hook):
        def before_run(self, runner) -> None:
            runner.model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))

    settings = Settings(work_dir=str(toy.folder / "run"), size=96, max_iters=6, val_interval=6, options=[PLAIN])
    cfg = runner_config(load_config(toy.config, settings))
    cfg.custom_hooks = []
    runner = build_runner(cfg, "toy")
    for hook in (Watch(), *hooks):
        runner.register_hook(hook)
    runner.train()
    return seen


def test_the_share_counts_iterations_and_validation_keeps_its_size(toy):
    assert sizes(toy, GrowingSize(scale=2 / 3, until=0.5)) == [64] * 3 + [96] * 3 + [96] * 3


def test_the_share_counts_time_where_a_budget_ends_the_run(toy):
    class Clock(TimeBudget):
        def seconds_left(self) -> float:
            return self.seconds * (1 - 0.25 * iterations.pop(0))

    iterations = [0, 0, 1, 1, 3, 3, 3, 3, 3, 3, 3, 3]  # asked before and after each
    assert sizes(toy, GrowingSize(scale=0.3, until=0.2), Clock(100)) == [32, 96, 96, 96, 96, 96, 96, 96, 96]


@pytest.mark.parametrize("settings", [{"scale": 0}, {"scale": 1.5}, {"until": 2}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="GrowingSize"):
        GrowingSize(**settings)
