"""FFNet 78S BCC mobile, low resolution: it blurs and halves the picture itself. Published mIoU 80.6, 80 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet78S_BCC_mobile_pre_down"
