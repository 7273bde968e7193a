"""What every task has in common: plan, tensors, finish.

A task is a frozen dataclass of plain values, so that it can be written into a config, a bundle or a weights file and
read back. Nothing here imports torch or mmengine.
"""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, ClassVar

import numpy as np

from dense.io import Picture
from dense.tasks.plan import Plan, Window

Forward = Callable[[np.ndarray], Any]
Output = np.ndarray | Mapping[str, np.ndarray]
RunAll = Callable[[Iterable[np.ndarray]], Sequence[Output]]

TASKS: dict[str, type[Task]] = {}
"""Task classes by kind."""


class Task(ABC):
    """How an input becomes tensors, and how raw output becomes an answer.

    kind: the name that configs and bundles know it by; modes: what ``plan`` takes, the usual one first; fixed_mode: the
    usual one for networks that take ``size`` only, if that is another. takes_mask: whether it needs ``Picture.mask``.
    size: (height, width) that the network is usually fed; of volumes (depth, height, width).

    A network in use takes a batch float32 (N, C, h, w) and gives one output (N, ...), or several by name. What is
    called an output here is that of one window: an array, or a mapping of arrays, without the axis of the batch.

    Of volumes the same holds in three dimensions: ``inputs`` takes a ``dense.io.volume.Volume``, ``image`` is what that
    gives (``Prepared``), windows are ``Box``es, and (N, C, d, h, w) are fed. Their plans have no overview.
    """

    kind: ClassVar[str]
    modes: ClassVar[tuple[str, ...]]
    fixed_mode: ClassVar[str | None] = None
    takes_mask: ClassVar[bool] = False
    size: tuple[int, ...]

    def to_dict(self) -> dict:
        """Plain values (JSON) that ``task_from_dict`` reads back."""
        return {"kind": self.kind, **{k: _plain(v) for k, v in asdict(self).items()}}

    def check_mode(self, mode: str) -> None:
        """ValueError if there is no such mode."""
        if mode not in self.modes:
            raise ValueError(f"mode must be one of {', '.join(self.modes)}, not {mode!r}")

    def inputs(self, picture: Picture) -> np.ndarray:
        """The array that the methods below call ``image``: the pixels, uint8 RGB (H, W, 3), with more channels where a
        task needs more than a picture. ImageError where the picture lacks it."""
        return picture.pixels

    @abstractmethod
    def plan(self, shape: tuple[int, int], mode: str) -> Plan:
        """Which windows of a picture of ``shape`` (H, W) are fed, and at which size."""

    def plan_for(self, image: np.ndarray, mode: str) -> Plan:
        """The plan of one picture; tasks whose windows depend on more than its shape have their own."""
        return self.plan(image.shape[:2], mode)

    @abstractmethod
    def tensor(self, image: np.ndarray, plan: Plan | None = None, window: Window | None = None) -> np.ndarray:
        """What a network in use is fed for one window of the plan, float32 (C, h, w); the overview by default."""

    @abstractmethod
    def finish(self, image: np.ndarray, plan: Plan, overview: Output | None, run_all: RunAll) -> np.ndarray:
        """The answer at the picture's resolution.

        overview: output for the plan's overview, None where it has none. run_all: outputs of further tensors, which
        are made as they are asked for, in batches of its own choice.
        """

    def run(self, image: np.ndarray, forward: Forward, mode: str | None = None, batch: int = 1) -> np.ndarray:
        """The answer for one picture (see ``inputs``) by a function of batches; see the class."""
        plan = self.plan_for(image, mode or self.modes[0])

        def run_all(tensors: Iterable[np.ndarray]) -> Sequence[Output]:
            return forward_in_batches(tensors, forward, batch)

        overview = None if plan.overview is None else run_all([self.tensor(image, plan)])[0]
        return self.finish(image, plan, overview, run_all)


def register_task(task: type[Task]) -> type[Task]:
    """Class decorator: makes a task known by its kind."""
    if TASKS.setdefault(task.kind, task) is not task:
        raise KeyError(f"the kind of task {task.kind!r} is taken")
    return task


def task_from_dict(values: dict) -> Task:
    """Rebuild a task from ``to_dict()``; ValueError for an unknown kind, and for entries that the kind lacks."""
    values = dict(values)
    kind = values.pop("kind", None)
    if kind not in TASKS:
        raise ValueError(f"unknown task {kind!r}; known: {', '.join(TASKS)}")
    known = [f.name for f in fields(TASKS[kind])]
    if unknown := [k for k in values if k not in known]:
        raise ValueError(f"the task {kind} has no entry {', '.join(map(repr, unknown))}; it has {', '.join(known)}")
    return TASKS[kind](**values)


def as_task(task: Task | Mapping | None, kind: str = "cutout") -> Task:
    """A task from itself, from a plain dict, or the defaults of ``kind``.

    A dict may name its kind by ``kind``, or by ``type``, the class or its name, as configs do; ``kind`` is the default.
    """
    if isinstance(task, Task):
        return task
    values = dict(task or {})
    named = values.pop("type", None)
    names = {t if isinstance(named, type) else t.__name__: k for k, t in TASKS.items()}
    return task_from_dict({"kind": names.get(named, kind), **values})


def forward_in_batches(tensors: Iterable[np.ndarray], forward: Forward, batch: int = 1) -> list[Output]:
    """``forward`` of single tensors (C, h, w), ``batch`` at a time; outputs one by one, in order."""
    outputs: list[Output] = []
    waiting: list[np.ndarray] = []

    def flush() -> None:
        outputs.extend(each_output(forward(np.stack(waiting))))
        waiting.clear()

    for tensor in tensors:
        if waiting and tensor.shape != waiting[0].shape:
            flush()
        waiting.append(tensor)
        if len(waiting) == batch:
            flush()
    if waiting:
        flush()
    return outputs


def each_output(batch: np.ndarray | Mapping[str, np.ndarray] | list[Output]) -> list[Output]:
    """The outputs of a batch, window by window."""
    if isinstance(batch, list):
        return batch
    if isinstance(batch, Mapping):
        return [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    return list(np.asarray(batch))


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
