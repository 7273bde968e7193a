"""``build_model``: a ready network from a name or a config, with published or own weights."""
from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from dense.errors import ConfigError, WeightsError
from dense.models.names import find_name
from dense.registry import MODELS
from dense.weights.files import Weights, read_weights
from dense.weights.shipped import find_shipped


def build_model(name_or_config, weights=None, device: str = "cpu", **overrides) -> nn.Module:
    """Build a model in eval mode.

    name_or_config: a registered name (``'isnet'``), a name with shipped weights (``'isnet@cutouts'``), the
        path of a config file, or a config.
    weights: a file (.safetensors, .pth/.pt, .onnx) or a state dict, in our layout or the published one,
        with or without ``module.``; recognised by its keys. None leaves the initial weights.
    overrides: keyword arguments of the network (``width=0.25``).

    Raises ConfigError for unknown names or overrides, WeightsError for weights that are damaged, unsafe or
    do not fit (with the missing and unknown keys listed).
    """
    source = None
    if isinstance(name_or_config, str) and "@" in name_or_config:
        if weights is not None:
            raise ConfigError(f"{name_or_config!r} already names its weights; leave out weights={weights!r}")
        name_or_config, weights = name_or_config.split("@")[0], find_shipped(name_or_config)
    if weights is not None:
        source = weights if isinstance(weights, Mapping) else read_weights_lazily(weights)
    name, config = _config_of(name_or_config, overrides, source)
    config.pop("gt_encoder", None)
    model = MODELS.build(config)
    if source is not None:
        load_network_weights(model.network, source, name)
    return model.to(device).eval()


def read_weights_lazily(path) -> Weights | Path:
    """The weights of a file; an ONNX path is returned as it is, since reading it needs the network."""
    path = Path(path)
    return path if path.suffix.lower() == ".onnx" and path.is_file() else read_weights(path)


def _config_of(name_or_config, overrides: dict, source) -> tuple[str | None, dict]:
    """The model's name (None for a config) and its config with the overrides in the network."""
    meta = source.meta if isinstance(source, Weights) else {}
    if isinstance(name_or_config, Mapping) or str(name_or_config).endswith(".py"):
        from dense.config import read_config

        config = name_or_config if isinstance(name_or_config, Mapping) else read_config(name_or_config)
        config = copy.deepcopy(config.get("model", config))
        if isinstance(name_or_config, str | Path) and "task" in (full := read_config(name_or_config)):
            config.setdefault("task", full["task"])
        config["network"].update(overrides)
        name = None
    else:
        entry = find_name(str(name_or_config))
        config = entry.make({**meta.get("network", {}), **overrides})
        name = entry.name
        if "task" in meta:
            config["task"] = meta["task"]
    network = config["network"]["type"]
    network = MODELS.get(network) if isinstance(network, str) else network
    allowed = set(inspect.signature(network).parameters)
    for key in overrides:
        if key not in allowed:
            raise ConfigError(f"{network.__name__} has no setting {key!r}; it has {', '.join(sorted(allowed))}")
    return name, config


def load_network_weights(network: nn.Module, source, name: str | None = None) -> None:
    """Load weights into a plain network, strictly.

    source: a state dict, ``Weights`` or a path. Raises WeightsError that lists missing and unknown keys
    and keys of another shape; nothing is changed then.
    """
    origin = "the state dict"
    if isinstance(source, str | Path):
        source = read_weights_lazily(source)
    if isinstance(source, Path):
        reader = find_name(name).read_onnx if name else _onnx_reader(network)
        if reader is None:
            raise WeightsError(f"{source}: ONNX copies of {name} cannot be read back. Remedy: use the .pth")
        origin, state = str(source), reader(source, network)
    elif isinstance(source, Weights):
        origin, state = str(source.path), source.tensors
    else:
        state = source
    state = network_keys(state)
    own = network.state_dict()
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


def _onnx_reader(network: nn.Module):
    from dense.models.isnet.published import read_onnx

    return read_onnx if hasattr(network, "stage1") else None


def network_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys of the plain network from any layout: ``module.*``, ``network.*``, or published as they are."""
    out = dict(state)
    for prefix in ("module.", "network."):
        if out and all(k.startswith(prefix) for k in out):
            out = {k.removeprefix(prefix): v for k, v in out.items()}
    return out


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" ... and {len(names) - most} more" if len(names) > most else "")
