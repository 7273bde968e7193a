"""A bundle whose network gives the negative of a picture, so that outcomes are known."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dense.backends import Bundle
from dense.backends.bundle import Tensor, sha256, write_description
from dense.tasks import EraseTask

SIZE = 128


def eraser_bundle(folder: Path, fixed: bool = False) -> Path:
    """fixed: takes windows of ``SIZE`` only."""
    shapes = {} if fixed else {"batch": (1, 1, 16), "height": (64, SIZE, 2048), "width": (64, SIZE, 2048)}
    axes = [1, SIZE, SIZE] if fixed else ["batch", "height", "width"]
    nodes = [helper.make_node("Slice", ["picture_and_mask", "begin", "end", "channel"], ["rgb"]),
             helper.make_node("Div", ["rgb", "full"], ["unit"]),
             helper.make_node("Sub", ["one", "unit"], ["picture"])]
    constants = {"begin": np.int64([0]), "end": np.int64([3]), "channel": np.int64([1]), "full": np.float32(255),
                 "one": np.float32(1)}
    graph = helper.make_graph(
        nodes, "toy",
        [helper.make_tensor_value_info("picture_and_mask", TensorProto.FLOAT, [axes[0], 4, *axes[1:]])],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [axes[0], 3, *axes[1:]])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    (folder / "golden").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    golden = np.random.default_rng(0).uniform(0, 255, (1, 4, SIZE, SIZE)).astype(np.float32)
    np.save(folder / "golden/input.npy", golden)
    np.save(folder / "golden/output.npy", 1 - golden[:, :3] / np.float32(255))
    files = {name: sha256(folder / name) for name in ("model.onnx", "golden/input.npy", "golden/output.npy")}
    bundle = Bundle(
        folder, "negative", EraseTask(SIZE), "model.onnx",
        (Tensor("picture_and_mask", "float32", (axes[0], 4, *axes[1:])),),
        (Tensor("picture", "float32", (axes[0], 3, *axes[1:])),), shapes, "fp32", 17, files,
        {"max": 1e-3, "mean": 1e-4, "metric": 1e-2})
    write_description(folder, bundle.to_dict())
    return folder
