"""Narrow IS-Net on the bundled set, at most ten minutes on two cores.

Ours: width, size, smaller pictures at first, pasting and crops, learning rate, soft IoU loss, EMA. Feature supervision
is left out: in the same time it gave less (docs/cutouts.md); isnet_cutouts_supervised.py has it.
"""
from mmengine.config import read_base

with read_base():
    from .isnet_dis5k import *

from dense.datasets.transforms import CopyPaste, RandomCrop
from dense.engine.hooks import GrowingSize, TimeBudget

data_root = "data/cutouts"
task["size"] = (192, 192)
model["network"]["width"] = 0.25
model["gt_encoder"] = None
prerequisite = None
model["channels_last"] = True
model["iou_weight"] = 0.5
train_dataloader["dataset"]["pipeline"] = [
    dict(type=LoadPair), dict(type=CopyPaste), dict(type=RandomFlip, horizontal=0.5), dict(type=RandomCrop),
    dict(type=PackCutout)]
optim_wrapper["optimizer"].update(lr=2e-3, fused=True)
train_cfg.update(max_iters=20_000, val_interval=300)
default_hooks["checkpoint"]["interval"] = 300
custom_hooks = [*custom_hooks, dict(type=GrowingSize), dict(type=TimeBudget, seconds=570, anneal=0.5)]
ema = 0.002
baselines = ("untrained", "grabcut")
