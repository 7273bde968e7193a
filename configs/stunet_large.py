"""stunet_large on a data set in nnU-Net's layout, by the published recipe; patch, spacing and batch are those of the
published weights. Fine-tuning: --weights FILE --learning-rate 1e-3, whatever classes the weights have."""
from mmengine.config import read_base

with read_base():
    from ._base_.volume import *

from dense.models.stunet import STUNet, VolumeModel
from dense.models.stunet.losses import DiceCrossEntropy

model = dict(type=VolumeModel, network=dict(type=STUNet, name="stunet_large"), loss=dict(type=DiceCrossEntropy))
