"""StageInteractor, ResNet-50, 100 queries, 12 epochs. Published: 44.8 AP. backbone_weights: ImageNet's (a file)."""
from mmengine.config import read_base

with read_base():
    from ._base_.detection import *

from dense.models.stageinteractor import DetectionModel, StageInteractor

model = dict(type=DetectionModel, network=dict(type=StageInteractor, backbone="r50", queries=100, num_classes=80),
             backbone_weights=None)
