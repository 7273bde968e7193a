"""When to stop before the last iteration."""
from __future__ import annotations

import time

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook

from dense.engine.hooks.checkpoint import better, monitored, trains
from dense.registry import HOOKS


@HOOKS.register_module()
class EarlyStopping(Hook):
    """Stops after ``patience`` validations in a row without improvement of ``monitor``.

    The count lives in the checkpoint: a resumed run stops where the uninterrupted one would.
    """

    priority = "LOW"  # before checkpoints are written, so that they hold the count

    def __init__(self, monitor: str = "maxF", patience: int = 20, rule: str = "greater"):
        self.monitor, self.patience, self.rule = monitor, patience, rule

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if not trains(runner):
            return
        value, info, hub = monitored(metrics, self.monitor, self), runner.message_hub.runtime_info, runner.message_hub
        if better(value, info.get("stopping_best"), self.rule):
            hub.update_info("stopping_best", float(value))
            hub.update_info("stopping_waited", 0)
            return
        waited = info.get("stopping_waited", 0) + 1
        hub.update_info("stopping_waited", waited)
        if waited >= self.patience:
            runner.train_loop.stop_training = True
            runner.logger.info(f"stopped: {waited} validations without a better {self.monitor}")


@HOOKS.register_module()
class TimeBudget(Hook):
    """Ends training after ``seconds`` of wall-clock time, with a validation and a checkpoint.

    anneal: over this last share of the time the learning rate falls linearly to a hundredth; 0 leaves it.
    The time of a run that was interrupted counts too. Every process stops at the same iteration, never within an
    accumulation. How far a run comes, and with ``anneal`` its rates, depend on the machine: for results that repeat,
    set max_iters instead.
    """

    def __init__(self, seconds: float, anneal: float = 0.0):
        self.seconds, self.anneal = seconds, anneal

    def before_train(self, runner) -> None:
        self.begun = time.monotonic()
        self.before = runner.message_hub.runtime_info.get("trained_seconds", 0.0)
        self.factor = runner.message_hub.runtime_info.get("budget_factor", 1.0)

    def _spent(self) -> float:
        return self.before + time.monotonic() - self.begun

    def seconds_left(self) -> float:
        """Wall-clock seconds until the end, for those who show progress."""
        return max(0.0, self.seconds - self._spent())

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if self.anneal:
            factor = max(0.01, min(1.0, self.seconds_left() / (self.anneal * self.seconds)))
            for group in runner.optim_wrapper.param_groups:
                group["lr"] *= factor / self.factor
            self.factor = factor
            runner.message_hub.update_info("budget_factor", factor)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        runner.message_hub.update_info("trained_seconds", self._spent())
        whole = (batch_idx + 1) % getattr(runner.optim_wrapper, "_accumulative_counts", 1) == 0
        over = torch.tensor(float(whole and self.seconds_left() <= 0))
        broadcast(over)
        if over and runner.iter + 1 < runner.max_iters:
            # the loop then validates and saves as at its regular end
            runner.train_loop._max_iters = runner.iter + 1
            runner.logger.info(f"stopped: the time budget of {self.seconds:.0f} s is used up")
