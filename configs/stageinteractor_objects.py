"""A narrow StageInteractor on generated pictures of eight classes, for CPUs: 110 minutes on two cores.

The pictures: python tools/data/make_detection.py -o data/objects --objects photographs --train 6000 --val 400
Ours: all of it but the architecture: ResNet-18 of three eighths of its channels, from scratch; four stages of 64
channels, 30 queries; scales, crops and colours, learning rate, time budget, EMA.
"""
from mmengine.config import read_base

with read_base():
    from ._base_.detection import *

from dense.datasets.transforms import RandomCropDetection, RandomPhotometric
from dense.engine.hooks import TimeBudget
from dense.models.stageinteractor import DetectionModel, StageInteractor

data_root = "data/objects"
task = dict(
    type=DetectionTask, size=(320, 320), longest=320, most=30,
    classes=("bird", "fish", "insect", "mammal", "fruit", "flower", "tool", "vehicle"),
    palette=((255, 80, 80), (60, 190, 255), (120, 255, 80), (255, 170, 0), (190, 90, 255), (255, 90, 200),
             (0, 235, 190), (255, 240, 60)))
model = dict(type=DetectionModel, network=dict(
    type=StageInteractor, backbone="r18", width=0.375, num_classes=8, queries=30, stages=4, channels=64, hidden=128,
    heads=4, groups=4, points=3, first_points=4, sub_points=4, rows=24, frozen_stages=-1, norm_eval=False))
train_dataloader.update(batch_size=8, num_workers=1)
train_dataloader["dataset"].update(pipeline=[
    dict(type=LoadDetection), dict(type=RandomFlipDetection),
    dict(type=RandomCropDetection, probability=0.4, short=(224, 256, 288, 320), sides=(128, 288)),
    dict(type=ResizeDetection, short=(160, 192, 224, 256), longest=288), dict(type=RandomPhotometric),
    dict(type=PackDetection)])
val_dataloader.update(batch_size=4, num_workers=1)
test_dataloader = val_dataloader
optim_wrapper["optimizer"].update(lr=1e-3, fused=True)
param_scheduler = [dict(type=LinearLR, start_factor=0.01, by_epoch=False, begin=0, end=300)]
train_cfg.update(max_iters=1_000_000, val_interval=1000)
default_hooks["checkpoint"]["interval"] = 1000
custom_hooks = [*custom_hooks, dict(type=TimeBudget, seconds=6600, anneal=0.6)]
ema = 0.002
baselines = ("untrained",)
