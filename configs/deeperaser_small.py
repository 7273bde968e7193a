"""A narrow DeepEraser, at half the resolution inside, for CPUs: 2.5 hours on one core. All that departs is ours."""
from mmengine.config import read_base

with read_base():
    from .deeperaser_synthetic import *

from dense.engine.hooks import TimeBudget

task["size"] = (256, 256)
model["network"].update(iterations=2, width=0.5, stride=2)
model.update(mask_weight=5.0, change_weight=40.0)
train_dataloader.update(batch_size=4, num_workers=1)
train_dataloader["dataset"]["settings"] = dict(size=(96, 96), texts=(2, 5), letters=(9, 0.4))
train_dataloader["dataset"]["pipeline"] = [dict(type=EraseFlip), dict(type=CustomMask, erase=0.8), dict(type=PackErase)]
val_dataloader["dataset"].update(length=32, settings=dict(size=(160, 160)))
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader["dataset"], length=64, settings=dict(size=(256, 256))))
optim_wrapper["optimizer"].update(lr=1e-3, fused=True)
param_scheduler = None
train_cfg.update(max_iters=1_000_000, val_interval=1000)
default_hooks["checkpoint"]["interval"] = 1000
custom_hooks = [*custom_hooks, dict(type=TimeBudget, seconds=9000, anneal=0.6)]
ema = 0.002
