"""FFNet on Cityscapes; what differs from network to network is its name and the size that it is fed.

Published: the networks, their initialisation, the size of the input, and whole pictures at a single scale for the
figures. Not published: the training. This one is ours, after what the authors name as its origin (NVIDIA's
hierarchical multi-scale code: SGD of 0.01 to 0.02, poly decay, crops of 1024, about 175 epochs): crops scaled by 0.5 to
2, flips, photometric changes, cross entropy of the hardest pixels (OHEM). It was not run to the end here; the published
mIoU is no promise for it. ImageNet weights of the backbone: model.backbone_weights=FILE.
"""
from mmengine.config import read_base

with read_base():
    from .semantic import *

from dense.models.ffnet import FFNet, SemanticModel
from mmseg.models.losses import CrossEntropyLoss
from mmseg.structures.sampler import OHEMPixelSampler

model = dict(type=SemanticModel, network=dict(type=FFNet, name="ffnet78S_dBBB_mobile", num_classes=19),
             loss_decode=dict(type=CrossEntropyLoss, avg_non_ignore=True),
             sampler=dict(type=OHEMPixelSampler, thresh=0.7, min_kept=100_000), backbone_weights=None)
