"""dense: dense prediction and image editing that ends in something deployable.

``Inferencer``, ``build_model`` and ``list_models`` are imported on first use, so that ``import dense`` stays light.
"""
from importlib import import_module

__version__ = "0.1.0"
_LAZY = {"Inferencer": "dense.inference.inferencer", "build_model": "dense.models.build",
         "list_models": "dense.models.names"}
__all__ = ["__version__", *_LAZY]


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'dense' has no attribute {name!r}")
