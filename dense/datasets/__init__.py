"""Data sets, their transforms and samplers. Importing this fills the registries; ``check`` stays light."""
from importlib import import_module

_LAZY = {"CityscapesDataset": "dense.datasets.semantic", "CutoutDataset": "dense.datasets.cutout",
         "DrawSampler": "dense.datasets.sampler", "EraseDataset": "dense.datasets.erase",
         "SemanticDataset": "dense.datasets.semantic", "SyntheticText": "dense.datasets.erase",
         "VolumeDataset": "dense.datasets.volume"}
__all__ = list(_LAZY)


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'dense.datasets' has no attribute {name!r}")
