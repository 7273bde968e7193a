"""What a person sees while training and testing: a bar with time left, or plain lines in a log file."""
from __future__ import annotations

import sys
import time

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from dense.registry import HOOKS


@HOOKS.register_module()
class Progress(Hook):
    """A progress bar on a terminal; elsewhere a line every ``seconds``.

    Shows loss, speed and time left in training, and pictures done in validation and test.
    """

    priority = "BELOW_NORMAL"

    def __init__(self, seconds: float = 15.0):
        self.seconds = seconds
        self.bar = self.bar_task = None

    def _start(self, total: int, done: int, what: str) -> None:
        self.total, self.what, self.begun, self.first, self.printed = total, what, time.monotonic(), done, 0.0
        if not is_main_process() or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.bar = Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                       TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[info]}"),
                       console=Console(stderr=True), transient=True)
        self.bar.start()
        self.bar_task = self.bar.add_task(what, total=total, completed=done, info="")

    def _step(self, done: int, info: str = "", limit: float = float("inf")) -> None:
        if self.bar is not None:
            if limit < float("inf"):
                info += f"  at most {_clock(limit)}"
            self.bar.update(self.bar_task, completed=done, info=info)
        elif is_main_process():
            now = time.monotonic()
            if now - max(self.printed, self.begun) >= self.seconds or done == self.total:
                self.printed = now
                left = min(limit, (now - self.begun) / max(1, done - self.first) * (self.total - done))
                print(f"{self.what} {done}/{self.total}, {_clock(left)} left  {info}".rstrip(),
                      file=sys.stderr, flush=True)

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

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
            text = "  ".join(f"{k} {v:.4g}" for k, v in metrics.items() if isinstance(v, int | float))
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


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
