"""``build_model``: a ready network from a name or a config, with published or own weights."""
from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from torch import Tensor, nn

from dense.errors import ConfigError, WeightsError
from dense.models.names import find_name
from dense.registry import MODELS
from dense.weights.files import Weights, find_state_dict, read_weights
from dense.weights.store import find_weights, locate

LOGGER = logging.getLogger("dense")


def build_model(name_or_config, weights=None, device: str = "cpu", heads: str | None = None, **overrides) -> nn.Module:
    """Build a model in eval mode.

    name_or_config: a registered name (``'isnet'``), a name with weights (``'isnet@cutouts'``, found by
        ``dense.weights``), the path of a config file, or a config.
    weights: a file (.safetensors, .pth/.pt, .onnx), a name with weights, or a state dict, in our layout or the
        published one, with or without ``module.``; recognised by its keys. None leaves the initial weights. Where
        the file tells the network's settings (its width), or its shapes do, a name is built with them.
    heads: None takes weights of this very network. 'fit' or 'new' take them as a beginning for other classes or
        channels, where the network knows how (STU-Net); see ``load_network_weights``. The task is then the default.
    overrides: keyword arguments of the network (``width=0.25``).

    Raises ConfigError for unknown names, overrides or devices, WeightsError for weights that are damaged,
    unsafe or do not fit (with the missing and unknown keys listed).
    """
    is_config = not isinstance(name_or_config, str) or name_or_config.endswith(".py")
    if not is_config and "@" in name_or_config:
        if weights is not None:
            raise ConfigError(f"{name_or_config!r} already names its weights. Remedy: leave out weights=...")
        weights = find_weights(name_or_config)
        name_or_config = name_or_config.split("@")[0]
    source = read_weights_lazily(weights) if isinstance(weights, str | Path) else weights
    if is_config:
        config = _from_config(name_or_config, overrides)
    else:
        config = _from_name(name_or_config, overrides, source, heads)
    _check_settings(config["network"])
    model = MODELS.build(config)
    if source is not None:
        load_network_weights(model.network, source, heads)
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch without CUDA
        raise ConfigError(f"device {device!r} cannot be used: {error}. Remedy: device='cpu', or install the "
                          "torch of that device") from error


def _from_name(name: str, overrides: dict, source: Mapping | Weights | Path | None, heads: str | None) -> dict:
    """Model config of a registered name; settings stored with the weights, or told by their shapes, yield to the
    overrides."""
    entry, meta = find_name(name), source.meta if isinstance(source, Weights) else {}
    told = dict(meta.get("network", {}))
    state = source.tensors if isinstance(source, Weights) else find_state_dict(source)
    if state and entry.recognise is not None and "class" not in meta:  # not our own file, which says all of it
        told = {**(entry.recognise({k: tuple(v.shape) for k, v in state.items()}) or {}), **told}
    config = entry.make({**told, **overrides})
    if "task" in meta and heads is None:
        config["task"] = meta["task"]
    return config


def _from_config(config: Config | Mapping | str | Path, overrides: dict) -> dict:
    """Model config of a config file, of its contents, or of its ``model`` alone."""
    from dense.config import read_config

    full = read_config(config) if isinstance(config, str | Path) else config
    model = copy.deepcopy(dict(full.get("model", full)))
    if not isinstance(model.get("network"), Mapping) or "type" not in model["network"]:
        raise ConfigError("the config names no network. Remedy: give it model=dict(type=..., network=dict(type=...))")
    if "task" in full:
        model.setdefault("task", copy.deepcopy(full["task"]))
    model.pop("gt_encoder", None)  # only training needs it
    model["network"].update(overrides)
    return model


def _check_settings(config: Mapping) -> None:
    """ConfigError if the network's class does not take a setting."""
    network = config["type"]
    network = MODELS.get(network) if isinstance(network, str) else network
    if network is None:
        raise ConfigError(f"no network class is called {config['type']!r}. Remedy: import it where it is registered")
    known = inspect.signature(network).parameters
    for key in config:
        if key != "type" and key not in known:
            raise ConfigError(f"{network.__name__} has no setting {key!r}; it has {', '.join(sorted(known))}")


def read_weights_lazily(path: str | Path) -> Weights | Path:
    """The weights of a file or of a name; an ONNX path is returned as it is: reading it needs the network."""
    path = locate(path)
    return path if path.suffix.lower() == ".onnx" and path.is_file() else read_weights(path)


def load_network_weights(network: nn.Module, source: Mapping | Weights | str | Path, heads: str | None = None
                         ) -> list[str]:
    """Load weights into a plain network, strictly.

    source: a state dict, ``Weights`` or a file. An ONNX file is read by the network's own ``read_onnx``.
    heads: None takes weights of this very network only. 'fit' and 'new' take them as a beginning: networks that know
    how (``transfer_state``) adapt weights of other classes and channels, 'new' with new heads in any case. What was
    adapted is logged and returned, a line each.
    Raises WeightsError that lists missing and unknown keys and keys of another shape; nothing is changed
    then.
    """
    origin = "the state dict"
    if isinstance(source, str | Path):
        origin, source = str(source), read_weights_lazily(source)
    if isinstance(source, Path):
        if not hasattr(network, "read_onnx"):
            raise WeightsError(f"{source}: ONNX copies of {type(network).__name__} cannot be read back. "
                               "Remedy: use the .safetensors or .pth")
        state = network.read_onnx(source)
    elif isinstance(source, Weights):
        origin, state = str(source.path or origin), source.tensors
    else:
        state = find_state_dict(source)
        if state is None:
            raise WeightsError("the weights hold no state dict (keys -> tensors). Remedy: give model.state_dict()")
    own = network.state_dict()
    state = network_keys(state, own)
    if hasattr(network, "read_state"):  # other layouts of this network
        state = network.read_state(state)
    notes = []
    if heads is not None and hasattr(network, "transfer_state"):
        state, notes = network.transfer_state(state, heads)
    problems = []
    if missing := [k for k in own if k not in state]:
        problems.append(f"{len(missing)} missing: {_some(missing)}")
    if unknown := [k for k in state if k not in own]:
        problems.append(f"{len(unknown)} unknown: {_some(unknown)}")
    if shapes := [f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
                  for k in own if k in state and state[k].shape != own[k].shape]:
        problems.append(f"{len(shapes)} of another shape: {_some(shapes)}")
    if problems:
        raise WeightsError(
            f"{origin} does not fit {type(network).__name__}:\n  " + "\n  ".join(problems) +
            "\nRemedy: check the model's name and its width; nothing was loaded")
    network.load_state_dict(state)
    for note in notes:
        LOGGER.warning("%s: %s", origin, note)
    return notes


def network_keys(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` without the prefixes ``module.`` and ``network.``, unless the keys in ``own`` have them too."""
    out = dict(state)
    for prefix in ("module.", "network."):
        if all(k.startswith(prefix) for k in out) and not all(k.startswith(prefix) for k in own):
            out = {k.removeprefix(prefix): v for k, v in out.items()}
    return out


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" ... and {len(names) - most} more" if len(names) > most else "")
