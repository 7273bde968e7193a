"""FFNet: networks, the trainable model (with mmseg, imported on first use) and the 66 published names."""
from functools import partial
from importlib import import_module
from typing import Any

from dense.errors import ConfigError
from dense.models.ffnet.backbone import FFNetBackbone
from dense.models.ffnet.family import parse_name, published_names
from dense.models.ffnet.heads import FFNetUpHead
from dense.models.ffnet.network import FFNet
from dense.models.ffnet.published import recognise_ffnet
from dense.models.names import ModelName, register_name
from dense.registry import MODELS

for _module in (FFNet, FFNetBackbone, FFNetUpHead):
    MODELS.register_module(module=_module)

LATE = ("FFNetHead", "SemanticModel", "SemanticPreprocessor")
"""What needs mmseg."""
for _name in LATE:
    MODELS.register_late(_name, f"{__name__}.model")

__all__ = ["FFNet", "FFNetBackbone", "FFNetUpHead", *LATE]


def __getattr__(name: str) -> Any:
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.model"), name)


def make_config(name: str, network: dict) -> dict:
    """Model config of a name; ``network`` are settings of ``FFNet``, as stored with weights perhaps with a name."""
    if network.get("name", name) != name:
        raise ConfigError(f"the weights are those of {network['name']}, not of {name}. Remedy: build it by its name")
    return dict(type="SemanticModel", network=dict(type=FFNet, **{**network, "name": name}))


def summary(name: str) -> str:
    """One line about a name."""
    v = parse_name(name)
    kind = {"": "ResNet", "S": "slim ResNet", "N": "narrow ResNet", "NS": "narrowest ResNet"}[v.family]
    return (f"FFNet, semantic segmentation: {kind} of depth {v.depth}, logits at 1/{v.stride}"
            f"{', for mobile devices' * v.mobile}")


for _name in published_names():
    register_name(ModelName(_name, summary(_name), partial(make_config, _name), partial(recognise_ffnet, _name)))
