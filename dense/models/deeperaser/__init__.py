"""DeepEraser: network, trainable model, and its name."""
from dense.models.deeperaser.model import EraseModel, ErasePreprocessor
from dense.models.deeperaser.network import DeepEraser
from dense.models.deeperaser.published import recognise_deeperaser
from dense.models.names import ModelName, register_name

register_name(ModelName(
    "deeperaser", "DeepEraser, text removal inside a mask, 1.4 M parameters at width 1",
    lambda network: dict(type=EraseModel, network=dict(type=DeepEraser, **network)), recognise_deeperaser))

__all__ = ["DeepEraser", "EraseModel", "ErasePreprocessor"]
