"""How far a run is: a bar with the time left on a terminal, a line now and then elsewhere."""
from __future__ import annotations

import sys
import time


class Progress:
    """Shows ``done`` of ``total`` (None: unknown) on standard error; a context manager."""

    def __init__(self, what: str, total: int | None, every: float = 15.0):
        self.what, self.total, self.every, self.done, self.failed = what, total, every, 0, 0
        self._begun = self._printed = time.monotonic()
        self._bar = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and self.total != 1:
            try:
                from rich.console import Console
                from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            except ImportError:
                return self
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                                 TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[info]}"),
                                 console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total, info="")
        return self

    def step(self, failed: bool = False) -> None:
        """One more is done."""
        self.done += 1
        self.failed += failed
        info = f"{self.failed} failed" if self.failed else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, info=info)
            return
        now = time.monotonic()
        if now - self._printed >= self.every:
            self._printed = now
            of = ""
            if self.total:
                left = (now - self._begun) / self.done * (self.total - self.done)
                of = f"/{self.total}, {int(left) // 60}:{int(left) % 60:02} left"
            print(f"{self.what} {self.done}{of}  {info}".rstrip(), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.stop()
