"""ONNX copies of IS-Net: read back they give the output of the original; other files are refused."""
import sys
from collections import OrderedDict

import pytest
import torch
from reference import refill
from torch import nn

from dense import build_model
from dense.errors import MissingDependencyError, WeightsError
from dense.models.isnet import GTEncoder, ISNet

onnx = pytest.importorskip("onnx", reason="ONNX copies need the extra 'deploy' (onnx)")

WIDTH = 0.25
KEPT = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Wrapped(nn.Module):
    """A network inside another module, as exporters of applications have it: probabilities only."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.conv_in = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 1, 1)))  # a name that the network has too
        self.segmenter = network

    def forward(self, x):
        return [d.sigmoid() for d in self.segmenter(x + self.conv_in(x))[0]]


# most cases use the encoder: it has the same blocks and exports in half the time

@pytest.fixture(scope="module")
def encoder():
    return refill(GTEncoder(width=WIDTH), seed=3).eval()


@pytest.fixture(scope="module")
def masks():
    return torch.rand(1, 1, 64, 80, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    return refill(ISNet(width=WIDTH), seed=3).eval()


def read_back(path):
    return build_model("isnet_gt_encoder", weights=path, width=WIDTH)


def export(module, path, inputs, **options):
    options = {"dynamo": False, "opset_version": 17, **options}
    torch.onnx.export(module.eval(), (inputs,), str(path), **options)
    return onnx.load(str(path)).graph


def operators(graph):
    return {node.op_type for node in graph.node}


def assert_same(model, network, inputs, tolerance=1e-5):
    with torch.no_grad():
        for found, expected in zip(model(inputs), network(inputs)[0], strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(1, expected.abs().max()))


def test_a_copy_with_batchnorm_folded_gives_the_same_output(network, tmp_path):
    inputs = torch.randn(1, 3, 64, 80)
    graph = export(network, tmp_path / "x.onnx", inputs)
    assert "BatchNormalization" not in operators(graph)
    assert_same(build_model("isnet", weights=tmp_path / "x.onnx", width=WIDTH), network, inputs)


def test_a_copy_with_batchnorm_kept_gives_the_weights_back(encoder, masks, tmp_path):
    graph = export(encoder, tmp_path / "x.onnx", masks, **KEPT)
    assert "BatchNormalization" in operators(graph)
    model = read_back(str(tmp_path / "x.onnx"))
    assert all(torch.equal(v, encoder.state_dict()[k]) for k, v in model.network.state_dict().items())


def test_a_copy_of_fresh_weights_whose_equal_tensors_are_stored_once_loads(masks, tmp_path):
    fresh = GTEncoder(width=WIDTH).eval()
    graph = export(fresh, tmp_path / "x.onnx", masks, **KEPT)
    assert "Identity" in operators(graph)
    assert_same(read_back(tmp_path / "x.onnx"), fresh, masks)


@pytest.mark.parametrize("options", [{}, KEPT], ids=["folded", "kept"])
def test_a_copy_inside_another_module_loads(encoder, masks, tmp_path, options):
    export(Wrapped(encoder), tmp_path / "x.onnx", masks, **options)
    assert_same(read_back(tmp_path / "x.onnx"), encoder, masks)


def test_a_float16_copy_gives_nearly_the_same_output(encoder, masks, tmp_path):
    export(encoder, tmp_path / "x.onnx", masks)
    model = onnx.load(str(tmp_path / "x.onnx"))
    casts = []
    for index, tensor in enumerate(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT):
        half = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype("float16"), tensor.name)
        if index % 2:  # some files compute in float16, some cast back
            half.name = f"{tensor.name}_half"
            casts.append(onnx.helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT))
        tensor.CopyFrom(half)
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(tmp_path / "half.onnx"))
    assert_same(read_back(tmp_path / "half.onnx"), encoder, masks, 1e-2)


def test_a_copy_whose_paths_are_in_the_names_of_the_weights_only_loads(encoder, masks, tmp_path):
    export(encoder, tmp_path / "x.onnx", masks, **KEPT)
    model = onnx.load(str(tmp_path / "x.onnx"))
    for index, node in enumerate(model.graph.node):
        node.name = f"node_{node.op_type}_{index}"
    onnx.save(model, str(tmp_path / "renamed.onnx"))
    assert_same(read_back(tmp_path / "renamed.onnx"), encoder, masks)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_copy_by_the_newer_exporter_loads(encoder, masks, tmp_path):
    pytest.importorskip("onnxscript", reason="torch.onnx.export(dynamo=True) needs onnxscript")
    export(encoder, tmp_path / "x.onnx", masks, dynamo=True, opset_version=18)
    assert_same(read_back(tmp_path / "x.onnx"), encoder, masks)


def test_a_copy_traced_at_one_size_is_right_at_others(network, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="running the copy needs onnxruntime")
    axes = {"image": {2: "height", 3: "width"}}
    # at 32x32 the deepest levels have one pixel each: equal sizes that must not become part of the graph
    export(network, tmp_path / "x.onnx", torch.randn(1, 3, 32, 32), input_names=["image"], dynamic_axes=axes)
    session = runtime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    inputs = torch.randn(1, 3, 97, 131)
    with torch.no_grad():
        expected = network(inputs)[0]
    for found, want in zip(session.run(None, {"image": inputs.numpy()})[:6], expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(found), want, rtol=1e-4, atol=1e-4)


# what is refused

def test_a_copy_of_another_network_or_width_is_an_error(encoder, masks, tmp_path):
    export(encoder, tmp_path / "x.onnx", masks)
    with pytest.raises(WeightsError, match=r"x\.onnx does not fit GTEncoder[\s\S]*another shape: stage1\.reb"):
        build_model("isnet_gt_encoder", weights=tmp_path / "x.onnx", width=0.5)
    with pytest.raises(WeightsError, match=r"x\.onnx: not an export of ISNet.*stage5d\.rebnconvin"):
        build_model("isnet", weights=tmp_path / "x.onnx", width=WIDTH)
    export(nn.Sequential(nn.Conv2d(1, 4, 3)), tmp_path / "y.onnx", masks)
    with pytest.raises(WeightsError, match=r"y\.onnx: not an export of GTEncoder"):
        read_back(tmp_path / "y.onnx")
    export(nn.Sequential(nn.ReLU()), tmp_path / "z.onnx", masks)
    with pytest.raises(WeightsError, match=r"z\.onnx: holds no convolution"):
        read_back(tmp_path / "z.onnx")


@pytest.mark.parametrize("content", [b"", b"not a graph at all", b"\x08\x07\xff\xff\xff"])
def test_a_file_that_is_no_onnx_is_an_error(tmp_path, content):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.onnx: .*Remedy"):
        build_model("isnet", weights=tmp_path / "x.onnx", width=0.125)


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "x.onnx").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"x\.onnx.*pip install 'dense\[deploy\]'"):
        build_model("isnet", weights=tmp_path / "x.onnx", width=0.125)


def test_a_network_without_reader_says_so(tmp_path):
    from dense.models.build import load_network_weights

    (tmp_path / "x.onnx").write_bytes(b"anything")
    with pytest.raises(WeightsError, match=r"ONNX copies of Linear cannot be read back"):
        load_network_weights(nn.Linear(2, 2), tmp_path / "x.onnx")
