"""StageInteractor: network, the trainable model (with mmdet, imported on first use), and its names."""
from functools import partial
from importlib import import_module
from typing import Any

from dense.models.names import ModelName, register_name
from dense.models.stageinteractor.neck import SharedNormNeck
from dense.models.stageinteractor.network import StageInteractor
from dense.models.stageinteractor.published import recognise_stageinteractor
from dense.registry import MODELS, TASK_UTILS

for _module in (StageInteractor, SharedNormNeck):
    MODELS.register_module(module=_module)

LATE = {"CrossStageAssigner": "assigner", "CrossStageRoIHead": "model", "DetectionModel": "model",
        "QueryHead": "model"}
"""What needs mmdet, and where it is."""
for _name, _file in LATE.items():
    (TASK_UTILS if _file == "assigner" else MODELS).register_late(_name, f"{__name__}.model")

__all__ = ["CrossStageAssigner", "CrossStageRoIHead", "DetectionModel", "QueryHead", "SharedNormNeck",
           "StageInteractor"]


def __getattr__(name: str) -> Any:
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.model"), name)


NAMES = {"stageinteractor_r50": ("r50", None, "ResNet-50, 100 queries"),
         "stageinteractor_r50_300": ("r50", 300, "ResNet-50, 300 queries"),
         "stageinteractor_x101": ("x101", 300, "ResNeXt-101 64x4d with deformable convolutions, 300 queries"),
         "stageinteractor_swin_s": ("swin_s", 300, "Swin-S, 300 queries")}
"""Name -> backbone, queries (None: 100), summary."""


def make_config(backbone: str, queries: int | None, network: dict) -> dict:
    """Model config of a name; ``network`` are settings of ``StageInteractor``."""
    settings = dict(type=StageInteractor, backbone=backbone, queries=queries or 100)
    return dict(type="DetectionModel", network={**settings, **network})


for _name, (_backbone, _queries, _summary) in NAMES.items():
    register_name(ModelName(_name, f"StageInteractor, object detection: {_summary}",
                            partial(make_config, _backbone, _queries),
                            partial(recognise_stageinteractor, _backbone, _queries)))
