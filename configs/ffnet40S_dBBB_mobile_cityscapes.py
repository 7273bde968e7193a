"""FFNet 40S dBBB mobile on Cityscapes; device catalogues have its weights. Published mIoU 79.2, 62 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet40S_dBBB_mobile"
