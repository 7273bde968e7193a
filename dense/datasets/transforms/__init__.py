"""Transforms: small callables on a dict of arrays, configured by name."""
from dense.datasets.transforms.cutout import (
    LoadPair,
    PackCutout,
    RandomCrop,
    RandomFlip,
    RandomPhotometric,
    RandomRotate,
)

__all__ = ["LoadPair", "PackCutout", "RandomCrop", "RandomFlip", "RandomPhotometric", "RandomRotate"]
