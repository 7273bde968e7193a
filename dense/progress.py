"""What a person sees while something long runs: a bar with time left, or plain lines in a log file."""
from __future__ import annotations

import sys
import time
from types import TracebackType


class Meter:
    """A progress bar on a terminal; elsewhere a line every ``seconds``. Written to the standard error.

    what: said in front. total: steps in all, None where that is not known. done: of these, what earlier runs did.
    """

    def __init__(self, what: str, total: int | None, done: int = 0, seconds: float = 15.0):
        self.what, self.total, self.first, self.seconds = what, total, done, seconds
        self.begun, self.printed = time.monotonic(), 0.0
        self.within: tuple[str, int] | None = None  # the step that parts were told of, and how many
        self.bar = self._bar() if sys.stderr.isatty() else None

    def _bar(self):
        try:
            from rich import progress as rich
            from rich.console import Console
        except ImportError:  # lines will do
            return None
        bar = rich.Progress(
            rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn(),
            rich.TimeElapsedColumn(), rich.TextColumn("left"), rich.TimeRemainingColumn(),
            rich.TextColumn("{task.fields[info]}"), console=Console(stderr=True), transient=True)
        bar.start()
        self.task = bar.add_task(self.what, total=self.total, completed=self.first, info="")
        return bar

    def step(self, done: int, info: str = "", limit: float = float("inf")) -> None:
        """``done`` steps are over; ``limit``: seconds after which it ends in any case."""
        if self.bar is not None:
            if limit < float("inf"):
                info += f"  at most {clock(limit)}"
            self.bar.update(self.task, completed=done, info=info)
            return
        now = time.monotonic()
        if now - max(self.printed, self.begun) >= self.seconds or done == self.total:
            self.printed = now
            if self.total is not None:
                left = min(limit, (now - self.begun) / max(1, done - self.first) * (self.total - done))
                done = f"{done}/{self.total}, {clock(left)} left"
            print(f"{self.what} {done}  {info}".rstrip(), file=sys.stderr, flush=True)

    def part(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` parts of the present step are over; ``what``: it and its parts. The time left is that
        of this step."""
        now = time.monotonic()
        if self.within is None or self.within[0] != what or done < self.within[1]:
            self.begun_within = now, done  # the first part began before it was told of
            if self.bar is not None:
                if self.within is not None:
                    self.bar.remove_task(self.within_task)
                self.within_task = self.bar.add_task(f"  {what}", total=total, completed=done, info="")
        self.within = what, done
        if self.bar is not None:
            self.bar.update(self.within_task, completed=done)
        elif now - max(self.printed, self.begun) >= self.seconds:
            self.printed = now
            begun, before = self.begun_within
            left = f", {clock((now - begun) / (done - before) * (total - done))} left" if done > before else ""
            print(f"{what} {done}/{total}{left}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
