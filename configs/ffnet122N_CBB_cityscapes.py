"""FFNet 122N CBB on Cityscapes, for GPUs. Published mIoU 83.7, 368 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet122N_CBB"
task["align_corners"] = True
