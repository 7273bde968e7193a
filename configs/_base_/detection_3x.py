"""The recipe of 36 epochs: 300 queries, the augmentation of DETR (scales, and crops half of the time)."""
from mmengine.config import read_base

with read_base():
    from .detection import *

from dense.datasets.transforms import RandomCropDetection

task.update(most=300)
train_dataloader["dataset"]["pipeline"] = [
    dict(type=LoadDetection), dict(type=RandomFlipDetection), dict(type=RandomCropDetection),
    dict(type=ResizeDetection, short=tuple(range(480, 801, 32)), longest=1333), dict(type=PackDetection)]
train_cfg.update(max_iters=263_880)
param_scheduler[1].update(milestones=[175_920, 241_890])
