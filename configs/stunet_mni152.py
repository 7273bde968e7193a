"""Narrow STU-Net on tissues of the MNI152 template (tools/data/make_mni152.py makes data/mni152), minutes on a CPU.

Ours: all of it but the architecture and the augmentation: three eighths of the channels, patches of 64 voxels of 1 mm,
AdamW, time budget, EMA. One brain, an average, is trained on and validated on, in different parts; see make_mni152.py.
"""
from mmengine.config import read_base

with read_base():
    from ._base_.volume import *

from dense.engine.hooks import TimeBudget
from dense.models.stunet import STUNet, VolumeModel
from dense.models.stunet.losses import DiceCrossEntropy
from torch.optim import AdamW

data_root = "data/mni152"
# mirrored copies left to right only: brains are not alike front to back
task.update(size=(64, 64, 64), spacing=(1.0, 1.0, 1.0), mirror=(2,), channels=("T1",),
            classes=("background", "fluid", "grey", "white"),
            palette=((0, 0, 0), (60, 120, 240), (225, 180, 60), (235, 235, 235)))
model = dict(
    type=VolumeModel, loss=dict(type=DiceCrossEntropy),
    network=dict(type=STUNet, name="stunet_small", width=0.375, num_classes=4,
                 pool=((2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1))))
train_dataloader.update(num_workers=1)
train_dataloader["dataset"]["length"] = 200
optim_wrapper["optimizer"] = dict(type=AdamW, lr=2e-3, weight_decay=0.02)
param_scheduler = None
train_cfg.update(max_iters=20_000, val_interval=200)
default_hooks["checkpoint"]["interval"] = 200
custom_hooks = [*custom_hooks, dict(type=TimeBudget, seconds=600, anneal=0.6)]
ema = 0.005
baselines = ("untrained", "intensity")
