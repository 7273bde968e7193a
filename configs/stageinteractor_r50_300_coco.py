"""StageInteractor, ResNet-50, 300 queries, 36 epochs; its published figure is not known here.

backbone_weights: ImageNet's (a file)."""
from mmengine.config import read_base

with read_base():
    from ._base_.detection_3x import *

from dense.models.stageinteractor import DetectionModel, StageInteractor

model = dict(type=DetectionModel, network=dict(type=StageInteractor, backbone="r50", queries=300, num_classes=80),
             backbone_weights=None)
