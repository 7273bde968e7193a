"""FFNet 150 AAA on Cityscapes, the most accurate. Published mIoU 84.4, 1045 GMAC."""
from mmengine.config import read_base

with read_base():
    from ._base_.ffnet_cityscapes import *

model["network"]["name"] = "ffnet150_AAA"
task["align_corners"] = True
