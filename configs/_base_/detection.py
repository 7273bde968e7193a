"""Shared by the detection configs: COCO, its pipelines and evaluation, the recipe of 12 epochs, hooks, logs.

Published: AdamW of 2.5e-5, weight decay 1e-4, gradients clipped at 1, 2 pictures on each of 8 GPUs (a batch of 16),
warm-up over 500 iterations, 12 epochs with steps after 8 and 11, pictures of 800 x 1333, flips. 117,266 of COCO's
training pictures have objects: an epoch is 7330 iterations of 16. On other numbers of GPUs set
``train_dataloader.batch_size`` or ``accumulate`` so that a batch is 16.
"""
from mmengine.config import read_base

with read_base():
    from .runtime import *

from mmengine.dataset import DefaultSampler
from mmengine.optim import LinearLR, MultiStepLR
from mmengine.runner import IterBasedTrainLoop
from torch.optim import AdamW

from dense.compat.optim import LateOptimWrapper
from dense.datasets.detection import DetectionDataset
from dense.datasets.sampler import DrawSampler
from dense.datasets.transforms import LoadDetection, PackDetection, RandomFlipDetection, ResizeDetection
from dense.engine.hooks import Curves, DetectionPictures, Progress, SaveCheckpoint
from dense.evaluation.detection_metrics import DetectionMetrics
from dense.tasks import DetectionTask

data_root = "data/coco"
task = dict(type=DetectionTask, size=(800, 1344), longest=1333)

train_dataloader = dict(
    batch_size=2, num_workers=2, persistent_workers=True,
    sampler=dict(type=DrawSampler),
    dataset=dict(type=DetectionDataset, split="train", empty=False, pipeline=[
        dict(type=LoadDetection), dict(type=ResizeDetection), dict(type=RandomFlipDetection),
        dict(type=PackDetection)]))
val_dataloader = dict(
    batch_size=1, num_workers=2, persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=DetectionDataset, split="val", pipeline=[
        dict(type=LoadDetection), dict(type=ResizeDetection), dict(type=PackDetection, keep_truth=True)]))
test_dataloader = val_dataloader

val_evaluator = dict(type=DetectionMetrics)
test_evaluator = dict(type=DetectionMetrics)

optim_wrapper = dict(type=LateOptimWrapper, optimizer=dict(type=AdamW, lr=2.5e-5, weight_decay=1e-4),
                     clip_grad=dict(max_norm=1.0))
train_cfg = dict(type=IterBasedTrainLoop, max_iters=87_960, val_interval=7330)
param_scheduler = [dict(type=LinearLR, start_factor=0.001, by_epoch=False, begin=0, end=500),
                   dict(type=MultiStepLR, milestones=[58_640, 80_630], gamma=0.1, by_epoch=False)]

default_hooks.update(checkpoint=dict(type=SaveCheckpoint, interval=7330, keep=2, monitor="AP"))
custom_hooks = [dict(type=Progress), dict(type=Curves, interval=50), dict(type=DetectionPictures, count=6)]
