"""Detection through export, sessions and verification, with a detector that was trained for a moment."""
import json
import shutil

import numpy as np
import pytest
import torch

pytest.importorskip("mmdet", reason="StageInteractor needs the extra 'det'")
pytest.importorskip("pycocotools", reason="average precision needs the extra 'det'")
pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxscript", reason="exporting needs the extra 'deploy' (onnxscript)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")

from tiny_bundle import perturb, rehash
from toy_coco import draw, make_coco

from dense import build_model
from dense.backends import BACKENDS, open_session, read_bundle
from dense.datasets.detection import DetectionDataset
from dense.datasets.transforms import LoadDetection, PackDetection, ResizeDetection
from dense.deployment.checks import check_of
from dense.deployment.detection_check import Answer
from dense.deployment.export import ExportSettings, export
from dense.deployment.source import Source
from dense.deployment.verify import verify
from dense.errors import DatasetError
from dense.models.stageinteractor import DetectionModel
from dense.tasks import DetectionTask
from dense.weights.files import write_weights

pytestmark = pytest.mark.slow

INSTALLED = [name for name, backend in BACKENDS.items() if backend.installed()]
SMALL = {"backbone": "r18", "width": 0.125, "stages": 3, "queries": 6, "num_classes": 2, "sub_points": 3, "points": 2,
         "first_points": 3, "rows": 8, "groups": 2, "frozen_stages": -1, "norm_eval": False}
TASK = DetectionTask((64, 96), longest=None, classes=("red", "light"), most=6)
COUNT = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    make_coco(root, "val", COUNT)
    return root


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory):
    """A detector that has learned these few pictures."""
    torch.manual_seed(0)
    model = DetectionModel(SMALL, task=TASK).train()
    dataset = DetectionDataset(data, "val", [LoadDetection(), ResizeDetection(), PackDetection()], TASK)
    samples = [dataset[i] for i in range(COUNT)]
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(100):
        batch = model.data_preprocessor({k: [s[k] for s in samples] for k in ("inputs", "data_samples")}, True)
        loss, _ = model.parse_losses(model(**batch, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    write_weights(path, model.network.state_dict(), {"network": SMALL, "task": TASK.to_dict()})
    return path


@pytest.fixture(scope="module")
def exported(weights, tmp_path_factory):
    return export(Source("stageinteractor_r50", str(weights)), tmp_path_factory.mktemp("exported") / "toy")


def test_the_bundle_says_what_it_is(exported):
    bundle = read_bundle(exported.folder)
    assert bundle.task == TASK
    assert [(t.name, t.shape) for t in bundle.inputs] == [("image", ("batch", 3, "height", "width"))]
    assert [(t.name, t.shape) for t in bundle.outputs] == [("detections", ("batch", 6, 6))]


@pytest.mark.parametrize("backend", INSTALLED)
def test_boxes_are_pytorchs_in_every_batch_and_size(exported, weights, backend):
    graph, session = build_model("stageinteractor_r50", weights=weights).graph(), open_session(exported, backend)
    for seed, (count, height, width) in enumerate(((1, 64, 64), (2, 96, 64), (3, 160, 224), (1, 75, 301))):
        picture, _ = draw(seed, (height, width))
        fed = np.repeat(picture.transpose(2, 0, 1)[None], count, 0).astype(np.float32)
        fed[-1, :, height - 9:], fed[-1, :, :, width - 13:] = -1, -1  # padding, of the last one only
        with torch.inference_mode():
            expected = graph(torch.from_numpy(fed)).numpy()
        found = session(fed)
        assert found.shape == expected.shape == (count, 6, 6) and expected[..., :4].std() > 0.05
        assert np.abs(found - expected).max() < 1e-4
        if count > 1:
            assert np.abs(expected[0] - expected[-1]).max() > 1e-4  # what is padding matters


def test_verification_finds_backends_equal_in_boxes_and_precision(exported, data):
    report = verify(exported.folder, data=data)
    assert report.passed, report.to_dict()
    found = report.to_dict()["data"]
    assert found["pictures"] == COUNT and found["reference"].startswith("torch")
    assert set(found["figures"]) == {"torch", *INSTALLED} and set(found["figures"]["torch"]) == {"AP", "AP50"}
    assert found["figures"]["torch"]["AP50"] > 0.5
    assert report.worst[0].panel.shape[0] == 260


def test_a_changed_weight_is_found(exported, data, tmp_path):
    folder = shutil.copytree(exported.folder, tmp_path / "b")
    perturb(folder / "model.onnx", "network.backbone.layer2.0.conv1.weight", 5.0)
    rehash(folder)
    report = verify(folder, ["onnxruntime"], data=data)
    assert not report.passed
    assert not report.golden[0].passed and "first diverging layer" in report.golden[0].first


def test_boxes_count_as_much_as_what_is_in_them():
    check = check_of(TASK)
    output = np.array([[0.1, 0.1, 0.5, 0.5, 0.8, 0.1], [0.2, 0.2, 0.9, 0.9, 0.001, 0.002]], np.float32)
    moved = output.copy()
    moved[1, 0] += 0.1
    sure = output.copy()
    sure[0, 0] += 0.1
    reference = Answer(TASK.decode(output, (10, 10)), output)
    assert check.difference(Answer(reference.found, moved), reference)[0] == pytest.approx(0.1 * 0.002, rel=1e-3)
    assert check.difference(Answer(reference.found, sure), reference)[0] == pytest.approx(0.08, rel=1e-3)
    assert check.difference(Answer(reference.found, output * np.nan), reference) == (np.inf, np.inf)


def test_data_of_other_classes_are_refused(data, tmp_path):
    content = json.loads((data / "annotations/instances_val.json").read_text())
    content["categories"] = [{"id": 3, "name": "cow"}]
    root = shutil.copytree(data, tmp_path / "d")
    (root / "annotations/instances_val.json").write_text(json.dumps(content))
    check = check_of(TASK)
    with pytest.raises(DatasetError, match="no category red, light"):
        check.find(root)
    assert len(check.find(data)[0]) == COUNT


def test_one_size_is_exported_where_it_is_asked_for(weights, tmp_path):
    bundle = export(Source("stageinteractor_r50", str(weights)), tmp_path / "b",
                    ExportSettings(size=(64, 128), dynamic=()))
    image, objects = draw(1)
    session, model = open_session(bundle, "onnxruntime"), build_model("stageinteractor_r50", weights=weights)
    model.task = bundle.task
    graph = model.graph()
    found = bundle.task.run(image, session, bundle.task.fixed_mode)
    with torch.inference_mode():
        expected = bundle.task.run(image, lambda batch: graph(torch.from_numpy(batch)).numpy(), "global")
    assert len(found) == len(expected) >= len(objects) - 1
    assert np.allclose(found.boxes, expected.boxes, atol=0.05)
