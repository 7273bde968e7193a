"""FFNet 46N CBB on Cityscapes, for GPUs. Published mIoU 81.9, 207 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet46N_CBB"
task["align_corners"] = True
