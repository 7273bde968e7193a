"""Narrow ground-truth encoder on the masks of the bundled set, in about a minute on two cores."""
from mmengine.config import read_base

with read_base():
    from .isnet_gt_encoder_dis5k import *

from dense.engine.hooks import TimeBudget

data_root = "data/cutouts"
task["size"] = (192, 192)
model["network"]["width"] = 0.25
model["channels_last"] = True
train_cfg.update(max_iters=200, val_interval=100)
default_hooks["checkpoint"]["interval"] = 100
custom_hooks = [*custom_hooks, dict(type=TimeBudget, seconds=60)]
