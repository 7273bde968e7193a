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
from dense.tasks import CutoutTask, DetectionTask, SemanticTask, Task

SIZE = 64
AXES = ("batch", "height", "width")


def write_bundle(folder: Path, write_model: Callable[[Path], None], task: Task, golden: np.ndarray,
                 forward: Callable[[np.ndarray], np.ndarray], shapes: dict | None = None,
                 output: Tensor | None = None) -> Path:
    """A bundle of any ONNX (image -> alpha, or the ``output``); sizes that ``shapes`` does not name are those of
    ``golden``."""
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
        (output or Tensor("alpha", "float32", (sizes[0], 1, *sizes[1:])),), shapes, "fp32", 17, files,
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


COLOURS = SemanticTask((64, 64), classes=("red", "green", "blue light"),
                       palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)))


def semantic_bundle(folder: Path, task: SemanticTask = COLOURS) -> Path:
    """A bundle whose logits are the colours, a tenth of them at a quarter of the resolution."""
    def write_model(path: Path) -> None:
        graph = helper.make_graph(
            [helper.make_node("AveragePool", ["image"], ["mean"], kernel_shape=[4, 4], strides=[4, 4]),
             helper.make_node("Div", ["mean", "ten"], ["logits"])], "toy",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3, "rows", "columns"])],
            [numpy_helper.from_array(np.float32(10), "ten")])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    def forward(x: np.ndarray) -> np.ndarray:
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 4, 4, w // 4, 4).mean((3, 5)) / np.float32(10)

    golden = np.random.default_rng(0).uniform(0, 255, (1, 3, *task.size)).astype(np.float32)
    return write_bundle(folder, write_model, task, golden, forward,
                        output=Tensor("logits", "float32", ("batch", 3, "rows", "columns")))


def write_colours(folder: Path, count: int, suffix: str = ".png") -> list[Path]:
    """64 x 96 pictures of red over the left half, green over the right, and in all but the first a blue square; of
    their 6144 pixels 400 * i are blue."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}{suffix}" for i in range(count)]
    for i, path in enumerate(paths):
        image = np.zeros((64, 96, 3), np.uint8)
        image[:, :48, 2], image[:, 48:, 1] = 200, 200
        image[20:40, 20:20 + 20 * i] = (200, 0, 0)  # BGR
        cv2.imwrite(str(path), image)
    return paths


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


KINDS = DetectionTask((64, 96), longest=None, classes=("red", "green", "blue light"),
                      palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)), threshold=0.3)
SHARES = np.float32([[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0.25, 0.25, 0.5, 0.75]])


def detection_bundle(folder: Path, task: DetectionTask = KINDS) -> Path:
    """A bundle that finds 'red' in the left half, 'green' in the right, 'blue light' in a quarter of the picture; their
    scores are twice the mean of red, green and blue (of 0..1)."""
    def write_model(path: Path) -> None:
        constants = {"scale": np.float32(2 / 255), "rows": np.int64([0, 3, 1]), "none": np.float32(0),
                     "eye": np.eye(3, dtype=np.float32)[None], "boxes": SHARES[None]}
        graph = helper.make_graph(
            [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
             helper.make_node("Mul", ["mean", "scale"], ["score"]),
             helper.make_node("Reshape", ["score", "rows"], ["column"]),
             helper.make_node("Mul", ["column", "eye"], ["classes"]),
             helper.make_node("Mul", ["column", "none"], ["zeros"]),
             helper.make_node("Add", ["zeros", "boxes"], ["places"]),
             helper.make_node("Concat", ["places", "classes"], ["objects"], axis=2)], "toy",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
            [helper.make_tensor_value_info("objects", TensorProto.FLOAT, ["batch", 3, 7])],
            [numpy_helper.from_array(v, k) for k, v in constants.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    def forward(x: np.ndarray) -> np.ndarray:
        scores = x.mean((2, 3)) * np.float32(2 / 255)
        return np.concatenate([np.repeat(SHARES[None], len(x), 0), scores[..., None] * np.eye(3, dtype=np.float32)], 2)

    golden = np.random.default_rng(0).uniform(0, 255, (1, 3, *task.size)).astype(np.float32)
    return write_bundle(folder, write_model, task, golden, forward,
                        output=Tensor("objects", "float32", ("batch", 3, 7)))
