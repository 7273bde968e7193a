"""Work on many items over the cores, by processes that may die without taking the run with them."""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for
from threading import Thread
from typing import Any, NamedTuple

from dense.errors import DenseError

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Died(NamedTuple):
    """In place of a result: the process that worked on the item ended without one, twice."""

    item: Any


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work(function: Callable[[Any], Any], chunks: Sequence[Sequence[Any]], jobs: int) -> Iterator[Any]:
    """Results of ``function(item)`` for all items of all chunks, in the order in which they are ready.

    Args:
        function: of a module (processes are started afresh and import it); picklable, as items and results.
        chunks: what is handed to a process at once, begun in this order.
        jobs: processes; 1 works in this one. OpenCV and the linear algebra use one thread in each.

    Yields:
        A result, or :class:`Died` for an item whose process ended when it was alone with it.

    Raises:
        DenseError: no process can be started. What ``function`` raises passes through.
    """
    if jobs <= 1:
        with _one_thread():
            for chunk in chunks:
                yield from map(function, chunk)
        return
    todo = deque(chunks)
    while todo:
        lost: list[Sequence[Any]] = []
        yield from _run(function, todo, min(jobs, len(todo)), lost)
        if lost:  # one of these ended its process; alone it is known which
            suspects = deque([item] for chunk in lost for item in chunk)
            while suspects:
                guilty: list[Sequence[Any]] = []
                yield from _run(function, suspects, 1, guilty)
                yield from (Died(item) for chunk in guilty for item in chunk)


def _run(
    function: Callable[[Any], Any], todo: deque[Sequence[Any]], jobs: int, lost: list[Sequence[Any]]
) -> Iterator[Any]:
    """Results until ``todo`` is empty or a process dies; then the chunks that were begun are in ``lost``."""
    ahead = jobs + 1 if jobs > 1 else 1  # no more than that is waited for after Ctrl-C
    with _pool(jobs) as pool:
        running: dict[Future, Sequence[Any]] = {}
        while todo or running:
            while todo and len(running) < ahead and not lost:
                chunk = todo.popleft()
                try:
                    with _undisturbed():
                        running[pool.submit(_map, function, chunk)] = chunk
                except BrokenProcessPool:
                    lost.append(chunk)
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                chunk = running.pop(future)
                try:
                    results = future.result()
                except BrokenProcessPool:
                    lost.append(chunk)
                else:
                    yield from results


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    with _environment():
        pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin)
        try:
            with _undisturbed():
                first = pool.submit(os.getpid)
            try:
                first.result()
            except BrokenProcessPool as error:
                script = os.path.basename(sys.argv[0]) or "the script"
                raise DenseError(
                    f"the worker processes end as soon as they start; if {script} is yours, keep what it does "
                    'under `if __name__ == "__main__":`, or work in one process (--jobs 1)'
                ) from error
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _map(function: Callable[[Any], Any], chunk: Sequence[Any]) -> list[Any]:
    return [function(item) for item in chunk]


def _begin() -> None:
    """In a new process: Ctrl-C is the parent's business, and without the parent there is nothing to do."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    parent = parent_process()
    if parent is not None:
        Thread(target=lambda: (wait_for([parent.sentinel]), os._exit(1)), daemon=True).start()


@contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _one_thread() -> Iterator[None]:
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes that start meanwhile never see Ctrl-C, not even before `_begin`; ours comes afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        with suppress(ValueError):
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
