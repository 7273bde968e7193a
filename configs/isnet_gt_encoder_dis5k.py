"""Ground-truth encoder of IS-Net on the masks of DIS5K: the first of the paper's two stages."""
from mmengine.config import read_base

with read_base():
    from ._base_.cutout import *

from dense.models.isnet import CutoutModel, GTEncoder

model = dict(type=CutoutModel, network=dict(type=GTEncoder))
train_dataloader["dataset"]["pipeline"] = [
    dict(type=LoadPair), dict(type=RandomFlip, horizontal=0.5), dict(type=PackCutout, inputs="mask")]
val_dataloader["dataset"]["pipeline"] = [
    dict(type=LoadPair, keep_mask=True), dict(type=PackCutout, inputs="mask")]
test_dataloader = val_dataloader
# ours: an auto-encoder of masks converges long before the network; the original stops at maxF 0.99
train_cfg["max_iters"] = 20_000
custom_hooks[3]["patience"] = 3
