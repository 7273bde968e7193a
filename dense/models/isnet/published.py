"""From published IS-Net weights to our keys.

The networks keep the published key names, so a state dict needs no renaming. ONNX copies carry the
module paths in the names of their nodes or of their weights; where BatchNorm was folded into the
convolutions it becomes an identity.
"""
from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dense.errors import MissingDependencyError, WeightsError


def read_onnx(network: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """State dict for ``network`` from an ONNX export of it, alone or inside a wrapping module.

    float32 or float16, BatchNorm kept or folded. Raises WeightsError if a convolution of the network has no
    node in the file, MissingDependencyError without the package onnx.
    """
    nodes = _read_nodes(path)
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


def _read_nodes(path: str | Path) -> dict[str, list[Tensor]]:
    """Module path -> stored inputs (float32) of each convolution and BatchNorm with constant weights."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise MissingDependencyError(
            f"{path}: reading ONNX weights needs the package onnx. "
            "Remedy: pip install 'dense[deploy]'") from None
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:
        raise WeightsError(f"{path}: not a readable ONNX file ({type(error).__name__}: {error}). "
                           "Remedy: fetch or export it again") from None
    values = {i.name: i for i in graph.initializer}
    nodes = {}
    for node in graph.node:  # in the order of execution
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = node.attribute[0].t
        elif node.op_type in ("Cast", "Identity") and node.input[0] in values:
            # float16 copies cast; the exporter stores equal tensors once and refers to them by Identity
            values[node.output[0]] = values[node.input[0]]
        elif node.op_type in ("Conv", "BatchNormalization") and all(i in values for i in node.input[1:]):
            nodes[_module_path(node)] = [
                torch.from_numpy(numpy_helper.to_array(values[i]).copy()).float() for i in node.input[1:]]
    if not nodes:
        raise WeightsError(f"{path}: holds no convolution with weights. Remedy: check that it is the right "
                           "ONNX file, not quantised")
    return nodes


def _module_path(node) -> str:
    """'stage1.rebnconvin.conv_s1' of a Conv or BatchNormalization node."""
    if "/" in node.name:  # TorchScript-based exporter: "/stage1/rebnconvin/conv_s1/Conv"
        return ".".join(part for part in node.name.split("/")[:-1] if part)
    return node.input[1].removesuffix(".weight")  # newer exporter: weights keep their names
