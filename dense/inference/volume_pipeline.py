"""From a source through the network to results, for volumes: one after the other, the next one read meanwhile.

A volume fills memory and keeps the network busy for long, so that nothing is gained by several at a time. The network
runs in the caller's thread, so that Ctrl-C is obeyed; beside it the next volume is read and the one before is written,
where they are small enough.
"""
from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dense.errors import DenseError, ImageError
from dense.inference.network import Network
from dense.inference.pipeline import Work, finish_work
from dense.inference.probabilities import Probabilities
from dense.inference.results import Result
from dense.inference.sinks import ends_the_run
from dense.inference.sources import IDLE, Item
from dense.tasks.volume import VolumeTask

Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class VolumePipeline:
    """What is done with each volume.

    mode: of the task, None takes its usual one. max_memory: bytes for what is kept beside the network and the volume's
    values, None leaves it to the task. half: sums over patches in float16. ahead: bytes that volumes which are read or
    written beside the network may take.
    then: called in a thread with (result, item), what it returns is the outcome; None: the result itself.
    say: called with (name, patches done, patches in all). probabilities: 'float16' or 'float32' keeps them, in a
    temporary file in ``folder``.
    """

    task: VolumeTask
    network: Network
    mode: str | None = None
    max_memory: int | None = None
    half: bool = False
    ahead: int = 1 << 30
    then: Callable[[Result, Item], Any] | None = None
    say: Say | None = None
    probabilities: str | None = None
    folder: Path | None = None

    def run(self, items: Iterable) -> Iterator[Work]:
        """Finished works in the order of the items; those that failed have a ``failure``.

        Closing the iterator, and any exception, lets a running write finish and begins no other.
        """
        pool = ThreadPoolExecutor(2, thread_name_prefix="dense")
        writing: Future | None = None
        try:
            for work in self._read(items, pool):
                try:
                    self._segment(work)
                except KeyboardInterrupt:
                    if writing is not None:
                        yield writing.result()  # it is finished: let it be counted
                    raise
                if writing is not None:
                    yield writing.result()
                    writing = None
                if work.failure is None and self.then is not None and work.cost <= self.ahead:
                    writing = pool.submit(finish_work, work, self.task, self.then)
                else:
                    yield finish_work(work, self.task, self.then)
            if writing is not None:
                yield writing.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, items: Iterable, pool: Executor) -> Iterator[Work]:
        """Works with their volumes, the next one begun before it is asked for where both are small enough."""
        begun: deque[tuple[Work, Future]] = deque()
        for item in items:
            if item is IDLE:
                continue
            work = Work(item, item.size())
            if begun and begun[0][0].cost + work.cost > self.ahead:
                yield begun.popleft()[1].result()
            begun.append((work, pool.submit(self._load, work)))
            if len(begun) > 1:
                yield begun.popleft()[1].result()
        while begun:
            yield begun.popleft()[1].result()

    def _load(self, work: Work) -> Work:
        begin = time.perf_counter()
        try:
            work.picture = work.item.load()
            self._check_channels(work)
        except Exception as error:
            work.fail(error)
        work.seconds += time.perf_counter() - begin
        return work

    def _check_channels(self, work: Work) -> None:
        have, need = len(work.picture.values), self.task.channels
        if have != len(need):
            remedy = f"files called CASE_0000.nii.gz to CASE_{len(need) - 1:04}.nii.gz, or one 4-D file" \
                if len(need) > 1 else "a file for each, or the network that was made for them"
            raise ImageError(f"{work.item.name}: has {have} channel{'s' * (have > 1)}, the network takes {len(need)} "
                             f"({', '.join(need)}). Remedy: {remedy}")

    def _segment(self, work: Work) -> None:
        if work.failure is not None:
            return
        begin, volume = time.perf_counter(), work.picture
        try:
            kept = None if self.probabilities is None else Probabilities(
                len(self.task.classes), volume.shape, self.probabilities, self.folder)
            say = None if self.say is None else lambda done, total: self.say(work.item.name, done, total)
            labels = self.task.segment(volume.values, volume.spacing, self.network, self.mode, self.network.batch,
                                       self.max_memory, kept, say, self.half)
            work.answer = labels if kept is None else (labels, kept)
        except Exception as error:
            if isinstance(error, DenseError) and ends_the_run(error):
                raise
            work.fail(error)
        work.seconds += time.perf_counter() - begin
