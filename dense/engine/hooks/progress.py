"""What a person sees while training and testing: a bar with time left, or plain lines in a log file."""
from __future__ import annotations

import sys

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from dense.progress import Meter
from dense.registry import HOOKS


@HOOKS.register_module()
class Progress(Hook):
    """A progress bar on a terminal; elsewhere a line every ``seconds``.

    Shows loss, speed and time left in training, and pictures done in validation and test.
    """

    priority = "BELOW_NORMAL"

    def __init__(self, seconds: float = 15.0):
        self.seconds = seconds
        self.meter: Meter | None = None
        self.what = ""

    def _start(self, total: int, done: int, what: str) -> None:
        self._stop()
        self.what = what
        if is_main_process():
            self.meter = Meter(what, total, done, self.seconds)

    def _step(self, done: int, info: str = "", limit: float = float("inf")) -> None:
        if self.meter is not None:
            self.meter.step(done, info, limit)

    def _stop(self) -> None:
        if self.meter is not None:
            self.meter.stop()
            self.meter = None

    def before_train(self, runner) -> None:
        self._start(runner.max_iters, runner.iter, "train")

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.what != "train":  # back from a validation
            self._start(runner.max_iters, runner.iter, "train")
        loss = (outputs or {}).get("loss")
        budget = next((h.seconds_left() for h in runner.hooks if hasattr(h, "seconds_left")), float("inf"))
        self._step(runner.iter + 1, f"loss {float(loss.detach()):.4f}" if loss is not None else "", budget)

    def before_val_epoch(self, runner) -> None:
        self._stop()
        self._start(len(runner.val_dataloader), 0, "validate")

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._step(batch_idx + 1)

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        self._stop()
        if is_main_process() and metrics:
            text = "  ".join(f"{k} {v:.4g}" for k, v in metrics.items()
                             if isinstance(v, int | float) and "." not in k)  # those of single classes are in the log
            iteration = f"iteration {runner.iter}: " if runner._train_loop is not None else ""
            print(f"{iteration}{text}", file=sys.stderr, flush=True)

    def before_test_epoch(self, runner) -> None:
        self._stop()
        self._start(len(runner.test_dataloader), 0, "test")

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._step(batch_idx + 1)

    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        self._stop()

    def after_train(self, runner) -> None:
        self._stop()

    def after_run(self, runner) -> None:
        self._stop()
