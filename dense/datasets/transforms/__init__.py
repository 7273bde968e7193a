"""Transforms: small callables on a dict of arrays, configured by name."""
from dense.datasets.transforms.cutout import (
    CopyPaste,
    LoadPair,
    PackCutout,
    RandomCrop,
    RandomFlip,
    RandomPhotometric,
    RandomRotate,
)
from dense.datasets.transforms.erase import CustomMask, EraseCrop, EraseFlip, LoadErase, PackErase
from dense.datasets.transforms.semantic import LoadSemantic, PackSemantic, RandomScaleCrop

__all__ = ["CopyPaste", "CustomMask", "EraseCrop", "EraseFlip", "LoadErase", "LoadPair", "LoadSemantic", "PackCutout",
           "PackErase", "PackSemantic", "RandomCrop", "RandomFlip", "RandomPhotometric", "RandomRotate",
           "RandomScaleCrop"]
