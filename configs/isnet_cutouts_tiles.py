"""isnet_cutouts.py for longer, on whole pictures and on parts of them, so that the network can be used in tiles.

Starts from weights that isnet_cutouts.py left (docs/cutouts.md has both commands). 50 minutes on one core.
"""
from mmengine.config import read_base

with read_base():
    from .isnet_cutouts import *

from dense.datasets.transforms import RandomZoom

# three times the size that the network is fed: about the pictures' own
train_dataloader["dataset"]["pipeline"] = [
    dict(type=LoadPair, scale=3.0), dict(type=RandomZoom), dict(type=CopyPaste), dict(type=RandomFlip, horizontal=0.5),
    dict(type=RandomCrop), dict(type=PackCutout)]
optim_wrapper["optimizer"].update(lr=1e-3)
custom_hooks = [*custom_hooks[:-2], dict(type=TimeBudget, seconds=3000, anneal=0.7)]
