"""Reference values: ``data/NAME.json`` tells keys, shapes and a seed, ``data/NAME.npz`` inputs and outputs.

The outputs were computed by the original networks, on CPU in eval mode, with weights made by ``fill``.
"""
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Reference:
    """Published keys and shapes, the parameter count, and tensors by name: weights, inputs, outputs."""

    shapes: dict[str, tuple[int, ...]]
    parameters: int
    state: dict[str, torch.Tensor]
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]


def load_description(name: str) -> dict:
    """Seed, gain, parameter count and ``state_dict`` (key -> shape) of a network in its published layout."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def load_reference(name: str) -> Reference:
    described = load_description(name)
    shapes = {key: tuple(shape) for key, shape in described["state_dict"].items()}
    with np.load(DATA / f"{name}.npz") as arrays:
        tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    inputs, outputs = ({k.removeprefix(kind): v for k, v in tensors.items() if k.startswith(kind)}
                       for kind in ("input.", "output."))
    return Reference(shapes, described["parameters"], fill(shapes, described["seed"], described["gain"]),
                     inputs, outputs)


def fill(shapes: Mapping[str, tuple[int, ...]], seed: int = 0, gain: float = 1.0) -> dict[str, torch.Tensor]:
    """Key -> tensor, from the key, the shape and the seed alone; BatchNorm statistics away from 0 and 1."""
    return {key: torch.from_numpy(_values(key, tuple(shape), seed, gain)) for key, shape in shapes.items()}


def refill(network: torch.nn.Module, seed: int = 0, gain: float = 1.0) -> torch.nn.Module:
    """The network with filled weights: outputs with some spread, statistics as after training."""
    network.load_state_dict(fill({k: v.shape for k, v in network.state_dict().items()}, seed, gain))
    return network


def _values(key: str, shape: tuple[int, ...], seed: int, gain: float) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key.endswith("running_var"):
        out = rng.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        out = 0.1 * rng.standard_normal(shape)
    elif key.endswith("bias"):
        out = 0.05 * rng.standard_normal(shape)
    elif len(shape) <= 1:  # scale of a normalisation layer, or a scalar parameter
        out = rng.uniform(0.8, 1.2, shape)
    else:
        out = rng.standard_normal(shape) * gain / np.sqrt(int(np.prod(shape[1:])))
    return np.asarray(out, np.float32)
