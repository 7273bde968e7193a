"""Bundles of a tiny network."""
import pytest
from tiny_bundle import make_bundle


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    pytest.importorskip("onnx", reason="making bundles needs onnx")
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
