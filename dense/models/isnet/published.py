"""From published IS-Net weights to our keys.

The networks keep the published key names, so a state dict needs no renaming. ONNX copies carry the
module paths in their node names; where BatchNorm was folded into the convolutions it becomes an identity.
"""
from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dense.errors import MissingDependencyError, WeightsError

# running_var + eps must give 1, so that the folded BatchNorm changes nothing
IDENTITY_VAR = 1.0 - 1e-5


def read_onnx(path: str | Path, network: nn.Module) -> dict[str, Tensor]:
    """State dict for ``network`` from an ONNX export of it (float32 or float16, BatchNorm kept or folded).

    Raises WeightsError if a convolution of the network has no node in the file.
    """
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
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = next(a.t for a in node.attribute if a.name == "value")
        elif node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]

    def array(name: str) -> Tensor:
        return torch.from_numpy(numpy_helper.to_array(values[name]).copy()).float()

    nodes = {}
    for node in graph.node:
        if node.op_type in ("Conv", "BatchNormalization"):
            # "/stage1/rebnconvin/conv_s1/Conv" -> "stage1.rebnconvin.conv_s1"
            nodes[".".join(part for part in node.name.split("/")[:-1] if part)] = node
    state, missing = {}, []
    for name, module in network.named_modules():
        node = next((n for path_, n in nodes.items() if path_ == name or path_.endswith("." + name)), None)
        if isinstance(module, nn.Conv2d):
            if node is None or len(node.input) < 3:
                missing.append(name)
                continue
            state[f"{name}.weight"], state[f"{name}.bias"] = array(node.input[1]), array(node.input[2])
        elif isinstance(module, nn.BatchNorm2d):
            keys = ("weight", "bias", "running_mean", "running_var")
            if node is not None:
                tensors = [array(i) for i in node.input[1:5]]
            else:
                n = module.num_features
                tensors = [torch.ones(n), torch.zeros(n), torch.zeros(n), torch.full((n,), IDENTITY_VAR)]
            state.update({f"{name}.{k}": t for k, t in zip(keys, tensors, strict=True)})
            state[f"{name}.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
    if missing:
        raise WeightsError(f"{path}: no convolution for {', '.join(missing[:5])}"
                           f"{' ...' if len(missing) > 5 else ''}: not an export of this network")
    return state
