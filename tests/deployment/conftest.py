"""The shipped model, exported once by the command, and bundles of a tiny network."""
import pytest
from tiny_bundle import make_bundle

from dense.cli import main


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    pytest.importorskip("onnx", reason="making bundles needs onnx")
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Folder of the bundle of isnet@cutouts, as ``dense export`` writes and verifies it."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="exporting needs the extra 'deploy'")
    folder = tmp_path_factory.mktemp("exported") / "cutouts"
    assert main(["export", "isnet@cutouts", "-o", str(folder), "--limit", "1"]) == 0
    return folder
