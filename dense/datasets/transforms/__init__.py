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
from dense.datasets.transforms.detection import (
    LoadDetection,
    PackDetection,
    RandomCropDetection,
    RandomFlipDetection,
    ResizeDetection,
)
from dense.datasets.transforms.erase import CustomMask, EraseCrop, EraseFlip, LoadErase, PackErase
from dense.datasets.transforms.semantic import LoadSemantic, PackSemantic, RandomScaleCrop

__all__ = ["CopyPaste", "CustomMask", "EraseCrop", "EraseFlip", "LoadDetection", "LoadErase", "LoadPair",
           "LoadSemantic", "PackCutout", "PackDetection", "PackErase", "PackSemantic", "RandomCrop",
           "RandomCropDetection", "RandomFlip", "RandomFlipDetection", "RandomPhotometric", "RandomRotate",
           "RandomScaleCrop", "ResizeDetection"]
