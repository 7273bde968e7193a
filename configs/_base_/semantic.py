"""Shared by the semantic configs: data, loops, hooks, logs. A class file in the data folder sets the classes."""
from mmengine.config import read_base

with read_base():
    from .runtime import *

from mmengine.dataset import DefaultSampler
from mmengine.optim import PolyLR
from mmengine.runner import IterBasedTrainLoop
from torch.optim import SGD

from dense.compat.optim import LateOptimWrapper
from dense.datasets.sampler import DrawSampler
from dense.datasets.semantic import CityscapesDataset
from dense.datasets.transforms import LoadSemantic, PackSemantic, RandomFlip, RandomPhotometric, RandomScaleCrop
from dense.engine.hooks import Curves, Progress, SaveCheckpoint, SemanticPictures
from dense.evaluation.semantic_metrics import SemanticMetrics
from dense.tasks import SemanticTask

data_root = "data/cityscapes"
task = dict(type=SemanticTask, size=(1024, 2048))

train_dataloader = dict(
    batch_size=8, num_workers=4, persistent_workers=True,
    sampler=dict(type=DrawSampler),
    dataset=dict(type=CityscapesDataset, split="train", pipeline=[
        dict(type=LoadSemantic), dict(type=RandomScaleCrop, size=(1024, 1024), scale=(0.5, 2.0)),
        dict(type=RandomFlip, horizontal=0.5), dict(type=RandomPhotometric), dict(type=PackSemantic)]))
# published: evaluation of the whole picture at a single scale; PackSemantic(mode="sliding") runs windows of task.size
val_dataloader = dict(
    batch_size=1, num_workers=2, persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=CityscapesDataset, split="val", pipeline=[
        dict(type=LoadSemantic), dict(type=PackSemantic, mode="whole")]))
test_dataloader = val_dataloader

val_evaluator = dict(type=SemanticMetrics, boundary=False)
test_evaluator = dict(type=SemanticMetrics)

optim_wrapper = dict(type=LateOptimWrapper, optimizer=dict(type=SGD, lr=0.01, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type=PolyLR, power=0.9, eta_min=1e-5, by_epoch=False, end=None)]  # None: max_iters
train_cfg = dict(type=IterBasedTrainLoop, max_iters=65_000, val_interval=2000)

default_hooks.update(checkpoint=dict(type=SaveCheckpoint, interval=2000, keep=2, monitor="mIoU"))
custom_hooks = [dict(type=Progress), dict(type=Curves, interval=10), dict(type=SemanticPictures, count=6)]
