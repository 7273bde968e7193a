"""FFNet 86S dBBB on Cityscapes, for GPUs. Published (mobile variant) mIoU 81.5, 104 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet86S_dBBB"
task["align_corners"] = True
