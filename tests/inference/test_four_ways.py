"""Training transforms, ``model.predict``, the inferencer on PyTorch and a bundle: the same tensors, the same masks."""
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxscript", reason="exporting needs the extra 'deploy' (onnxscript)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
from dense import Inferencer, build_model
from dense.datasets import CutoutDataset
from dense.datasets.transforms import LoadPair, PackCutout
from dense.deployment.export import export
from dense.deployment.source import Source
from dense.inference.sources import find_source

DATA = Path(__file__).resolve().parents[2] / "data/cutouts"
COUNT = 6
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def network():
    return build_model("isnet@cutouts")


@pytest.fixture(scope="module")
def samples(network):
    dataset = CutoutDataset(DATA, "DIS-VD", [LoadPair(cache=False, keep_mask=True), PackCutout()], network.task, COUNT)
    return [dataset[i] for i in range(COUNT)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    export(Source("isnet@cutouts"), folder)
    return folder


@pytest.fixture(scope="module")
def alphas(network, samples, exported):
    """Way -> alphas of the same pictures."""
    paths = [s["data_samples"].image_path for s in samples]
    batch = network.data_preprocessor(dict(inputs=[s["inputs"] for s in samples],
                                           data_samples=[s["data_samples"] for s in samples]))
    with torch.inference_mode():
        predicted = network.predict(**batch)
        network_only = [network.task.decode(p[0].numpy(), s["data_samples"].ori_shape) for p, s in zip(
            network(batch["inputs"])[0].sigmoid(), samples, strict=True)]
    return {"transforms and network": network_only,
            "predict": [s.pred_alpha.data[0].numpy() for s in predicted],
            "inferencer": [r.alpha for r in Inferencer(network, batch=4)(paths)],
            "named": [r.alpha for r in Inferencer("isnet@cutouts")(paths)],
            "bundle": [r.alpha for r in Inferencer(exported, backend="onnxruntime", batch=4, threads=1)(paths)]}


def fed(inferencer: Inferencer, paths: list[str]) -> np.ndarray:
    """What its session is really given."""
    seen, run = [], inferencer.session.run
    inferencer.session.run = lambda inputs: (seen.append(next(iter(inputs.values())).copy()), run(inputs))[1]
    list(inferencer(paths))
    return np.concatenate(seen)


def test_all_are_fed_the_same_values(network, samples, exported):
    paths = [s["data_samples"].image_path for s in samples]
    trained_on = np.stack([s["inputs"].numpy() for s in samples])
    assert trained_on.dtype == np.uint8 and trained_on.std() > 10
    for inferencer in (Inferencer(network, batch=4), Inferencer(exported, backend="onnxruntime", threads=1)):
        values = fed(inferencer, paths)
        np.testing.assert_array_equal(values.astype(np.uint8), trained_on)
        np.testing.assert_array_equal(values, values.astype(np.uint8))  # nothing between them
    normalised = network.data_preprocessor(dict(inputs=[s["inputs"] for s in samples]))["inputs"].numpy()
    prepared = [network.task.prepare(item.load().pixels) for item in find_source(paths).items]
    np.testing.assert_allclose(np.stack(prepared), normalised, atol=1e-6)


@pytest.mark.parametrize("way", ["predict", "inferencer", "named", "bundle"])
def test_all_give_the_same_masks(alphas, way):
    for i, (one, other) in enumerate(zip(alphas["transforms and network"], alphas[way], strict=True)):
        assert one.shape == other.shape and one.max() > 0.5
        difference = np.abs(one - other).max()
        print(f"{way} {i}: {difference:.2e}")
        assert difference <= 1 / 255
        assert difference < 1e-4  # what floating point explains


def test_the_task_travels_with_the_bundle(network, exported):
    assert Inferencer(exported, backend="onnxruntime").task == network.task
