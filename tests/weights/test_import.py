"""Import of every flavour equals the network that it came from; what is not IS-Net, or damaged, is refused."""
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import refill
from safetensors.torch import save_file
from torch import nn
from toy_weights import WIDTH, entry, file_entry

from dense import build_model
from dense.errors import ConfigError, MissingDependencyError, WeightsError
from dense.models.isnet import GTEncoder, ISNet
from dense.weights import find_weights, import_weights, list_weights, verify_weights
from dense.weights.check import check_output, check_tensors, golden_inputs
from dense.weights.fetch import digests_of
from dense.weights.files import read_weights, write_weights
from dense.weights.store import cached_path, read_receipt

ROOT = Path(__file__).resolve().parents[2]
PICTURE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) - 0.5


def assert_same(name, network, tolerance=0.0):
    """The first raw output by name is that of the network."""
    with torch.no_grad():
        found, expected = build_model(name)(PICTURE)[0], network(PICTURE)[0][0]
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * max(1.0, float(expected.abs().max())))


def names():
    return {row["name"]: row for row in list_weights() if row["state"] == "cache"}


# PyTorch and safetensors

@pytest.mark.parametrize("layout", [
    lambda s: s, lambda s: {f"module.{k}": v for k, v in s.items()},
    lambda s: {"state_dict": {f"net.{k}": v for k, v in s.items()}, "epoch": 3},
    lambda s: {k: v.half() if v.is_floating_point() and v.ndim > 1 else v for k, v in s.items()},
], ids=["plain", "module", "net in state_dict", "half"])
def test_a_pth_of_every_layout_gives_exactly_its_tensors(place, network, layout):
    torch.save(layout(network.state_dict()), "weights.pth")
    done = import_weights("weights.pth")
    assert (done.name, done.path) == ("isnet@weights", cached_path("isnet@weights"))
    assert "all 798 tensors are exactly the source's" in done.notes
    assert any("not in the catalogue" in note for note in done.notes)
    own = build_model("isnet@weights").network.state_dict()
    half = layout(network.state_dict()).get("conv_in.weight", torch.zeros(1)).dtype == torch.float16
    for key, value in network.state_dict().items():
        expected = value.half().float() if half and value.is_floating_point() and value.ndim > 1 else value
        assert torch.equal(own[key], expected)
    stored = read_weights(done.path)
    assert stored.meta["network"] == {"width": WIDTH}
    assert stored.meta["source"] == {"file": "weights.pth", "kind": "pth", **digests_of("weights.pth", ("sha256",))}
    assert stored.meta["task"]["size"] == [1024, 1024]


def test_float16_stays_float16_on_disk_where_nothing_is_lost(place, network):
    torch.save(network.state_dict(), "single.pth")
    torch.save({k: v.half() if v.is_floating_point() and v.ndim > 1 else v for k, v in network.state_dict().items()},
               "half.pth")
    single, half = import_weights("single.pth").path.stat().st_size, import_weights("half.pth").path.stat().st_size
    assert half < 0.6 * single


def test_the_file_is_recognised_by_its_content(place, network, pth):
    Path("weights.bin").write_bytes(pth.read_bytes())
    save_file(dict(network.state_dict()), "other.bin")
    for file in ("weights.bin", "other.bin"):
        assert_same(import_weights(file).name, network)


def test_our_own_safetensors_keep_what_they_say(place, network):
    write_weights("best.safetensors", network.state_dict(), {
        "class": "ISNet", "network": {"width": WIDTH}, "task": {"kind": "cutout", "size": [96, 64]},
        "metrics": {"maxF": 0.5}, "iterations": 7, "licences": {"weights": "MIT"}, "commercial": "yes"})
    import_weights("best.safetensors", "isnet@ours")
    assert_same("isnet@ours", network)
    assert build_model("isnet@ours").task.size == (96, 64)
    assert read_weights(find_weights("isnet@ours")).meta["metrics"] == {"maxF": 0.5}
    # what a file says of itself is no permission
    assert names()["isnet@ours"]["commercial"] == "unclear"


def test_a_stored_task_that_is_not_understood_is_refused(place, network):
    for task in ({"kind": "juggling"}, {"kind": "cutout", "balls": 3}, ["cutout"]):
        write_weights("best.safetensors", network.state_dict(), {
            "class": "ISNet", "network": {"width": WIDTH}, "task": task})
        with pytest.raises(WeightsError, match=r"best\.safetensors: the task stored in it is not understood"):
            import_weights("best.safetensors", "isnet@ours")


def test_a_gt_encoder_is_recognised_as_such(place):
    encoder = refill(GTEncoder(width=0.25), seed=1).eval()
    torch.save(encoder.state_dict(), "gt.pth")
    assert import_weights("gt.pth").name == "isnet_gt_encoder@gt"
    masks = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(build_model("isnet_gt_encoder@gt")(masks)[0], encoder(masks)[0][0])
    with pytest.raises(ConfigError, match=r"holds weights of isnet_gt_encoder\. Remedy: --name isnet_gt_encoder@x"):
        import_weights("gt.pth", "isnet@x")


@pytest.mark.parametrize("settings", [{"width": 0.125}, {"width": 0.25, "stride": 2}])
def test_a_deeperaser_is_recognised_and_its_mask_is_fed(place, settings):
    from dense.models.deeperaser import DeepEraser

    eraser = refill(DeepEraser(iterations=8, **settings), seed=1).eval()
    torch.save({f"module.{k}": v for k, v in eraser.state_dict().items()}, "eraser.pth")
    done = import_weights("eraser.pth")
    assert done.name == "deeperaser@eraser" and any("changes with it" in line for line in done.notes)
    assert read_weights(done.path).meta["network"] == settings
    inputs = torch.rand(1, 4, 64, 64)
    with torch.no_grad():
        assert torch.equal(build_model(done.name)(inputs)[-1], eraser(inputs)[-1])
    assert set(np.unique(golden_inputs(build_model(done.name), (64, 64))[0, 3])) == {0, 1}


@pytest.mark.parametrize("width", [0.125, 0.25, 0.5, 1.0])
def test_the_width_is_told_by_the_shapes(width):
    from dense.models.names import recognise

    with torch.device("meta"):
        shapes = {f"net.{k}": tuple(v.shape) for k, v in ISNet(4, width=width).state_dict().items()}
    assert recognise(shapes) == ("isnet", {"width": width, "in_channels": 4} if width != 1 else {"in_channels": 4})


# ONNX

class Probabilities(nn.Module):
    """As applications export it: another module around the network, the six maps after the sigmoid."""

    def __init__(self, network):
        super().__init__()
        self.net = network

    def forward(self, x):
        return [d.sigmoid() for d in self.net(x)[0]]


@pytest.fixture(scope="module")
def onnx_files(network, tmp_path_factory):
    """Flavour -> file: like rembg's (folded, fixed size, probabilities), in float16, and with BatchNorm kept."""
    onnx = pytest.importorskip("onnx", reason="ONNX copies need the extra 'deploy' (onnx)")
    pytest.importorskip("onnxruntime", reason="they are compared in ONNX Runtime")
    from onnxruntime.transformers.float16 import convert_float_to_float16

    folder = tmp_path_factory.mktemp("onnx")
    files = {name: folder / f"{name}.onnx" for name in ("folded", "half", "half inside", "kept")}
    options = {"dynamo": False, "opset_version": 17}
    torch.onnx.export(Probabilities(network).eval(), (PICTURE,), str(files["folded"]), input_names=["input_image"],
                      output_names=["output_image", *(f"side{i}" for i in range(5))], **options)
    torch.onnx.export(network, (PICTURE,), str(files["kept"]), input_names=["x"],
                      dynamic_axes={"x": {2: "height", 3: "width"}}, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE, **options)
    for name, keep in (("half", False), ("half inside", True)):
        onnx.save(convert_float_to_float16(onnx.load(str(files["folded"])), keep_io_types=keep), str(files[name]))
    operators = {name: {node.op_type for node in onnx.load(str(path)).graph.node} for name, path in files.items()}
    assert "BatchNormalization" in operators["kept"] and "BatchNormalization" not in operators["folded"]
    return files


@pytest.mark.parametrize(("flavour", "tolerance"), [
    ("folded", 1e-5), ("kept", 1e-6), ("half", 1e-2), ("half inside", 1e-2)])
def test_an_onnx_copy_gives_the_output_of_its_source(place, network, onnx_files, flavour, tolerance):
    done = import_weights(onnx_files[flavour], "isnet@copy")
    assert_same("isnet@copy", network, tolerance)
    (line,) = [note for note in done.notes if "ONNX Runtime" in note]
    assert ("float16" if "half" in flavour else "float32") in line and "differ by" in line
    assert ("'output_image' (probabilities)" in line) == (flavour != "kept")
    # a file that takes one size only is meant for that size
    assert build_model("isnet@copy").task.size == ((1024, 1024) if flavour == "kept" else (64, 96))
    assert list(read_receipt(done.path)["source"].values())[:2] == [onnx_files[flavour].name, "onnx"]


def test_an_onnx_copy_that_answers_otherwise_is_refused(place, onnx_files):
    """The same weights in a graph that computes something else: reading them back would be wrong."""
    import onnx

    model = onnx.load(str(onnx_files["folded"]))
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Tanh"
    for output in list(model.graph.output)[1:]:
        model.graph.output.remove(output)
    onnx.save(model, "changed.onnx")
    with pytest.raises(WeightsError, match=r"golden check failed: output 'output_image'.*otherwise.*Nothing was"):
        import_weights("changed.onnx")
    assert names() == {}


def test_without_onnx_runtime_the_import_says_that_it_did_not_compare(place, network, onnx_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = import_weights(onnx_files["folded"], "isnet@copy")
    assert any("not compared with the original: ONNX Runtime is not installed" in note for note in done.notes)
    assert_same("isnet@copy", network, 1e-5)


def test_without_onnx_the_error_says_what_to_install(place, onnx_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dense\[deploy\]'"):
        import_weights(onnx_files["folded"])


# what is refused

def test_files_that_are_not_is_net_are_refused(place, network):
    torch.save({"weight": torch.zeros(3), "bias": torch.zeros(1)}, "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: not the weights of a network that dense has \(2 tensors"):
        import_weights("other.pth")
    lacking = {k: v for k, v in network.state_dict().items() if k != "stage3.rebnconv2.bn_s1.weight"}
    torch.save(lacking, "lacking.pth")
    with pytest.raises(WeightsError, match=r"lacking\.pth does not fit ISNet:\s+1 missing: stage3\.rebnconv2"):
        import_weights("lacking.pth")
    assert names() == {}


@pytest.mark.parametrize(("name", "content"), [
    ("page.pth", b"<!DOCTYPE html><html>login"), ("pointer.pth", b"version https://git-lfs.github.com/spec/v1\n"),
    ("empty.pth", b""), ("empty.onnx", b""), ("empty.safetensors", b""), ("page.onnx", b"<html>"),
    ("broken.onnx", b"\x08\x07\xff\xff\xff"), ("broken.safetensors", b"\x99" * 64),
    ("zip.pth", b"PK\x03\x04 and no end"),
])
def test_damaged_files_are_refused(place, name, content):
    if name.endswith(".onnx"):
        pytest.importorskip("onnx")
    Path(name).write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name}: .*Remedy"):
        import_weights(name)
    assert names() == {}
    with pytest.raises(WeightsError, match=r"nowhere\.pth: cannot be read"):
        import_weights("nowhere.pth")


def test_a_cut_file_is_refused(place, pth):
    content = pth.read_bytes()
    Path("cut.pth").write_bytes(content[:len(content) // 2])
    with pytest.raises(WeightsError, match=r"cut\.pth: damaged.*Remedy"):
        import_weights("cut.pth")


def test_a_pickle_with_code_is_refused_and_not_run(place):
    class Evil:
        def __reduce__(self):
            return os.system, ("touch ran",)

    torch.save({"state_dict": Evil()}, "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth: refused"):
        import_weights("evil.pth")
    assert not Path("ran").exists()


@pytest.mark.parametrize(("change", "words"), [
    (lambda s: s["side1.bias"].fill_(float("nan")), "not finite"),
    (lambda s: s["side1.weight"].zero_(), "same everywhere"),
], ids=["NaN", "constant"])
def test_weights_whose_output_means_nothing_are_refused(place, network, change, words):
    state = {k: v.clone() for k, v in network.state_dict().items()}
    change(state)
    torch.save(state, "bad.pth")
    with pytest.raises(WeightsError, match=rf"bad\.pth: the golden check failed: .*{words}"):
        import_weights("bad.pth")
    assert names() == {}


def test_tensors_that_are_not_the_source_s_are_noticed(network):
    model = build_model("isnet", weights=network.state_dict(), width=WIDTH)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    assert check_tensors(model, state).problems == []
    state["side3.bias"] += 1e-6
    assert "side3.bias" in check_tensors(model, state).problems[0]
    del state["side3.bias"]
    assert check_tensors(model, state).problems


def test_an_output_that_ignores_the_picture_is_noticed(network):
    model = build_model("isnet", weights=network.state_dict(), width=WIDTH)
    ramp = torch.linspace(0, 1, 128).expand(1, 1, 128, 128)
    model.forward = lambda inputs, mode: [ramp]
    assert check_output(model).problems == ["the output does not change with the picture"]


# names

def test_a_name_is_taken_once(place, network, pth):
    import_weights(pth, "isnet@mine")
    before = find_weights("isnet@mine").read_bytes()
    assert "from this file already" in import_weights(pth, "isnet@mine").notes[0]
    other = refill(ISNet(width=WIDTH), seed=9).eval()
    torch.save(other.state_dict(), "other.pth")
    with pytest.raises(WeightsError, match="--overwrite to replace them, or another --name"):
        import_weights("other.pth", "isnet@mine")
    assert find_weights("isnet@mine").read_bytes() == before
    import_weights("other.pth", "isnet@mine", overwrite=True)
    assert_same("isnet@mine", other)
    assert [r.problems for r in verify_weights(["isnet@mine"])] == [[]]


@pytest.mark.parametrize("name", ["mine", "isnet@", "isnet@a b", "isnet@../x", "isnet@a/b", "isnet@a--b", "isnett@x",
                                  "isnet@cutouts", "isnet@general-use", "isnet@.x"])
def test_an_unsuitable_name_is_refused(place, pth, name):
    with pytest.raises(ConfigError, match="Remedy"):
        import_weights(pth, name)
    assert names() == {}


def test_a_name_without_published_digest_is_given_on_trust_and_said(place, network, pth):
    done = import_weights(pth, "isnet@dis5k")
    assert any("nobody published a digest of isnet.pth" in note and digests_of(pth)["sha256"] in note
               for note in done.notes)
    row = names()["isnet@dis5k"]
    assert row["commercial"] == "no" and "DIS5K terms" in row["licences"]["data"]
    assert "DIS5K terms" in read_weights(done.path).meta["licences"]["data"]
    assert_same("isnet@dis5k", network)


def test_a_file_of_the_catalogue_is_recognised_by_its_digest(place, catalogue, network, pth):
    sha256 = digests_of(pth)["sha256"]
    catalogue(entry("isnet@toy", file_entry("isnet.pth", "https://host/isnet.pth", sha256)))
    Path("renamed.pth").write_bytes(pth.read_bytes())
    done = import_weights("renamed.pth")
    assert done.name == "isnet@toy"
    assert any("has the published sha256 of isnet.pth (isnet@toy)" in note for note in done.notes)
    torch.save({"state_dict": network.state_dict()}, "same-but-other-file.pth")
    with pytest.raises(ConfigError, match=r"isnet@toy: stands for.*none of its files \(another digest\)"):
        import_weights("same-but-other-file.pth", "isnet@toy", overwrite=True)


# verify

def test_verify_finds_a_flipped_byte(place, pth):
    path = import_weights(pth, "isnet@mine").path
    assert [r.problems for r in verify_weights(["isnet@mine"])] == [[]]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (result,) = verify_weights(["isnet@mine"])
    assert "the file was changed or is damaged. Remedy: dense weights import FILE --overwrite" in result.problems[0]
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert [r.problems for r in verify_weights(["isnet@mine"])] == [[]]


def test_verify_finds_another_output_of_the_same_file(place, pth, monkeypatch):
    import_weights(pth, "isnet@mine")
    original = ISNet.forward
    monkeypatch.setattr(ISNet, "forward", lambda self, x: ([d + 0.01 * d for d in original(self, x)[0]], []))
    (result,) = verify_weights(["isnet@mine"])
    assert "golden values differ by" in result.problems[0] and "other weights, or another computation" in str(result)


def test_verify_without_a_receipt_says_that_it_cannot_compare(place, network):
    write_weights(cached_path("isnet@copied"), network.state_dict(), {"network": {"width": WIDTH}})
    results = {r.name: r for r in verify_weights()}
    assert "no record of its import" in results["isnet@copied"].problems[0]
    assert results["isnet@cutouts"].problems == []
    assert "golden values differ by" in " ".join(results["isnet@cutouts"].lines)
