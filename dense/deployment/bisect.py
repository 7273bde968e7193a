"""Where a backend begins to differ: the first tensor of the graph, in the order of computation, beyond a tolerance."""
from __future__ import annotations

import ast
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dense.backends import Bundle, open_session
from dense.backends.bundle import Tensor
from dense.errors import DenseError, MissingDependencyError

if TYPE_CHECKING:
    from torch import nn

TOLERANCE = 1e-4  # of the largest absolute value of each tensor
CROP = 256        # whole tensors of every layer at full size would not fit into memory
SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass(frozen=True)
class Divergence:
    """The first node beyond the tolerance.

    node, op: in the graph; module: path in the PyTorch model, '' if not known; difference: largest absolute one;
    scale: largest absolute value of the reference; compared: tensors that agreed before it; reference: in words.
    """

    node: str
    op: str
    module: str
    difference: float
    scale: float
    compared: int
    reference: str

    def to_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        where = f"module {self.module}, node {self.node}" if self.module else f"node {self.node}"
        return (f"first diverging layer: {where} ({self.op}): {self.difference:.2e} where values reach "
                f"{self.scale:.2e}; {self.compared} tensors before it agree with {self.reference}")


def first_divergence(bundle: Bundle, backend: str, inputs: Mapping[str, np.ndarray], graph: nn.Module | None = None,
                     tolerance: float = TOLERANCE) -> Divergence | None:
    """The first node at which ``backend`` leaves the reference, or None if every tensor that can be seen agrees.

    graph: the PyTorch graph with BatchNorm folded, compared module by module; None compares with ONNX Runtime on the
    CPU without optimisations, which shows faults of a backend but not of the ONNX file.
    tolerance: of the largest absolute value of each tensor.

    What can be seen is not always what runs: tensors that are asked for are not fused away. None after a failure
    hence points at fused operators.
    """
    inputs = _crop(bundle, inputs)
    with tempfile.TemporaryDirectory() as folder:
        opened = _open_up(bundle, Path(folder))
        session = open_session(opened, backend)
        found = session.run(inputs)
        reference, name = (_torch_values(graph, inputs, opened), "PyTorch") if graph is not None else \
            (_unoptimised(opened, inputs), "ONNX Runtime without optimisations")
        return _first(opened, found, reference, name, tolerance)


def _first(bundle: Bundle, found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], name: str,
           tolerance: float) -> Divergence | None:
    compared = 0
    for node in _load(bundle).graph.node:
        for output in node.output:
            if output not in reference or output not in found:
                continue
            expected, value = reference[output], found[output]
            if value.shape != expected.shape:
                continue
            difference, scale = np.abs(value - expected).max(initial=0), np.abs(expected).max(initial=0)
            if not difference <= tolerance * max(scale, 1e-6):  # NaN too
                return Divergence(node.name, node.op_type, module_of(node), float(difference), float(scale), compared,
                                  name)
            compared += 1
    return None


def module_of(node) -> str:
    """Path of the PyTorch module that a node comes from; '' if the file does not say."""
    scopes = next((p.value for p in node.metadata_props if p.key == SCOPES), None)
    try:
        return ast.literal_eval(scopes)[-2] if scopes else ""
    except (ValueError, SyntaxError, IndexError):
        return ""


def _crop(bundle: Bundle, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first of the batch, and a corner of it, where the bundle allows."""
    out = {}
    for tensor in bundle.inputs:
        sizes = [max(low, min(1 if axis == 0 else CROP, size)) if isinstance(tensor.shape[axis], str) else size
                 for axis, (size, (low, _)) in enumerate(zip(inputs[tensor.name].shape, bundle.limits(tensor),
                                                             strict=True))]
        out[tensor.name] = np.ascontiguousarray(inputs[tensor.name][tuple(slice(s) for s in sizes)])
    return out


def _load(bundle: Bundle):
    import onnx

    return onnx.load(str(bundle.model_path), load_external_data=False)


def _open_up(bundle: Bundle, folder: Path) -> Bundle:
    """A copy of the bundle whose graph gives every float32 tensor that it computes."""
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError("finding the first diverging layer needs the package onnx, which is not "
                                     "installed. Remedy: pip install 'dense[deploy]'") from error
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(bundle.model_path)))
    except Exception as error:
        raise DenseError(f"{bundle.model_path}: cannot be looked into ({str(error)[:200]})") from error
    is_float = {v.name for v in model.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    known = {v.name for v in model.graph.output}
    names = [o for node in model.graph.node for o in node.output if o in is_float and o not in known]
    infos = {v.name: v for v in model.graph.value_info}
    model.graph.output.extend(infos[n] for n in names)
    onnx.save(model, str(folder / "model.onnx"), save_as_external_data=model.ByteSize() > 2**31 - 2**20)
    outputs = bundle.outputs + tuple(Tensor(n, "float32", ()) for n in names)
    return replace(bundle, folder=folder, model="model.onnx", outputs=outputs)


def _unoptimised(bundle: Bundle, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise MissingDependencyError("finding the first diverging layer without the model needs onnxruntime, which "
                                     "is not installed. Remedy: pip install 'dense[deploy]'") from error
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(bundle.model_path), options, providers=["CPUExecutionProvider"])
    names = [t.name for t in bundle.outputs]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _torch_values(graph: nn.Module, inputs: Mapping[str, np.ndarray], bundle: Bundle) -> dict[str, np.ndarray]:
    """Outputs of the modules that run once, under the names of the tensors of the ONNX graph that they correspond to:
    the last one that a module, or one inside it, computes."""
    import torch

    values: dict[str, np.ndarray] = {}
    calls: dict[str, int] = {}

    def keep(name):
        def hook(module, args, output):
            calls[name] = calls.get(name, 0) + 1
            if isinstance(output, torch.Tensor):
                values[name] = output.detach().numpy().copy()  # in-place activations come after it
        return hook

    hooks = [m.register_forward_hook(keep(n)) for n, m in graph.named_modules()]
    try:
        with torch.inference_mode():
            graph(*(torch.from_numpy(inputs[t.name]) for t in bundle.inputs))
    finally:
        for hook in hooks:
            hook.remove()
    last: dict[str, str] = {}
    for node in _load(bundle).graph.node:
        path = module_of(node).split(".")
        for depth in range(len(path) + 1):
            last[".".join(path[:depth])] = node.output[0]
    last[""] = bundle.outputs[0].name
    # an inner module is preferred: its tensor is the same, its name says more
    return {last[n]: v for n, v in values.items() if calls[n] == 1 and n in last}
