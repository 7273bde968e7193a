"""STU-Net: published keys, outputs and counts, its memory, deep supervision, other strides and counts, prediction."""
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement
from model_tester import ModelTester
from reference import DATA, load_description, refill
from torch import nn

from dense import build_model
from dense.errors import ConfigError, WeightsError
from dense.models.complexity import measure
from dense.models.names import recognise
from dense.models.stunet import STUNet, VolumeModel, default_task
from dense.models.stunet.model import level_weights, shrink_labels
from dense.models.stunet.network import POOL, VARIANTS, InstanceNorm

NAMES = ("stunet_small", "stunet_base", "stunet_large", "stunet_huge")
SMALL = {"width": 0.25, "num_classes": 3}


def make_batch(size, count=2, channels=1, classes=3) -> dict:
    """Smooth noise, and labels that follow from it."""
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    for index in range(count):
        z, y, x = np.indices(size)
        wave = np.sin(z / 3 + index) + np.cos(y / 4) + np.sin(x / 5)
        values = wave + 0.1 * rng.standard_normal((channels, *size))
        inputs.append(torch.from_numpy(values.astype(np.float32)))
        labels = np.digitize(wave, np.linspace(-1, 1, classes - 1))[None]
        samples.append(BaseDataElement(gt_labels=torch.from_numpy(labels.astype(np.uint8))))
    return {"inputs": inputs, "data_samples": samples}


class VolumeTester(ModelTester):
    name = "stunet_small"
    size = (32, 32, 64)
    odd_sizes = ((35, 40, 67), (32, 33, 48))
    learning_rate, batch_tolerance = 3e-3, 5e-4

    def build(self, **extra):
        model = super().build(**extra)
        model.task = replace(model.task, size=self.size)
        return model

    def make_data(self, size, count=2):
        network = STUNet(self.name, **self.overrides)
        return make_batch(size, count, network.in_channels, network.num_classes)

    def check_outputs(self, outputs, inputs):
        assert outputs.shape == (len(inputs), self.overrides["num_classes"], *inputs.shape[2:])
        assert torch.isfinite(outputs).all()

    def check_predictions(self, predictions, data):
        assert len(predictions) == len(data["inputs"])
        for sample, values in zip(predictions, data["inputs"], strict=True):
            assert sample.pred_labels.shape == values.shape[1:]
            assert 0 <= sample.pred_labels.min() <= sample.pred_labels.max() < self.overrides["num_classes"]


class TestSmall(VolumeTester):
    overrides = SMALL
    published = "stunet_small"
    published_overrides = {"num_classes": 5}  # noqa: RUF012


class TestTwoBlocksTwoChannels(VolumeTester):
    name = "stunet_large"
    overrides = {"width": 0.0625, "num_classes": 4, "in_channels": 2,  # noqa: RUF012
                 "pool": [[1, 2, 2], *[[2, 2, 2]] * 3, [1, 1, 1]]}
    published = "stunet_large"


# published weights

@pytest.mark.parametrize(("name", "pool"), [("stunet_small", POOL), ("stunet_base", ((2, 2, 2),) * 5)])
def test_published_weights_give_the_published_output(reference, name, pool):
    ref = reference(name)
    network = build_model(name, weights=ref.state, num_classes=5, pool=pool).network
    volume = ref.inputs["volume"]
    with torch.no_grad():
        finest, levels = network(volume), network.train()(volume)
    assert torch.equal(finest, levels[0])
    levels[0] = levels[0][..., ::2, ::2, ::2]  # the fixture keeps every second voxel
    for index, found in enumerate(levels, start=1):
        expected = ref.outputs[f"logits{index}"]
        assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max()), index


@pytest.mark.parametrize("name", ["stunet_base", "stunet_large", "stunet_huge"])
def test_keys_shapes_and_counts_of_the_larger_ones(name):
    described = load_description(name)
    classes = described["state_dict"]["seg_outputs.4.weight"][0]
    with torch.device("meta"):
        network = build_model(name, device="meta", num_classes=classes).network
    assert {k: list(v.shape) for k, v in network.state_dict().items()} == described["state_dict"]
    assert sum(p.numel() for p in network.parameters()) == described["parameters"]


def gmac_of_the_published_order(network, size, classes) -> float:
    """What the convolutions before upsampling would cost after it, in addition: published is that order."""
    grids = [np.array(size)]
    for stride in network.pool:
        grids.append(grids[-1] // stride)
    saved = sum((int(np.prod(fine)) - int(np.prod(coarse))) * layer.conv.weight.numel()
                for layer, fine, coarse in zip(network.upsample_layers, grids[-2::-1], grids[:0:-1], strict=True))
    heads = sum(int(np.prod(grid)) * head.weight.numel()
                for head, grid in list(zip(network.seg_outputs, grids[-2::-1], strict=True))[:-1])
    return (saved + heads) / 1e9


@pytest.mark.parametrize(("name", "millions", "gmac"), [
    ("stunet_small", 14.597, 130), ("stunet_base", 58.263, 509), ("stunet_large", 440.303, 3826),
    ("stunet_huge", 1457.326, 12667)])
def test_figures_of_the_published_sizes(name, millions, gmac):
    with torch.device("meta"):
        network = build_model(name, device="meta").network
    found = measure(network, (1, 1, 128, 128, 128))
    assert round(found.parameters / 1e6, 3) == millions
    more = gmac_of_the_published_order(network, (128,) * 3, 105)
    assert 0 < more < 0.025 * gmac
    assert found.macs / 1e9 + more == pytest.approx(gmac, abs=0.6)
    # what lives at once at most: two maps that are concatenated, their shortcut and the first convolution's output
    finest = 4 * VARIANTS[name].c * 128 ** 3
    assert found.inference <= max(4 * finest, finest + 4 * 105 * 128 ** 3) + 4 * 128 ** 3


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_prefixes_are_removed(prefix):
    network = refill(STUNet("stunet_small", **SMALL))
    state = {prefix + k: v for k, v in network.state_dict().items()}
    again = build_model("stunet_small", weights=state, **SMALL).network.state_dict()
    assert all(torch.equal(again[k], v) for k, v in network.state_dict().items())


def test_missing_keys_are_an_error():
    state = STUNet("stunet_small", **SMALL).state_dict()
    del state["upsample_layers.2.conv.bias"]
    with pytest.raises(WeightsError, match="1 missing: upsample_layers"):
        build_model("stunet_small", weights=state, **SMALL)


@pytest.mark.parametrize(("name", "settings"), [
    *((name, {}) for name in NAMES), ("stunet_base", {"num_classes": 4, "in_channels": 3}),
    ("stunet_small", {"width": 0.5, "num_classes": 7}), ("stunet_small", {"width": 0.5, "depth": 2})])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_shapes_are_recognised(name, settings, prefix):
    with torch.device("meta"):
        state = STUNet(name, **settings).state_dict()
    assert recognise({prefix + k: tuple(v.shape) for k, v in state.items()}) == (name, settings)


# the network

class PlainSTUNet(nn.Module):
    """The fact sheet word by word, on the weights of another: upsampling first, nothing in place."""

    def __init__(self, network):
        super().__init__()
        self.own = network

    @staticmethod
    def block(b, x):
        y = nn.functional.leaky_relu(b.norm1(b.conv1(x)), 0.01)
        y = b.norm2(b.conv2(y))
        return nn.functional.leaky_relu(y + (x if b.conv3 is None else b.conv3(x)), 0.01)

    def forward(self, x):
        skips, out = [], []
        for stage in self.own.conv_blocks_context:
            for block in stage:
                x = self.block(block, x)
            skips.append(x)
        for u in range(5):
            x = nn.functional.interpolate(x, scale_factor=[float(s) for s in self.own.pool[4 - u]], mode="nearest")
            x = torch.cat([self.own.upsample_layers[u].conv(x), skips[4 - u]], 1)
            for block in self.own.conv_blocks_localization[u]:
                x = self.block(block, x)
            out.append(self.own.seg_outputs[u](x))
        return out[::-1]


@pytest.mark.parametrize("settings", [{"width": 0.25}, {"width": 0.25, "depth": 2, "in_channels": 2},
                                      {"width": 0.25, "pool": ((1, 2, 2), (2, 1, 2), (2, 2, 2), (2, 2, 1), (1, 1, 1))}])
def test_outputs_and_gradients_are_those_of_a_plain_transcription(settings):
    network = refill(STUNet("stunet_small", num_classes=4, **settings), gain=1.2).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, network.in_channels, 16, 32, 32, generator=generator, dtype=torch.float64)
    found, grads = network.train()(x), []
    expected = PlainSTUNet(network)(x)
    for outputs in (found, expected):
        network.zero_grad()
        sum(o.square().mean() for o in outputs).backward()
        grads.append([p.grad.clone() for p in network.parameters()])
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_exported_norms_are_exact_on_large_volumes(tmp_path, runtime):
    pytest.importorskip("onnxscript", reason="ONNX export needs the extra 'deploy'")
    module = pytest.importorskip(runtime)
    norm = InstanceNorm(2, affine=True).eval()
    x = 3 + torch.randn(1, 2, 96, 96, 96, generator=torch.Generator().manual_seed(0))
    expected = norm.double()(x.double())
    path = str(tmp_path / "norm.onnx")
    torch.onnx.export(norm.float(), (x,), path, dynamo=True, opset_version=18, verbose=False)
    if runtime == "openvino":
        found = module.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x.numpy())[0]
    else:
        session = module.InferenceSession(path)
        found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    assert float((torch.from_numpy(np.array(found)) - expected).abs().max()) < 2e-6
    torch.testing.assert_close(norm(x).double(), expected, rtol=0, atol=2e-6)


def test_the_input_is_not_changed():
    network = refill(STUNet("stunet_small", **SMALL)).eval()
    x = torch.randn(1, 1, 32, 32, 32)
    before = x.clone()
    with torch.no_grad():
        network(x)
    assert torch.equal(x, before)


def test_divisor():
    assert STUNet("stunet_small", width=0.25).divisor == (16, 16, 32)


@pytest.mark.parametrize("wrong", [
    {"width": 0}, {"width": "wide"}, {"in_channels": 0}, {"num_classes": 1}, {"num_classes": 2.5}, {"depth": 0},
    {"depth": True}, {"pool": [[2, 2, 2]] * 4}, {"pool": [[2, 2]] * 5}, {"pool": [[0, 1, 1]] * 5}, {"pool": 2},
    {"pool": [[1.5, 2, 2]] * 5}])
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        STUNet("stunet_small", **wrong)


def test_unknown_variants_and_settings_are_named():
    with pytest.raises(ConfigError, match="stunet_huge"):
        STUNet("stunet_tiny")
    with pytest.raises(ConfigError, match="blocks"):
        build_model("stunet_small", blocks=2)


# the model

def test_the_published_plan_and_its_classes():
    task = build_model("stunet_small").task
    assert (task.size, task.spacing, task.generation) == ((128,) * 3, (1.5,) * 3, 1)
    assert (task.normalisation, task.masked) == (("zscore",), (False,))
    assert (len(task.classes), task.classes[0], task.classes[1], task.classes[-1]) == (
        105, "background", "adrenal_gland_left", "vertebrae_T9")


def test_names_of_other_counts():
    task = default_task(2, 3)
    assert (task.channels, task.classes) == (("channel 0", "channel 1"), ("background", "class 1", "class 2"))
    with pytest.raises(ConfigError, match="num_classes=3"):
        VolumeModel(STUNet("stunet_small", **SMALL), task=default_task(1, 4))
    with pytest.raises(ConfigError, match="in_channels=1"):
        VolumeModel(STUNet("stunet_small", **SMALL), task=default_task(2, 3))


def test_levels_halve_and_the_coarsest_does_not_count():
    assert level_weights(5) == pytest.approx([8 / 15, 4 / 15, 2 / 15, 1 / 15, 0])
    assert level_weights(2) == [1.0, 0.0]
    assert level_weights(1) == [1.0]


def test_loss_is_the_weighted_sum_over_the_levels():
    class Levels(nn.Module):
        in_channels, num_classes = 1, 2

        def forward(self, x):
            return [torch.full((1, 2, n, n, n), float(n), requires_grad=True) for n in (8, 4, 2)]

    seen = []

    def criterion(logits, labels):
        seen.append((tuple(logits.shape), tuple(labels.shape)))
        return {"loss_a": logits.mean(), "b": 2 * logits.mean()}

    model = VolumeModel(Levels(), default_task(1, 2), criterion)
    found = model.loss(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8, dtype=torch.long))
    assert {k: float(v) for k, v in found.items()} == pytest.approx({"loss_a": (2 * 8 + 4) / 3,
                                                                      "b": 2 * (2 * 8 + 4) / 3})
    assert seen == [((1, 2, 8, 8, 8), (1, 1, 8, 8, 8)), ((1, 2, 4, 4, 4), (1, 1, 4, 4, 4))]


def test_labels_shrink_to_the_nearest_voxel():
    labels = torch.arange(4 * 6 * 5).view(1, 1, 4, 6, 5)
    assert shrink_labels(labels, (4, 6, 5)) is labels
    assert torch.equal(shrink_labels(labels, (2, 3, 5)), labels[:, :, 1::2, 1::2])
    assert torch.equal(shrink_labels(labels, (4, 2, 5)), labels[:, :, :, [1, 4]])


def test_graph_takes_patches_of_the_task():
    model = build_model("stunet_small", in_channels=2, **SMALL)
    graph = model.graph()
    assert graph.input_shapes == {"patches": ("batch", 2, 128, 128, 128)}
    assert graph.output_shapes == {"logits": ("batch", 3, 128, 128, 128)}
    assert graph.dynamic == ("batch",)
    x = torch.randn(1, 2, 32, 32, 32)
    with torch.no_grad():
        assert torch.equal(graph(x), model(x))


def test_descriptions_are_small():
    assert sum(p.stat().st_size for p in DATA.glob("stunet_*")) < 900_000
    assert json.loads((DATA / "stunet_huge.json").read_text())["parameters"] == 1457326221
