"""When to stop before the last iteration."""
from __future__ import annotations

import time

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook

from dense.engine.hooks.checkpoint import better
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
        if metrics is None or self.monitor not in metrics:
            return
        info, hub = runner.message_hub.runtime_info, runner.message_hub
        if better(metrics[self.monitor], info.get("stopping_best"), self.rule):
            hub.update_info("stopping_best", float(metrics[self.monitor]))
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

    The time of a run that was interrupted counts too. Every process stops at the same iteration.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds

    def before_train(self, runner) -> None:
        self.begun = time.monotonic()
        self.before = runner.message_hub.runtime_info.get("trained_seconds", 0.0)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        spent = self.before + time.monotonic() - self.begun
        runner.message_hub.update_info("trained_seconds", spent)
        over = torch.tensor(float(spent >= self.seconds))
        broadcast(over)
        if over and runner.iter + 1 < runner.max_iters:
            # the loop then validates and saves as at its regular end
            runner.train_loop._max_iters = runner.iter + 1
            runner.logger.info(f"stopped: the time budget of {self.seconds:.0f} s is used up")
