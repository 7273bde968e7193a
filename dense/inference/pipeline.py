"""From a source through the network to results: decoding, network and encoding at the same time, in order.

The network runs in the caller's thread, so that Ctrl-C is obeyed; a pool decodes what comes and finishes (alpha,
encoding, writing) what went. All waiting lines are bounded.
"""
from __future__ import annotations

import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from dense.errors import DenseError, ImageError
from dense.inference.network import Network
from dense.inference.results import Result, make_result
from dense.inference.sinks import ends_the_run
from dense.inference.sources import IDLE, Item
from dense.io import Picture
from dense.tasks import Task
from dense.tasks.base import Output
from dense.tasks.plan import Plan

BYTES_A_PIXEL = 24  # of one picture on its way: RGB, alpha in float, RGBA, the encoded file, temporaries
LOOK_AHEAD = 4  # batches among which pictures of one size are looked for, where sizes differ


@dataclass(frozen=True)
class Failure:
    """An input that was not done, and why."""

    source: str
    reason: str


@dataclass(eq=False)
class Work:
    """One picture on its way."""

    item: Item
    cost: int = 0
    picture: Picture | None = None
    image: np.ndarray | None = None  # what the task makes of the picture
    plan: Plan | None = None
    tensor: np.ndarray | None = None
    output: Output | None = None
    answer: np.ndarray | None = None
    seconds: float = 0.0
    outcome: Any = None
    failure: Failure | None = None

    def fail(self, error: Exception) -> None:
        """Give up this picture and let go of its arrays. An unexpected error fails it too, not the others."""
        text = str(error) or type(error).__name__
        if not isinstance(error, DenseError | MemoryError):
            text = f"{type(error).__name__}: {text} (unexpected, please report it; DENSE_TRACEBACK=1 shows more)"
            if os.environ.get("DENSE_TRACEBACK"):
                traceback.print_exception(error)
        self.failure = Failure(self.item.name, text.removeprefix(f"{self.item.name}: "))
        self.picture = self.image = self.tensor = self.output = self.answer = None


@dataclass(frozen=True)
class Pipeline:
    """What is done with each picture.

    mode: of the task, None takes its usual one.
    then: called in the pool with (result, item), what it returns is the outcome; None: the result itself.
    jobs: threads that decode and encode. memory: bytes that the pictures on their way may take (estimated at
    ``BYTES_A_PIXEL``); a picture above it alone is refused if ``strict``, else done alone.
    """

    task: Task
    network: Network
    mode: str | None = None
    jobs: int = 2
    memory: int = 1 << 31
    strict: bool = False
    then: Callable[[Result, Item], Any] | None = None

    def run(self, items: Iterable) -> Iterator[Work]:
        """Finished works in the order of the items; those that failed have a ``failure``.

        Closing the iterator, and any exception, lets running writes finish and begins no other.
        """
        pool = ThreadPoolExecutor(self.jobs, thread_name_prefix="dense")
        used = [0]
        try:
            loaded = in_order(self._load, self._admit(items, used), pool, self.network.batch + self.jobs)
            for work in in_order(self._finish, self._predict(loaded), pool, self.network.batch + self.jobs):
                if work is IDLE:
                    continue
                yield work
                used[0] -= work.cost
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _admit(self, items: Iterable, used: list[int]) -> Iterator:
        """Works whose pictures fit into memory beside those on their way; else those are finished first."""
        for item in items:
            if item is IDLE:
                yield IDLE
                continue
            work = Work(item, BYTES_A_PIXEL * item.count_pixels())
            if self._is_too_large(work):
                work.cost = 0
            elif used[0] and used[0] + work.cost > self.memory:
                yield IDLE
            used[0] += work.cost
            yield work

    def _is_too_large(self, work: Work) -> bool:
        """Gives up a picture that alone is above a limit that was asked for."""
        if not self.strict or work.cost <= self.memory:
            return False
        work.fail(ImageError(f"needs about {work.cost / 2**20:.0f} MiB, above the limit of {self.memory / 2**20:.0f} "
                             "MiB; shrink the picture or raise --max-memory"))
        return True

    def _load(self, work: Work) -> Work:
        begin = time.perf_counter()
        if work.failure is None:
            try:
                work.picture = work.item.load()
                work.image = self.task.inputs(work.picture)
                work.plan = self.task.plan_for(work.image, self.mode or self.task.modes[0])
                self.network.check_size(work.plan.size)
                if work.plan.overview is not None:
                    work.tensor = self.task.tensor(work.image, work.plan)
            except Exception as error:
                work.fail(error)
        work.seconds += time.perf_counter() - begin
        return work

    def _predict(self, works: Iterable) -> Iterator:
        """Runs the network on batches of pictures whose tensors have one size."""
        waiting: list[Work] = []
        for work in works:
            if work is not IDLE:
                waiting.append(work)
            sizes = [w.plan.size for w in waiting if w.failure is None]
            enough = self.network.batch * (LOOK_AHEAD if self.network.batch > 1 and len(set(sizes)) > 1 else 1)
            if work is IDLE or len(sizes) >= enough:
                self._predict_all(waiting)
                yield from waiting
                waiting = []
            if work is IDLE:
                yield IDLE
        self._predict_all(waiting)
        yield from waiting

    def _predict_all(self, works: list[Work]) -> None:
        sizes: dict[tuple[int, int], list[Work]] = {}
        for work in works:
            if work.failure is None and work.tensor is not None:
                sizes.setdefault(work.plan.size, []).append(work)
        for group in sizes.values():
            begin = time.perf_counter()
            try:
                outputs = self.network([w.tensor for w in group])
            except DenseError as error:  # a single one does not fit
                for work in group:
                    work.fail(error)
                continue
            share = (time.perf_counter() - begin) / len(group)
            for work, output in zip(group, outputs, strict=True):
                work.output, work.tensor = output, None
                work.seconds += share
        for work in works:
            if work.failure is None and (work.plan.tiles or work.plan.overview is None):
                self._finish_with(work, self._run_finite)

    def _run_finite(self, tensors: Iterable[np.ndarray]) -> list[Output]:
        outputs = self.network(tensors)
        for output in outputs:
            check_finite(output)
        return outputs

    def _finish_with(self, work: Work, run_all: Callable) -> None:
        """From the outputs to the answer; further windows are run by ``run_all``."""
        begin = time.perf_counter()
        try:
            if work.output is not None:
                check_finite(work.output)
            work.answer = self.task.finish(work.image, work.plan, work.output, run_all)
            work.output = work.image = None
        except Exception as error:
            work.fail(error)
        work.seconds += time.perf_counter() - begin

    def _finish(self, work: Work) -> Work:
        if work.failure is None and work.answer is None:
            self._finish_with(work, _no_more_windows)
        return finish_work(work, self.task, self.then)


def finish_work(work: Work, task: Task, then: Callable[[Result, Item], Any] | None) -> Work:
    """Make the result of the answer, and the outcome of the result; nothing where the work failed.

    then: called with (result, item), what it returns is the outcome; None: the result itself. Errors fail the work, but
    for those that end the run.
    """
    if work.failure is not None:
        return work
    begin = time.perf_counter()
    try:
        result = make_result(task, work.picture, work.answer, work.item.name, work.seconds)
        work.picture = work.answer = None
        work.outcome = then(result, work.item) if then else result
    except Exception as error:
        if isinstance(error, DenseError) and ends_the_run(error):
            raise
        work.fail(error)
    work.seconds += time.perf_counter() - begin
    return work


def check_finite(output: Output) -> None:
    """DenseError if an output holds NaN or infinity."""
    values = output.values() if isinstance(output, Mapping) else (output,)
    if not all(np.isfinite(v).all() for v in values):
        raise DenseError("the network's output is not finite (NaN or infinity); dense verify names the layer")


def _no_more_windows(tensors: Iterable[np.ndarray]) -> list[Output]:
    """``run_all`` for plans without windows beyond the overview: those that have some are finished elsewhere."""
    if any(True for _ in tensors):
        raise RuntimeError("a task asked for windows that its plan does not have")
    return []


def in_order(function: Callable, values: Iterable, pool: Executor, ahead: int) -> Iterator:
    """``function`` of each value, worked out in the pool, in order, ``ahead`` of them begun before they are asked for.

    ``IDLE`` is passed on, after everything before it.
    """
    begun: deque = deque()
    for value in values:
        if value is IDLE:
            while begun:
                yield begun.popleft().result()
            yield IDLE
            continue
        begun.append(pool.submit(function, value))
        if len(begun) > ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def default_jobs() -> int:
    """Threads that decode and encode beside the network: two to four."""
    return max(2, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2))


def default_memory() -> int:
    """Bytes for pictures on their way: a quarter of the machine's memory, at most 4 GiB."""
    try:
        return min(1 << 32, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
    except (AttributeError, ValueError, OSError):
        return 1 << 31
