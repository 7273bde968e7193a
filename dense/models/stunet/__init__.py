"""STU-Net: network, trainable model, and its four names."""
from functools import partial

from dense.errors import ConfigError
from dense.models.names import ModelName, register_name
from dense.models.stunet.model import VolumeModel, VolumePreprocessor, default_task
from dense.models.stunet.network import STUNet
from dense.models.stunet.published import recognise_stunet

PARAMETERS = {"stunet_small": "14.6 M", "stunet_base": "58.3 M", "stunet_large": "440 M", "stunet_huge": "1457 M"}


def make_config(name: str, network: dict) -> dict:
    """Model config of a name; ``network`` are settings of ``STUNet``, as stored with weights perhaps with a name."""
    if network.get("name", name) != name:
        raise ConfigError(f"the weights are those of {network['name']}, not of {name}. Remedy: build it by its name")
    return dict(type=VolumeModel, network=dict(type=STUNet, **{**network, "name": name}))


for _name, _parameters in PARAMETERS.items():
    register_name(ModelName(
        _name, f"STU-Net, segmentation of volumes, {_parameters} parameters with 105 classes",
        partial(make_config, _name), partial(recognise_stunet, _name)))

__all__ = ["STUNet", "VolumeModel", "VolumePreprocessor", "default_task"]
