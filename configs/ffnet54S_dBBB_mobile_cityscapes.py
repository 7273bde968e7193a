"""FFNet 54S dBBB mobile on Cityscapes; device catalogues have its weights. Published mIoU 80.8, 76 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet54S_dBBB_mobile"
