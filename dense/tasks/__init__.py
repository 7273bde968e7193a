"""Tasks: how an input becomes tensors and how raw output becomes a result.

A task is a small frozen dataclass of plain values, so that it can be written into a config, a bundle or
a weights file and read back. Nothing here imports torch or mmengine.
"""
from dense.tasks.cutout import CutoutTask

TASKS = {"cutout": CutoutTask}


def task_from_dict(values: dict) -> CutoutTask:
    """Rebuild a task from ``to_dict()``; raises ``ValueError`` for an unknown kind."""
    values = dict(values)
    kind = values.pop("kind", None)
    if kind not in TASKS:
        raise ValueError(f"unknown task {kind!r}; known: {', '.join(TASKS)}")
    return TASKS[kind](**values)


def as_task(task: CutoutTask | dict | None) -> CutoutTask:
    """A task from itself, from a plain dict (``kind`` or ``type`` optional), or the defaults."""
    if isinstance(task, CutoutTask):
        return task
    values = {k: v for k, v in dict(task or {}).items() if k != "type"}
    return task_from_dict({"kind": "cutout", **values})


__all__ = ["CutoutTask", "as_task", "task_from_dict"]
