"""Exports are complete, exact at every size, tell nothing of the machine, and are there whole or not at all."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import make_graph

from dense import build_model
from dense.backends import BACKENDS, open_session, read_bundle
from dense.cli import main
from dense.deployment.export import TOLERANCE, ExportSettings, _output_sizes, export, tolerance_of
from dense.deployment.source import Source, rebuild
from dense.errors import ConfigError, ExportError, MissingDependencyError, WeightsError
from dense.tasks import CutoutTask
from dense.tasks.golden import golden_picture

ROOT = Path(__file__).resolve().parents[2]


class TinySource(Source):
    """Exports the tiny network; ``graph`` may be replaced by one that cannot be exported."""

    graph = staticmethod(make_graph)

    def __init__(self):
        super().__init__("tiny", untrained=True)

    def build(self):
        model = torch.nn.Module()
        model.task, model.graph = CutoutTask((48, 64)), type(self).graph
        return model


class Stubborn(TinySource):
    @staticmethod
    def graph():
        graph = make_graph()
        graph.forward = lambda image: image[:, :1] * (1 if image.sum() > 0 else 2)
        return graph


# the shipped model

def test_the_bundle_says_what_it_is(exported):
    bundle = read_bundle(exported)
    assert bundle.name == "isnet-cutouts" and bundle.precision == "fp32" and bundle.opset == 18
    assert bundle.task == build_model("isnet@cutouts").task
    assert [(t.name, t.shape) for t in bundle.inputs] == [("image", ("batch", 3, "height", "width"))]
    assert [(t.name, t.shape) for t in bundle.outputs] == [("alpha", ("batch", 1, "height", "width"))]
    assert bundle.shapes["height"] == (64, 192, 4096) and bundle.shapes["batch"] == (1, 1, 64)
    assert bundle.licences == {"code": "Apache-2.0", "weights": "Apache-2.0", "data": "see data/cutouts"}
    assert {"dense", "torch", "onnx"} <= set(bundle.versions) and 0.5 < bundle.metrics["maxF"] < 1
    assert bundle.source["model"] == "isnet@cutouts" and len(bundle.source["sha256"]) == 64


def test_the_graph_is_plain_and_names_modules_but_not_the_machine(exported):
    import onnx

    model = onnx.load(str(exported / "model.onnx"))
    operators = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in operators and not model.functions
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        "batch", 3, "height", "width"]
    content = (exported / "model.onnx").read_bytes()
    assert b"conv_s1" in content and b"stack_trace" not in content and str(ROOT).encode() not in content
    assert len(content) < 1.05 * 4 * sum(p.numel() for p in build_model("isnet@cutouts").network.parameters())


def test_the_export_was_verified_on_every_backend(exported):
    found = json.loads((exported / "verify.json").read_text())
    assert found["passed"] and len(found["golden"]) == sum(b.installed() for b in BACKENDS.values())
    assert all(0 < c["max"] < 1e-4 for c in found["golden"])
    assert (exported / "verify.html").read_text().count("data:image/png;base64,") == found["data"]["pictures"] * len(
        found["golden"])


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("shape", [(1, 3, 192, 192), (1, 3, 251, 333), (3, 3, 97, 64), (2, 3, 64, 65)])
def test_every_size_and_batch_gives_what_pytorch_gives(name, shape, exported):
    pytest.importorskip(name)
    graph = build_model("isnet@cutouts").graph()
    batch = np.stack([golden_picture(*shape[2:], seed=s) for s in range(shape[0])]).astype(np.float32)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(batch)).numpy()
    found = open_session(read_bundle(exported), name)(batch)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert np.abs(found - expected).mean() < 1e-6


def test_the_model_is_built_again_from_the_bundle(exported, tmp_path):
    bundle = read_bundle(exported)
    assert rebuild(bundle).task == bundle.task
    (tmp_path / "x.pth").write_bytes(b"other")
    with pytest.raises((WeightsError, ConfigError)):
        rebuild(bundle, str(tmp_path / "x.pth"))


# settings, with a tiny network

def test_fixed_sizes(tmp_path):
    settings = ExportSettings(size=(32, 40), batch=(1, 2, 4), dynamic=())
    bundle = export(TinySource(), tmp_path / "b", settings)
    assert bundle.shapes == {} and bundle.inputs[0].shape == (2, 3, 32, 40) and bundle.task.size == (32, 40)
    fed, expected = read_bundle(tmp_path / "b").golden()
    np.testing.assert_allclose(open_session(bundle)(fed), expected, atol=1e-5)


def test_one_dynamic_axis_and_another_opset(tmp_path):
    bundle = export(TinySource(), tmp_path / "b", ExportSettings(dynamic=("width",), opset=20), name="mine")
    assert bundle.inputs[0].shape == (1, 3, 48, "width") and bundle.opset == 20 and bundle.name == "mine"
    assert open_session(bundle)(np.zeros((1, 3, 48, 99), np.float32)).shape == (1, 1, 48, 99)


def test_a_bundle_is_replaced_only_on_demand_and_other_folders_never(tmp_path):
    settings = ExportSettings(dynamic=())
    export(TinySource(), tmp_path / "b", settings)
    with pytest.raises(ConfigError, match=r"holds a bundle already\. Remedy: --force"):
        export(TinySource(), tmp_path / "b", settings)
    (tmp_path / "b" / "verify.json").write_text("{}")
    export(TinySource(), tmp_path / "b", settings, force=True)
    assert not (tmp_path / "b" / "verify.json").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ConfigError, match="other things in it"):
        export(TinySource(), tmp_path / "mine", settings, force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "mine"]


def test_what_cannot_be_exported_leaves_nothing_and_keeps_what_was_there(tmp_path):
    settings = ExportSettings(dynamic=())
    export(TinySource(), tmp_path / "b", settings)
    before = (tmp_path / "b" / "bundle.json").read_bytes()
    with pytest.raises(ExportError, match=r"could not export the network.*Remedy"):
        export(Stubborn(), tmp_path / "b", settings, force=True)
    assert (tmp_path / "b" / "bundle.json").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize(("arguments", "words"), [
    (["isnet"], "has no weights"),
    (["isnett", "--untrained"], "did you mean isnet"),
    (["isnet_gt_encoder", "--untrained"], "serves training only"),
    (["isnet", "-w", "nowhere.pth"], "nowhere.pth: no such weights file"),
    (["isnet@cutouts", "-w", "x.pth"], "already names its weights"),
    (["isnett"], "did you mean isnet"),
    (["isnet@cutouts", "--limit", "0"], "--limit 0: must be at least 1"),
    (["isnet@cutouts", "--name", "a/../b"], "--name a/../b: is a name, not a path"),
    (["isnet@cutouts", "--dynamic", "none", "batch"], "--dynamic none fixes all sizes"),
    (["isnet@cutouts", "--opset", "9"], "opset 9: give one from 18"),
    (["isnet@cutouts", "--batch", "4", "2", "8"], "must be smallest, usual, largest"),
    (["isnet@cutouts", "--size", "8", "8"], "size must be two whole numbers >= 32"),
    (["isnet@cutouts", "--dynamic", "depth"], "--dynamic depth: what may vary in the network is batch, height"),
])
def test_a_problem_of_the_user_is_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments, "-o", "out"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and words in error
    assert not list(tmp_path.iterdir())


def test_a_missing_exporter_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"onnxscript.*pip install 'dense\[deploy\]'"):
        export(TinySource(), tmp_path / "b")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(["export", "isnet@cutouts", "-o", str(tmp_path / "file" / "b")]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_names_from_models_and_weights():
    assert Source("isnet@cutouts").default_name == "isnet-cutouts"
    assert Source("isnet", "some/isnet-general-use.pth").default_name == "isnet-isnet-general-use"
    assert Source("configs/isnet_cutouts.py", "work_dirs/run 1/best.safetensors").default_name == "isnet_cutouts-run-1"


def test_the_golden_picture_is_a_picture_and_always_the_same():
    picture = golden_picture(60, 80)
    assert picture.shape == (3, 60, 80) and picture.dtype == np.uint8 and picture.std() > 20
    assert np.array_equal(picture, golden_picture(60, 80))
    assert not np.array_equal(picture, golden_picture(60, 80, seed=1))


# outputs that are not as large as the input, or beyond -1..1

def test_sizes_that_only_follow_are_those_of_the_golden_output():
    graph = make_graph()
    assert _output_sizes(graph, np.zeros((1, 1, 48, 64))) == {}
    graph.output_shapes = {"logits": ("batch", 7, "rows", "columns")}
    assert _output_sizes(graph, np.zeros((1, 7, 12, 16))) == {"rows": 12, "columns": 16}


def test_tolerances_are_in_proportion_to_outputs_beyond_one():
    assert tolerance_of(np.float32([0.5, -0.9])) == TOLERANCE
    assert tolerance_of(np.float32([3, -20])) == pytest.approx({"max": 2e-3, "mean": 2e-4, "metric": 1e-3})
    assert tolerance_of(np.float32([1e6]))["max"] == 0.1  # never one that takes all
