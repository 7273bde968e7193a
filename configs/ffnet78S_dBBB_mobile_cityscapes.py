"""FFNet 78S dBBB mobile on Cityscapes; device catalogues have its weights. Published mIoU 81.3, 96 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet78S_dBBB_mobile"
