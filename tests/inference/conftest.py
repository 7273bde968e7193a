"""Shared by the tests of inference: a bundle that needs no PyTorch."""
import pytest


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
    pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
    from toy_pictures import toy_bundle

    return toy_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture(scope="session")
def model(bundle):
    from dense import Inferencer

    return Inferencer(bundle, backend="onnxruntime", threads=1)
