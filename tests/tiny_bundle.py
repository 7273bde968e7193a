"""A bundle of a network of two convolutions, made in a moment, and the same network in PyTorch."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dense.backends import Bundle, read_bundle
from dense.backends import bundle as bundles
from dense.backends.bundle import Tensor, sha256
from dense.deployment.bisect import SCOPES
from dense.tasks import CutoutTask

SHAPES = {"batch": (1, 1, 4), "height": (32, 48, 128), "width": (32, 64, 128)}
AXES = ("batch", "height", "width")


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"first": (0.02 * rng.standard_normal((4, 3, 3, 3))).astype(np.float32),
            "second": (0.02 * rng.standard_normal((1, 4, 3, 3))).astype(np.float32)}


def make_model(path: Path, dynamic: bool = True):
    """image -> convolution, ReLU, convolution, sigmoid -> alpha; the modules' paths are noted as exporters do."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def value(name, channels):
        shape = ["batch", channels, "height", "width"] if dynamic else [1, channels, 48, 64]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [helper.make_node("Conv", ["image", "first.weight"], ["a"], "conv1", **conv),
             helper.make_node("Relu", ["a"], ["b"], "relu"),
             helper.make_node("Conv", ["b", "second.weight"], ["c"], "conv2", **conv),
             helper.make_node("Sigmoid", ["c"], ["alpha"], "sigmoid")]
    for node, scope in zip(nodes, ("first", "", "second", ""), strict=True):
        node.metadata_props.add(key=SCOPES, value=repr(["", scope, node.name] if scope else ["", node.name]))
    graph = helper.make_graph(nodes, "tiny", [value("image", 3)], [value("alpha", 1)],
                              [numpy_helper.from_array(w, f"{k}.weight") for k, w in weights().items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return model


def make_bundle(folder: Path, dynamic: bool = True) -> Bundle:
    from onnx.reference import ReferenceEvaluator

    (folder / "golden").mkdir(parents=True)
    model = make_model(folder / "model.onnx", dynamic)
    image = np.rint(np.random.default_rng(1).uniform(0, 255, (1, 3, 48, 64))).astype(np.float32)
    np.save(folder / "golden/input.npy", image)
    np.save(folder / "golden/output.npy", ReferenceEvaluator(model).run(None, {"image": image})[0])
    shape = ("batch", 3, "height", "width") if dynamic else (1, 3, 48, 64)
    bundle = Bundle(folder, "tiny", CutoutTask((48, 64)), "model.onnx", (Tensor("image", "float32", shape),),
                    (Tensor("alpha", "float32", (shape[0], 1, *shape[2:])),), SHAPES if dynamic else {}, "fp32", 18,
                    {}, {"max": 1e-4, "mean": 1e-5, "metric": 1e-3})
    write_description(folder, bundle.to_dict())
    return read_bundle(folder)


def write_description(folder: Path, values: dict, rehash: bool = True) -> None:
    """bundle.json of ``values``, with the hashes of the files as they are now."""
    if rehash:
        names = ("model.onnx", "golden/input.npy", "golden/output.npy")
        values["files"] = {n: sha256(folder / n) for n in names if (folder / n).is_file()}
    bundles.write_description(folder, values)


def rehash(folder: Path) -> None:
    """Make a changed bundle look untouched."""
    write_description(folder, json.loads((folder / "bundle.json").read_text(encoding="utf-8")))


def make_graph():
    """The same network as a graph of PyTorch."""
    import torch
    from torch import nn

    from dense.models.graph import DeployedGraph

    class TinyGraph(DeployedGraph):
        input_shapes = {"image": ("batch", 3, "height", "width")}  # noqa: RUF012
        output_shapes = {"alpha": ("batch", 1, "height", "width")}  # noqa: RUF012

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
            self.second = nn.Conv2d(4, 1, 3, padding=1, bias=False)
            self.load_state_dict({f"{k}.weight": torch.from_numpy(w) for k, w in weights().items()})

        def forward(self, image):
            return self.second(self.first(image).relu()).sigmoid()

    return TinyGraph().eval()


def perturb(path: Path, name: str, amount: float = 0.05) -> None:
    """Add to one weight of an ONNX file."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    tensor = next(t for t in model.graph.initializer if t.name == name)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[len(values.flat) // 2] += amount
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, str(path))
