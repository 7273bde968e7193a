"""From published IS-Net weights to our keys.

The networks keep the published key names, so a state dict needs no renaming. ONNX copies carry the
module paths in the names of their nodes or of their weights; where BatchNorm was folded into the
convolutions it becomes an identity.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dense.errors import WeightsError
from dense.models.onnx_nodes import read_nodes


def read_onnx(network: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """State dict for ``network`` from an ONNX export of it, alone or inside a wrapping module.

    float32 or float16, BatchNorm kept or folded. Raises WeightsError if a convolution of the network has no
    node in the file, MissingDependencyError without the package onnx.
    """
    nodes = read_nodes(path)
    convs = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    prefixes = {p.removesuffix(convs[0]) for p in nodes if f".{p}".endswith(f".{convs[0]}")}
    prefix = max(sorted(prefixes), key=lambda p: sum(p + c in nodes for c in convs), default="")
    missing = [c for c in convs if len(nodes.get(prefix + c, ())) != 2]
    if missing:
        raise WeightsError(
            f"{path}: not an export of {type(network).__name__}: no convolution with weight and bias for "
            f"{len(missing)} of {len(convs)} ({', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}). "
            "Remedy: check the model's name, or use the .pth")
    state = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            state |= dict(zip((f"{name}.weight", f"{name}.bias"), nodes[prefix + name], strict=True))
        elif isinstance(module, nn.BatchNorm2d):
            one = torch.ones(module.num_features)
            # folded: running_var + eps must give 1, so that the layer changes nothing
            identity = (one, 0 * one, 0 * one, one - module.eps)
            keys = ("weight", "bias", "running_mean", "running_var")
            state |= {f"{name}.{k}": t for k, t in zip(keys, nodes.get(prefix + name, identity), strict=True)}
            state[f"{name}.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
    return state


def recognise_isnet(shapes: Mapping[str, tuple[int, ...]]) -> dict | None:
    """Settings of the ``ISNet`` that weights of these shapes (by key, a prefix allowed) may belong to, or None."""
    return _settings(shapes, "conv_in.weight", 3) if _shape(shapes, "stage5d.rebnconvin.conv_s1.weight") else None


def recognise_encoder(shapes: Mapping[str, tuple[int, ...]]) -> dict | None:
    """The same for ``GTEncoder``."""
    return None if _shape(shapes, "stage5d.rebnconvin.conv_s1.weight") else _settings(shapes, "conv_in.conv.weight", 1)


def _settings(shapes: Mapping[str, tuple[int, ...]], stem: str, usual: int) -> dict | None:
    """Width, from the widest layer (512 channels at width 1), and input channels, where they are not the usual."""
    first, widest, side = (_shape(shapes, key) for key in
                           (stem, "stage6.rebnconvin.conv_s1.weight", "side6.weight"))
    if not (first and widest and side):
        return None
    width, channels = widest[0] / 512, first[1]
    return ({} if width == 1 else {"width": width}) | ({} if channels == usual else {"in_channels": channels})


def _shape(shapes: Mapping[str, tuple[int, ...]], key: str) -> tuple[int, ...] | None:
    return next((s for k, s in shapes.items() if f".{k}".endswith(f".{key}")), None)
