"""The narrow IS-Net of isnet_cutouts.py in both stages of the paper: first the ground-truth encoder, whose features
then supervise the network's. At most ten minutes on two cores."""
from mmengine.config import read_base

with read_base():
    from .isnet_cutouts import *

from dense.models.isnet import GTEncoder

model["gt_encoder"] = dict(network=dict(type=GTEncoder, width=0.25), checkpoint=None)
model["feature_weight"] = 0.2  # ours: with 1 the untrained trunk mostly learns the features at first
prerequisite = dict(config="isnet_gt_encoder_cutouts.py", folder="gt_encoder")
custom_hooks[-1]["seconds"] = 510
