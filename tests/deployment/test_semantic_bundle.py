"""Semantic segmentation through export, verification, sessions and the inferencer."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxscript", reason="exporting needs the extra 'deploy' (onnxscript)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
pytest.importorskip("mmseg", reason="FFNet needs the extra 'seg'")
from tiny_bundle import perturb, rehash

from dense import Inferencer, build_model
from dense.backends import BACKENDS, open_session, read_bundle
from dense.cli import main
from dense.datasets.semantic import SemanticDataset
from dense.datasets.transforms import LoadSemantic, PackSemantic
from dense.deployment.checks import check_of
from dense.deployment.export import ExportSettings, export, tolerance_of
from dense.deployment.semantic_check import Answer, SemanticCheck
from dense.deployment.source import Source
from dense.errors import DatasetError
from dense.io import write_bytes, write_image
from dense.io.labels import label_png
from dense.models.fold import fold_batchnorm
from dense.tasks import SemanticTask

NAME = "ffnet40S_BCC_mobile@scenes"
SCENES = Path(__file__).resolve().parents[2] / "data/scenes"
INSTALLED = [name for name, backend in BACKENDS.items() if backend.installed()]
COUNT = 3


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "scenes"
    assert main(["export", NAME, "-o", str(folder), "--limit", "2"]) == 0
    return folder


def test_the_bundle_says_what_it_is_and_was_verified(shipped):
    bundle = read_bundle(shipped)
    assert bundle.task == build_model(NAME).task and bundle.name == "ffnet40S_BCC_mobile-scenes"
    assert [(t.name, t.shape) for t in bundle.outputs] == [("logits", ("batch", 6, "rows", "columns"))]
    assert bundle.licences == {"code": "Apache-2.0", "weights": "Apache-2.0", "data": "see data/scenes"}
    assert bundle.metrics["mIoU"] > 0.85
    scale = np.abs(bundle.golden()[1]).max()
    assert bundle.tolerance["max"] == pytest.approx(1e-4 * scale) and bundle.tolerance["metric"] == 1e-3
    found = json.loads((shipped / "verify.json").read_text())
    assert found["passed"] and found["data"]["reference"].startswith("torch")
    assert set(found["data"]["figures"]) == {"torch", *INSTALLED} and found["data"]["figures"]["torch"]["mIoU"] > 0.8
    assert (shipped / "verify.html").read_text().count("data:image/png;base64,") == 2 * len(INSTALLED)


@pytest.fixture(scope="module")
def samples():
    task = build_model(NAME).task
    dataset = SemanticDataset(SCENES, "val", [LoadSemantic(), PackSemantic("global")], task, limit=COUNT)
    return [dataset[i] for i in range(COUNT)]


@pytest.fixture(scope="module")
def answers(shipped, samples):
    """Way -> labels of the same pictures."""
    model = build_model(NAME)
    paths = [s["data_samples"].image_path for s in samples]
    batch = model.data_preprocessor(dict(inputs=[s["inputs"] for s in samples],
                                         data_samples=[s["data_samples"] for s in samples]))
    with torch.inference_mode():
        predicted = model.predict(**batch)
    return {"predict": [s.pred_sem_seg.data[0].numpy() for s in predicted],
            "inferencer": [r.labels for r in Inferencer(model, batch=2)(paths)],
            "named": [r.labels for r in Inferencer(NAME)(paths)],
            **{name: [r.labels for r in Inferencer(shipped, backend=name, batch=2, threads=1)(paths)]
               for name in INSTALLED}}


@pytest.mark.parametrize("way", ["inferencer", "named", *INSTALLED])
def test_transforms_and_predict_inferencer_and_bundle_give_the_same_classes(answers, samples, way):
    for sample, one, other in zip(samples, answers["predict"], answers[way], strict=True):
        assert one.shape == other.shape == tuple(sample["data_samples"].ori_shape)
        assert len(np.unique(one)) > 2
        assert (one != other).mean() < 1e-4  # what floating point explains: a pixel that was undecided


@pytest.mark.parametrize("mode", SemanticTask.modes)
def test_a_bundle_gives_the_classes_of_the_network_in_every_mode(shipped, mode):
    image = np.random.default_rng(0).integers(0, 256, (231, 317, 3), dtype=np.uint8)
    image[100:] //= 3
    one = Inferencer(NAME, mode=mode)(image).labels
    other = Inferencer(shipped, backend="onnxruntime", threads=1, mode=mode, batch=2)(image).labels
    assert one.shape == (231, 317) and (one != other).mean() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "depth"), [("ffnet46NS_CCC_mobile_pre_down", 3), ("ffnet18_dAAA", 4),
                                             ("ffnet46N_CBB", 3), ("ffnet50_AAA", 4)])
def test_every_kind_of_network_exports_exactly_and_takes_any_size(tmp_path, name, depth):
    torch.manual_seed(0)
    model = build_model(name, width=0.125, layers=(1,) * depth, num_classes=5)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    model.decode_head.head.last_layer[-1].weight.data.normal_(0, 0.5)

    class Given(Source):
        def build(self):
            return model

    bundle = export(Given(name, untrained=True), tmp_path / "b", ExportSettings(size=(128, 192)))
    graph = model.graph()
    folded = fold_batchnorm(graph, *graph.example({"batch": 1, "height": 64, "width": 64}))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    for backend in INSTALLED:
        session = open_session(bundle, backend)
        for shape in ((1, 64, 64), (2, 128, 192), (3, 161, 227), (1, 99, 65)):
            fed = np.random.default_rng(0).uniform(0, 255, (shape[0], 3, *shape[1:])).astype(np.float32)
            with torch.inference_mode():
                expected = graph(torch.from_numpy(fed)).numpy()
            found = session(fed)
            assert found.shape == expected.shape and expected.std() > 0.05
            assert np.abs(found - expected).max() < tolerance_of(expected)["max"]


def test_a_changed_weight_is_found(shipped, tmp_path, capsys):
    folder = shutil.copytree(shipped, tmp_path / "b")
    module = "network.backbone_model.layer2.0.conv1"
    perturb(folder / "model.onnx", f"{module}.weight", 5.0)
    rehash(folder)
    assert main(["verify", str(folder), "--backend", "onnxruntime", "--limit", "2"]) == 1
    out = capsys.readouterr().out
    assert "FAILED onnxruntime" in out and module in out
    found = json.loads((folder / "verify.json").read_text())
    assert not found["data"]["backends"][0]["passed"] and found["data"]["worst"][0]["max"] > 1e-3


# what differences mean

def answer(check, logits):
    plan = check.task.plan((64, 64))
    return Answer(check.task.decode(logits, plan), logits, plan)


@pytest.fixture
def check():
    return check_of(SemanticTask((64, 64), classes=("a", "b", "c")))


def test_a_difference_is_the_error_of_the_logits_that_explains_it(check):
    assert type(check) is SemanticCheck
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 16, 16)).astype(np.float32)
    one = answer(check, logits)
    assert check.difference(one, one) == (0, 0)
    error = rng.uniform(-1e-2, 1e-2, logits.shape).astype(np.float32)
    other = answer(check, logits + error)
    largest, mean = check.difference(other, one)
    assert (one.labels != other.labels).any()
    assert 0 < largest <= np.abs(error).max() + 1e-6 and 0 < mean < largest / 10  # never more than was really added
    swapped = answer(check, logits[[1, 0, 2]])
    assert check.difference(swapped, one)[0] > 0.5
    logits = logits.copy()
    logits[0, 0, 0] = np.nan
    assert check.difference(answer(check, logits), one) == (float("inf"),) * 2


def test_ties_are_no_difference(check):
    logits = np.zeros((3, 16, 16), np.float32)
    logits[2] = -1
    other = logits.copy()
    other[1] += 1e-6
    one, other = answer(check, logits), answer(check, other)
    assert (one.labels == 0).all() and (other.labels == 1).all()
    assert check.difference(other, one) == (0, 0)
    row = check.panel(np.zeros((64, 64, 3), np.uint8), one.labels, one, other)
    assert row.shape == (200, 5 * 260, 3) and row.dtype == np.uint8


def test_figures_are_those_of_the_labels(check):
    truth = np.zeros((64, 64), np.uint8)
    truth[:, 32:], truth[:8] = 1, 255
    logits = np.zeros((3, 16, 16), np.float32)
    logits[0] = 1
    figures = check.summary([check.measure(answer(check, logits), truth)])
    assert figures == {"mIoU": 0.25, "aAcc": 0.5}


def test_data_need_the_classes_of_the_bundle(check, tmp_path):
    assert check.default_root() is None  # the bundled scenes have others
    with pytest.raises(DatasetError, match="the classes are sky, building"):
        check.find(SCENES)
    labels = np.full((64, 64), 2, np.uint8)
    write_image(tmp_path / "val/images/x.png", np.zeros((64, 64, 3), np.uint8))
    write_bytes(tmp_path / "val/masks/x.png", label_png(labels, [(0, 0, 0)] * 3))
    (pair,), place = check.find(tmp_path)
    assert place == str(tmp_path / "val")
    np.testing.assert_array_equal(check.read(pair)[1], labels)
    write_bytes(tmp_path / "val/masks/x.png", label_png(labels[1:], [(0, 0, 0)] * 3))
    with pytest.raises(DatasetError, match="its picture has 64 x 64"):
        check.read(pair)
    (tmp_path / "val/masks/x.png").unlink()
    with pytest.raises(DatasetError, match="no picture has labels"):
        check.find(tmp_path)
