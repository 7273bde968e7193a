"""FFNet 122NS CCC mobile, low resolution: it blurs and halves the picture itself. Published mIoU 79.2, 51 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet122NS_CCC_mobile_pre_down"
