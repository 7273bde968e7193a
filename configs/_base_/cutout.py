"""Shared by the cut-out configs: data, loops, hooks, logs."""
from mmengine.config import read_base

with read_base():
    from .runtime import *

from mmengine.dataset import DefaultSampler
from mmengine.runner import IterBasedTrainLoop
from torch.optim import Adam

from dense.compat.optim import LateOptimWrapper
from dense.datasets.cutout import CutoutDataset
from dense.datasets.sampler import DrawSampler
from dense.datasets.transforms import LoadPair, PackCutout, RandomFlip
from dense.engine.hooks import Curves, EarlyStopping, Progress, ResultPictures, SaveCheckpoint
from dense.evaluation.metrics import CutoutMetrics
from dense.tasks import CutoutTask

data_root = "data/DIS5K"
task = dict(type=CutoutTask, size=(1024, 1024))

# published: batch 8, flips only
train_dataloader = dict(
    batch_size=8, num_workers=2, persistent_workers=True,
    sampler=dict(type=DrawSampler),
    dataset=dict(type=CutoutDataset, split="DIS-TR", pipeline=[
        dict(type=LoadPair), dict(type=RandomFlip, horizontal=0.5), dict(type=PackCutout)]))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=CutoutDataset, split="DIS-VD", pipeline=[
        dict(type=LoadPair, keep_mask=True), dict(type=PackCutout)]))
test_dataloader = val_dataloader

val_evaluator = dict(type=CutoutMetrics, names=("maxF", "MAE", "IoU"))
test_evaluator = dict(type=CutoutMetrics, names=("maxF", "MAE", "IoU", "HCE"))

# published: Adam, 1e-3, no schedule; validation every 2000 iterations, stop after 20 without improvement
optim_wrapper = dict(type=LateOptimWrapper, optimizer=dict(type=Adam, lr=1e-3, betas=(0.9, 0.999), weight_decay=0))
param_scheduler = None
train_cfg = dict(type=IterBasedTrainLoop, max_iters=1_000_000, val_interval=2000)

default_hooks.update(checkpoint=dict(type=SaveCheckpoint, interval=2000, keep=2, monitor="maxF"))
custom_hooks = [
    dict(type=Progress), dict(type=Curves, interval=10), dict(type=ResultPictures, count=6),
    dict(type=EarlyStopping, monitor="maxF", patience=20)]
