"""StageInteractor, ResNeXt-101 64x4d, 300 queries, 36 epochs. Published: 51.3 AP.

Its deformable convolutions need mmcv's compiled operators. backbone_weights: ImageNet's (a file)."""
from mmengine.config import read_base

with read_base():
    from ._base_.detection_3x import *

from dense.models.stageinteractor import DetectionModel, StageInteractor

model = dict(type=DetectionModel, network=dict(type=StageInteractor, backbone="x101", queries=300, num_classes=80),
             backbone_weights=None)
