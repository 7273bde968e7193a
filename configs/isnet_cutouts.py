"""Narrow IS-Net on the bundled set, at most ten minutes on two cores. Ours: width, size, crops, learning rate, EMA."""
from mmengine.config import read_base

with read_base():
    from .isnet_dis5k import *

from dense.datasets.transforms import RandomCrop
from dense.engine.hooks import TimeBudget

data_root = "data/cutouts"
task["size"] = (192, 192)
model["network"]["width"] = 0.25
model["gt_encoder"]["network"]["width"] = 0.25
model["channels_last"] = True
model["feature_weight"] = 0.2  # ours: with 1 the untrained trunk mostly learns the features at first
prerequisite = dict(config="isnet_gt_encoder_cutouts.py", folder="gt_encoder")
train_dataloader["dataset"]["pipeline"] = [
    dict(type=LoadPair), dict(type=RandomFlip, horizontal=0.5), dict(type=RandomCrop), dict(type=PackCutout)]
optim_wrapper["optimizer"]["lr"] = 2e-3
train_cfg.update(max_iters=20_000, val_interval=200)
default_hooks["checkpoint"]["interval"] = 200
custom_hooks = [*custom_hooks, dict(type=TimeBudget, seconds=510, anneal=0.5)]
ema = 0.002
baselines = ("untrained", "grabcut")
