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
from dense.datasets.transforms.volume import PackVolume, RandomVolumeMirror, RandomVolumeSpatial, VolumePatch
from dense.datasets.transforms.volume_values import (
    RandomVolumeBlur,
    RandomVolumeBrightness,
    RandomVolumeContrast,
    RandomVolumeGamma,
    RandomVolumeLowRes,
    RandomVolumeNoise,
)

__all__ = ["CopyPaste", "CustomMask", "EraseCrop", "EraseFlip", "LoadDetection", "LoadErase", "LoadPair",
           "LoadSemantic", "PackCutout", "PackDetection", "PackErase", "PackSemantic", "PackVolume", "RandomCrop",
           "RandomCropDetection", "RandomFlip", "RandomFlipDetection", "RandomPhotometric", "RandomRotate",
           "RandomScaleCrop", "RandomVolumeBlur", "RandomVolumeBrightness", "RandomVolumeContrast",
           "RandomVolumeGamma", "RandomVolumeLowRes", "RandomVolumeMirror", "RandomVolumeNoise",
           "RandomVolumeSpatial", "ResizeDetection", "VolumePatch"]
