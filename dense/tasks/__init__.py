"""Tasks: how an input becomes tensors and how raw output becomes a result.

A task is a small frozen dataclass of plain values, so that it can be written into a config, a bundle or
a weights file and read back. Nothing here imports torch or mmengine.
"""
from dense.tasks.base import TASKS, Task, as_task, register_task, task_from_dict
from dense.tasks.cutout import CutoutTask
from dense.tasks.detection import DetectionTask
from dense.tasks.erase import EraseTask
from dense.tasks.semantic import SemanticTask
from dense.tasks.volume import VolumeTask

__all__ = ["TASKS", "CutoutTask", "DetectionTask", "EraseTask", "SemanticTask", "Task", "VolumeTask", "as_task",
           "register_task", "task_from_dict"]
