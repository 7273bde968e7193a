"""IS-Net on DIS5K, the paper's recipe: six-level BCE and feature supervision by the ground-truth encoder.

The encoder is trained first, by the config named as prerequisite, unless model.gt_encoder.checkpoint is set.
The released training script leaves feature supervision off: --no-feature-supervision does the same.
"""
from mmengine.config import read_base

with read_base():
    from ._base_.cutout import *

from dense.models.isnet import CutoutModel, GTEncoder, ISNet

model = dict(type=CutoutModel, network=dict(type=ISNet), feature_loss="mse", feature_weight=1.0,
             gt_encoder=dict(network=dict(type=GTEncoder), checkpoint=None))
prerequisite = dict(config="isnet_gt_encoder_dis5k.py", folder="gt_encoder")
