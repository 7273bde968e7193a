"""DeepEraser on scenes that are made as they are asked for (tools/data/make_text_sources.py fetches what they need).

Published: the network, L1 over the iterations, masks that cover some of the texts only. Ours, as nothing is said of
them: the iterations' weights, the masked pixels' weight, optimiser, schedule, crop size, batch, EMA.
"""
from mmengine.config import read_base

with read_base():
    from ._base_.runtime import *

from mmengine.dataset import DefaultSampler
from mmengine.optim import OneCycleLR
from mmengine.runner import IterBasedTrainLoop
from torch.optim import AdamW

from dense.compat.optim import LateOptimWrapper
from dense.datasets.erase import SyntheticText
from dense.datasets.sampler import DrawSampler
from dense.datasets.transforms import CustomMask, EraseFlip, PackErase
from dense.engine.hooks import Curves, ErasePictures, Progress, SaveCheckpoint
from dense.evaluation.erase_metrics import EraseMetrics
from dense.models.deeperaser import DeepEraser, EraseModel
from dense.tasks import EraseTask

data_root = "data/text"
task = dict(type=EraseTask, size=(384, 384))
model = dict(type=EraseModel, network=dict(type=DeepEraser, iterations=8, width=1.0), gamma=0.85, mask_weight=5.0,
             change_weight=20.0)

train_dataloader = dict(
    batch_size=8, num_workers=8, persistent_workers=True,
    sampler=dict(type=DrawSampler),
    dataset=dict(type=SyntheticText, split="train", length=100_000, settings=dict(size=(256, 256)), pipeline=[
        dict(type=EraseFlip), dict(type=CustomMask), dict(type=PackErase)]))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=SyntheticText, split="val", length=64, settings=dict(size=(256, 256)), pipeline=[
        dict(type=CustomMask), dict(type=PackErase, pad=True)]))
test_dataloader = val_dataloader

val_evaluator = dict(type=EraseMetrics)
test_evaluator = dict(type=EraseMetrics)

optim_wrapper = dict(type=LateOptimWrapper, optimizer=dict(type=AdamW, lr=4e-4, betas=(0.9, 0.999), weight_decay=1e-5),
                     clip_grad=dict(max_norm=1.0))
train_cfg = dict(type=IterBasedTrainLoop, max_iters=200_000, val_interval=5000)
param_scheduler = [dict(type=OneCycleLR, eta_max=4e-4, total_steps=200_000, pct_start=0.05, by_epoch=False)]

default_hooks.update(checkpoint=dict(type=SaveCheckpoint, interval=5000, keep=2, monitor="PSNR_in"))
custom_hooks = [dict(type=Progress), dict(type=Curves, interval=10), dict(type=ErasePictures, count=6)]

ema = 0.001
