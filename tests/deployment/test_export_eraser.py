"""The eraser's export: iterations unrolled, any size, the same on every backend, and in use like the model itself."""
import numpy as np
import pytest
import torch
from reference import refill

from dense import Inferencer, build_model
from dense.backends import BACKENDS, open_session, read_bundle
from dense.cli import main
from dense.weights.files import write_weights

pytestmark = pytest.mark.slow
SETTINGS = {"width": 0.25, "iterations": 2, "stride": 2}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="exporting needs the extra 'deploy'")
    folder = tmp_path_factory.mktemp("eraser")
    model = build_model("deeperaser", **SETTINGS)
    refill(model.network)
    meta = {"class": "DeepEraser", "network": SETTINGS, "task": model.task.to_dict()}
    write_weights(folder / "w.safetensors", model.network.state_dict(), meta)
    assert main(["export", "deeperaser", "-w", str(folder / "w.safetensors"), "-o", str(folder / "bundle"), "--limit",
                 "1"]) == 0
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes_and_batches_vary(exported, backend):
    pytest.importorskip(backend)
    graph = build_model("deeperaser", weights=exported / "w.safetensors").graph()
    session = open_session(read_bundle(exported / "bundle"), backend)
    rng = np.random.default_rng(0)
    for shape in ((1, 4, 64, 64), (3, 4, 96, 160), (1, 4, 72, 200)):
        x = rng.uniform(0, 255, shape).astype(np.float32)
        with torch.no_grad():
            expected = graph(torch.from_numpy(x)).numpy()
        assert np.abs(session(x) - expected).max() < 1e-3


def test_bundle_and_model_erase_alike(exported):
    image = np.random.default_rng(0).integers(0, 256, (150, 210, 3), dtype=np.uint8)
    boxes = [(20, 30, 60, 20), (150, 100, 40, 30)]
    pictures = [Inferencer(name, weights=weights, threads=1)(image, mask=boxes).image
                for name, weights in ((exported / "bundle", None), ("deeperaser", exported / "w.safetensors"))]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1
    assert (pictures[0] != image).any()
