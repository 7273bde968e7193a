"""A bundle whose network reads alpha off the picture (the mean of the channels), so that outcomes are known."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dense.backends import Bundle
from dense.backends.bundle import Tensor, sha256, write_description
from dense.tasks import CutoutTask

SIZE = 64
AXES = ("batch", "height", "width")


def write_bundle(folder: Path, write_model: Callable[[Path], None], task: CutoutTask, golden: np.ndarray,
                 forward: Callable[[np.ndarray], np.ndarray], shapes: dict | None = None) -> Path:
    """A bundle of any ONNX (image -> alpha); sizes that ``shapes`` does not name are those of ``golden``."""
    shapes = {"batch": (1, 1, 16), "height": (32, task.size[0], 2048), "width": (32, task.size[1], 2048)} \
        if shapes is None else shapes
    (folder / "golden").mkdir(parents=True)
    write_model(folder / "model.onnx")
    np.save(folder / "golden/input.npy", golden)
    np.save(folder / "golden/output.npy", forward(golden))
    files = {name: sha256(folder / name) for name in ("model.onnx", "golden/input.npy", "golden/output.npy")}
    sizes = [axis if axis in shapes else n for axis, n in zip(AXES, (golden.shape[0], *golden.shape[2:]), strict=True)]
    bundle = Bundle(
        folder, "toy", task, "model.onnx", (Tensor("image", "float32", (sizes[0], 3, *sizes[1:])),),
        (Tensor("alpha", "float32", (sizes[0], 1, *sizes[1:])),), shapes, "fp32", 17, files,
        {"max": 1e-3, "mean": 1e-4, "metric": 1e-2})
    write_description(folder, bundle.to_dict())
    return folder


def toy_bundle(folder: Path, size: int = SIZE, shapes: dict | None = None) -> Path:
    """See the module."""
    def axis(name: str, value: int):
        return name if shapes is None or name in shapes else value

    def write_model(path: Path) -> None:
        sizes = axis("batch", 1), axis("height", size), axis("width", size)
        graph = helper.make_graph(
            [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
             helper.make_node("Div", ["mean", "full"], ["alpha"])], "toy",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [sizes[0], 3, *sizes[1:]])],
            [helper.make_tensor_value_info("alpha", TensorProto.FLOAT, [sizes[0], 1, *sizes[1:]])],
            [numpy_helper.from_array(np.float32(255), "full")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    golden = np.random.default_rng(0).uniform(0, 255, (1, 3, size, size)).astype(np.float32)
    return write_bundle(folder, write_model, CutoutTask(size), golden,
                        lambda x: x.mean(1, keepdims=True) / np.float32(255), shapes)


def disc(height: int = 90, width: int = 120) -> np.ndarray:
    """uint8 RGB: a white disc on black."""
    y, x = np.mgrid[:height, :width]
    inside = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (0.35 * min(height, width)) ** 2
    return np.repeat((255 * inside).astype(np.uint8)[..., None], 3, axis=2)


def write_pictures(folder: Path, count: int, suffix: str = ".png") -> list[Path]:
    """Discs of different brightness and size, named 0, 1, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}{suffix}" for i in range(count)]
    for i, path in enumerate(paths):
        cv2.imwrite(str(path), (disc(70 + 5 * i, 100) * (0.5 + 0.5 * i / max(1, count - 1))).astype(np.uint8))
    return paths
