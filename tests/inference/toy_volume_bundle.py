"""A bundle whose network goes by the sum of the channels alone, so that outcomes are known: above 50 it is 'tissue',
above 200 'bone'."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dense.backends import Bundle
from dense.backends.bundle import Tensor, sha256, write_description
from dense.tasks import VolumeTask

SIZE = 16


def volume_task(channels: int = 1, **entries) -> VolumeTask:
    """Nothing is resampled, cropped or normalised."""
    return VolumeTask(**{"size": SIZE, "spacing": None, "channels": tuple(f"T{i + 1}" for i in range(channels)),
                         "normalisation": ("none",) * channels, "classes": ("background", "tissue", "bone"),
                         "palette": ((0, 0, 0), (230, 60, 40), (60, 120, 240)), "crop": False, **entries})


def labels_of(values: np.ndarray) -> np.ndarray:
    """What the bundle finds in values (C, Z, Y, X)."""
    total = values.astype(np.float32).sum(0)
    return ((total > 50).astype(np.uint8) + (total > 200)).astype(np.uint8)


def volume_bundle(folder: Path, channels: int = 1, **entries) -> Path:
    """See the module; entries: of the task."""
    weights = np.repeat(np.float32([0, 1, 2])[:, None], channels, 1).reshape(3, channels, 1, 1, 1) / 10
    bias = np.float32([0, -50, -250]) / 10
    shape = (channels, SIZE, SIZE, SIZE)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["volume", "weights", "bias"], ["logits"], kernel_shape=[1, 1, 1])], "toy",
        [helper.make_tensor_value_info("volume", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3, *shape[1:]])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")])
    (folder / "golden").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    golden = np.random.default_rng(0).uniform(0, 300, (1, *shape)).astype(np.float32)
    np.save(folder / "golden/input.npy", golden)
    np.save(folder / "golden/output.npy", np.einsum("oc,nczyx->nozyx", weights[:, :, 0, 0, 0], golden)
            + bias.reshape(1, 3, 1, 1, 1))
    files = {name: sha256(folder / name) for name in ("model.onnx", "golden/input.npy", "golden/output.npy")}
    bundle = Bundle(folder, "toy", volume_task(channels, **entries), "model.onnx",
                    (Tensor("volume", "float32", ("batch", *shape)),),
                    (Tensor("logits", "float32", ("batch", 3, *shape[1:])),), {"batch": (1, 1, 16)}, "fp32", 17, files,
                    {"max": 1e-3, "mean": 1e-4, "metric": 1e-2})
    write_description(folder, bundle.to_dict())
    return folder


AFFINE = np.array([[-1.5, 0, 0, 20.0], [0, 1.5, 0, -30], [0, 0, 2, 5], [0, 0, 0, 1]])


def head(shape: tuple[int, int, int] = (20, 24, 18), bright: float = 1.0) -> np.ndarray:
    """int16 (Z, Y, X): a ball of 100 with a shell of 300 around it on 0; nearer to the first slice."""
    z, y, x = np.mgrid[:shape[0], :shape[1], :shape[2]]
    away = np.sqrt(((z - 8) / 7) ** 2 + ((y - 12) / 9) ** 2 + ((x - 7) / 6) ** 2)
    return (bright * np.select([away < 0.75, away < 1], [100, 300], 0)).astype(np.int16)


def write_heads(folder: Path, count: int, names: str = "case{}.nii.gz") -> list[Path]:
    """Heads that differ in brightness, 1, 0.45 (its shell is tissue), 1, ..."""
    import nibabel

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / names.format(i) for i in range(count)]
    for i, path in enumerate(paths):
        nibabel.save(nibabel.Nifti1Image(head(bright=1 - 0.55 * (i % 2)).T, AFFINE), path)
    return paths
