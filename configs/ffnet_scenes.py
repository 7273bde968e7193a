"""Narrow FFNet on the bundled set, some minutes on two cores.

Ours: all of it but the architecture: three eighths of the channels, few blocks, Adam, time budget, EMA.
"""
from mmengine.config import read_base

with read_base():
    from ._base_.semantic import *

from dense.datasets.semantic import SemanticDataset
from dense.engine.hooks import TimeBudget
from dense.models.ffnet import FFNet, SemanticModel
from torch.optim import AdamW

data_root = "data/scenes"
task["size"] = (192, 256)
model = dict(type=SemanticModel, network=dict(type=FFNet, name="ffnet40S_BCC_mobile", num_classes=6, width=0.375,
                                              layers=(1, 2, 2, 2)), channels_last=True)
train_dataloader.update(batch_size=8, num_workers=1)
train_dataloader["dataset"].update(type=SemanticDataset, pipeline=[
    dict(type=LoadSemantic), dict(type=RandomScaleCrop, size=(160, 224), scale=(0.7, 1.6)),
    dict(type=RandomFlip, horizontal=0.5), dict(type=RandomPhotometric), dict(type=PackSemantic)])
val_dataloader["dataset"].update(type=SemanticDataset)
val_dataloader.update(num_workers=1)
test_dataloader = val_dataloader
optim_wrapper["optimizer"] = dict(type=AdamW, lr=2e-3, weight_decay=0.02)
param_scheduler = None
train_cfg.update(max_iters=20_000, val_interval=100)
default_hooks["checkpoint"]["interval"] = 100
custom_hooks = [*custom_hooks, dict(type=TimeBudget, seconds=270, anneal=0.5)]
ema = 0.005
baselines = ("untrained", "majority")
