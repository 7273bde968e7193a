"""Weights inside ONNX files, by the paths of the modules that they were exported from."""
from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from dense.errors import MissingDependencyError, WeightsError


def read_nodes(path: str | Path) -> dict[str, list[Tensor]]:
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
