"""Shared by the configs of volumes: data, loops, hooks, logs. A dataset.json in the data folder sets channels and
classes. The recipe is nnU-Net's, as STU-Net was trained: 250 iterations an epoch, 1000 epochs."""
from mmengine.config import read_base

with read_base():
    from .runtime import *

from mmengine.dataset import DefaultSampler
from mmengine.optim import PolyLR
from mmengine.runner import IterBasedTrainLoop
from torch.optim import SGD

from dense.compat.optim import LateOptimWrapper
from dense.datasets.sampler import DrawSampler
from dense.datasets.transforms import (
    PackVolume,
    RandomVolumeBlur,
    RandomVolumeBrightness,
    RandomVolumeContrast,
    RandomVolumeGamma,
    RandomVolumeLowRes,
    RandomVolumeMirror,
    RandomVolumeNoise,
    RandomVolumeSpatial,
    VolumePatch,
)
from dense.datasets.volume import VolumeDataset
from dense.engine.hooks import Curves, Progress, SaveCheckpoint, VolumePictures
from dense.evaluation.volume_metrics import VolumeMetrics
from dense.tasks import VolumeTask

data_root = "data/volumes"
task = dict(type=VolumeTask, size=(128, 128, 128), spacing=(1.5, 1.5, 1.5), normalisation=("zscore",))

train_dataloader = dict(
    batch_size=2, num_workers=8, persistent_workers=True,
    sampler=dict(type=DrawSampler),
    dataset=dict(type=VolumeDataset, split="train", fold=0, length=500, pipeline=[
        dict(type=RandomVolumeSpatial), dict(type=VolumePatch, foreground=1 / 3), dict(type=RandomVolumeNoise),
        dict(type=RandomVolumeBlur), dict(type=RandomVolumeBrightness), dict(type=RandomVolumeContrast),
        dict(type=RandomVolumeLowRes), dict(type=RandomVolumeGamma, probability=0.1, inverted=True),
        dict(type=RandomVolumeGamma), dict(type=RandomVolumeMirror), dict(type=PackVolume)]))
# whole volumes at their own grid, one at a time; in training without mirrored copies
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=VolumeDataset, split="val", fold=0, pipeline=[dict(type=PackVolume, mode="plain")]))
test_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=VolumeDataset, split="val", fold=0, pipeline=[dict(type=PackVolume, mode="mirrored")]))

val_evaluator = dict(type=VolumeMetrics, surfaces=False)
test_evaluator = dict(type=VolumeMetrics, tolerance=1.0)

optim_wrapper = dict(
    type=LateOptimWrapper, optimizer=dict(type=SGD, lr=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5),
    clip_grad=dict(max_norm=12))
param_scheduler = [dict(type=PolyLR, power=0.9, eta_min=0, by_epoch=False, end=None)]  # None: max_iters
train_cfg = dict(type=IterBasedTrainLoop, max_iters=250_000, val_interval=5000)

default_hooks.update(checkpoint=dict(type=SaveCheckpoint, interval=5000, keep=2, monitor="DSC"))
custom_hooks = [dict(type=Progress), dict(type=Curves, interval=10), dict(type=VolumePictures, count=2)]
