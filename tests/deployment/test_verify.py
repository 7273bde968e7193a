"""Verification: equal bundles pass, a changed weight fails and is found, and the report says so."""
import json
import shutil

import numpy as np
import pytest
from tiny_bundle import make_graph, perturb, rehash

from dense.backends import BACKENDS, read_bundle
from dense.backends.session import Session
from dense.cli import main
from dense.deployment.bisect import first_divergence
from dense.deployment.checks import absolute_difference
from dense.deployment.report import to_html, to_lines
from dense.deployment.verify import verify
from dense.io import write_image

pytest.importorskip("onnxruntime")


@pytest.fixture
def tiny(made, tmp_path):
    return shutil.copytree(made.folder, tmp_path / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three pictures of a disc with their masks."""
    root = tmp_path_factory.mktemp("data")
    y, x = np.mgrid[:70, :90]
    for index in range(3):
        mask = (255 * ((y - 35) ** 2 + (x - 30 - 10 * index) ** 2 < 400)).astype(np.uint8)
        image = np.stack([mask, 255 - mask, np.full_like(mask, 60)], axis=2)
        write_image(root / "im" / f"{index}.png", image)
        write_image(root / "gt" / f"{index}.png", mask)
    return root


def test_an_equal_bundle_passes_on_data_and_says_what_it_was_compared_with(tiny, data, capsys):
    assert main(["verify", str(tiny), "--data", str(data), "--limit", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("equal  ") == 2 * sum(b.installed() for b in BACKENDS.values()) - 1
    found = json.loads((tiny / "verify.json").read_text())
    assert found["passed"] and found["data"]["pictures"] == 2 and found["data"]["root"] == str(data)
    assert found["data"]["reference"].split()[0] == next(n for n, b in BACKENDS.items() if b.installed())
    assert "does not say which model" in found["notes"][0]
    assert set(found["data"]["figures"]) <= set(BACKENDS)
    assert "http" not in (tiny / "verify.html").read_text()


def test_a_changed_weight_of_the_shipped_model_fails_and_its_module_is_named(exported, tmp_path, capsys):
    folder = shutil.copytree(exported, tmp_path / "b")
    module = "network.stage3d.rebnconv2.conv_s1"
    perturb(folder / "model.onnx", f"{module}.weight", 0.5)
    assert main(["verify", str(folder), "--backend", "onnxruntime", "--golden-only"]) == 1  # the hash differs
    assert "damaged or changed" in capsys.readouterr().err
    rehash(folder)
    assert main(["verify", str(folder), "--backend", "onnxruntime", "--golden-only"]) == 1
    out = capsys.readouterr().out
    assert "FAILED onnxruntime" in out and f"first diverging layer: module {module}, node " in out
    assert "BEYOND THE TOLERANCE" in out
    found = json.loads((folder / "verify.json").read_text())
    assert not found["passed"] and found["golden"][0]["max"] > 1e-4
    assert module in (folder / "verify.html").read_text()


class Skewed(Session):
    """ONNX Runtime, with one tensor changed by a fault of the backend."""

    backend = "skewed"

    def __init__(self, bundle, tensor):
        from dense.backends import open_session

        self.inner, self.tensor = open_session(bundle, "onnxruntime"), tensor
        self.inputs, self.shapes = self.inner.inputs, self.inner.shapes

    def _run(self, inputs):
        out = self.inner.run(inputs)
        if self.tensor in out:
            out[self.tensor] = out[self.tensor] * 1.01
        return out


@pytest.mark.parametrize(("tensor", "node", "module", "compared"), [
    ("a", "conv1", "first", 0), ("c", "conv2", "second", 2), ("alpha", "sigmoid", "", 3)])
def test_a_fault_of_a_backend_is_found_without_pytorch(tensor, node, module, compared, tiny, monkeypatch):
    bundle = read_bundle(tiny)
    monkeypatch.setattr("dense.deployment.bisect.open_session", lambda b, name: Skewed(b, tensor))
    found = first_divergence(bundle, "skewed", {"image": bundle.golden()[0]})
    assert (found.node, found.module, found.compared) == (node, module, compared)
    assert "ONNX Runtime without optimisations" in str(found)


def test_a_changed_graph_is_found_with_pytorch_alone(tiny):
    perturb(tiny / "model.onnx", "second.weight")
    rehash(tiny)
    bundle = read_bundle(tiny)
    inputs = {"image": bundle.golden()[0]}
    assert first_divergence(bundle, "onnxruntime", inputs) is None  # both run the changed graph
    found = first_divergence(bundle, "onnxruntime", inputs, make_graph())
    assert (found.node, found.module, found.op) == ("conv2", "second", "Conv") and found.compared == 1


def test_equal_graphs_have_no_divergence(tiny):
    bundle = read_bundle(tiny)
    inputs = {"image": bundle.golden()[0]}
    assert first_divergence(bundle, "onnxruntime", inputs, make_graph()) is None
    assert first_divergence(bundle, "onnxruntime", inputs) is None


def test_a_backend_that_does_not_run_is_a_finding_not_a_crash(tiny, monkeypatch):
    class Broken(Skewed):
        def _run(self, inputs):
            raise RuntimeError("illegal instruction\nstack")

    monkeypatch.setattr("dense.deployment.verify.open_session", lambda b, name: Broken(b, ""))
    report = verify(tiny, ["onnxruntime"], use_data=False)
    assert not report.passed and report.golden[0].error == "RuntimeError: illegal instruction"
    assert any("illegal instruction" in line for line in to_lines(report)) and "illegal" in to_html(report)


def test_values_that_are_no_numbers_are_no_agreement():
    assert absolute_difference(np.array([np.nan, 0]), np.zeros(2)) == (float("inf"), float("inf"))
    assert absolute_difference(np.array([0.5, 0], np.float32), np.zeros(2)) == (0.5, 0.25)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--backend", "tensorflow"], "no backend for bundles is called 'tensorflow'"),
    (["--data", "nowhere"], "nowhere: the folder cannot be read"),
    (["--data", "x", "--golden-only"], "--golden-only leaves the pictures out"),
    (["--backend", "all", "onnxruntime"], "--backend all is every one"),
    (["--limit", "0"], "--limit 0: must be at least 1"),
    (["-w", "nowhere.pth"], "does not say which model"),
])
def test_a_problem_of_the_user_is_one_line(arguments, words, tiny, monkeypatch, capsys):
    monkeypatch.chdir(tiny.parent)
    assert main(["verify", str(tiny), *arguments]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and words in error


def test_a_damaged_picture_is_listed_and_the_others_are_compared(tiny, data, tmp_path, capsys):
    folder = shutil.copytree(data, tmp_path / "data")
    (folder / "im/1.png").write_bytes(b"<html>")
    write_image(folder / "gt/2.png", np.zeros((5, 5), np.uint8))
    assert main(["verify", str(tiny), "--data", str(folder), "--backend", "onnxruntime", "openvino"]) == 1
    out = capsys.readouterr().out
    assert "2 pictures could not be compared" in out and "1.png: is an HTML page" in out
    assert "5 x 5 pixels, its picture has 90 x 70" in out and "equal within the tolerance" in out
    found = json.loads((tiny / "verify.json").read_text())["data"]
    assert found["pictures"] == 1 and [u["name"] for u in found["unread"]] == ["1", "2"]
    assert "is an HTML page" in (tiny / "verify.html").read_text()
    for name in ("0", "2"):
        (folder / f"im/{name}.png").write_bytes(b"")
    assert main(["verify", str(tiny), "--data", str(folder)]) == 1
    assert "none of 3 pictures could be read" in capsys.readouterr().err


def test_what_is_no_bundle_is_one_line(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 1
    assert "no bundle, it has no bundle.json" in capsys.readouterr().err
