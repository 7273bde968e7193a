"""Transforms: small callables on a dict of arrays, configured by name."""
from dense.datasets.transforms.cutout import (
    CopyPaste,
    LoadPair,
    PackCutout,
    RandomCrop,
    RandomFlip,
    RandomPhotometric,
    RandomRotate,
    RandomZoom,
)

__all__ = [
    "CopyPaste",
    "LoadPair",
    "PackCutout",
    "RandomCrop",
    "RandomFlip",
    "RandomPhotometric",
    "RandomRotate",
    "RandomZoom",
]
