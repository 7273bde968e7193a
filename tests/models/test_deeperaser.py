"""DeepEraser: published outputs, the hoisted half of the GRU, losses, narrow and strided versions, prediction."""
import numpy as np
import pytest
import torch
from deeperaser_transcription import PlainDeepEraser
from mmengine.structures import BaseDataElement, PixelData
from model_tester import ModelTester
from reference import refill

from dense import build_model
from dense.errors import ConfigError, WeightsError
from dense.models.deeperaser import DeepEraser, EraseModel
from dense.models.deeperaser.losses import iteration_weights, weighted_l1


def make_batch(size, count=2) -> dict:
    """Smooth pictures with bright bars, masks of boxes around some of the bars, and the pictures without those."""
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    for index in range(count):
        y, x = np.indices(size)
        clean = np.stack([90 + 60 * np.sin(y / 9 + index) + 40 * np.cos(x / (7 + c)) for c in range(3)])
        mask, picture = np.zeros(size, np.uint8), clean.copy()
        mask[size[0] // 4:size[0] // 2, size[1] // 4:3 * size[1] // 4] = 255
        picture[:, (mask > 0) & (x % 6 < 2)] = rng.uniform(200, 255)
        array = np.concatenate([picture, mask[None]]).clip(0, 255).astype(np.uint8)
        inputs.append(torch.from_numpy(array))
        samples.append(BaseDataElement(
            metainfo={"ori_shape": (size[0] - 3, size[1] - 1)},
            gt_image=PixelData(data=torch.from_numpy(clean.clip(0, 255).astype(np.uint8)))))
    return {"inputs": inputs, "data_samples": samples}


class EraserTester(ModelTester):
    name = "deeperaser"
    odd_sizes = ((37, 53), (33, 50))
    size = (32, 40)
    learning_rate = 2e-3

    def make_data(self, size, count=2):
        return make_batch(size, count)

    def check_outputs(self, outputs, inputs):
        expected = (len(inputs), 3, *inputs.shape[-2:])
        assert [tuple(t.shape) for t in outputs] == [expected] * self.overrides["iterations"]
        assert all(torch.isfinite(t).all() for t in outputs)

    def check_predictions(self, predictions, data):
        assert len(predictions) == len(data["inputs"])
        for found, given, array in zip(predictions, data["data_samples"], data["inputs"], strict=True):
            height, width = given.ori_shape
            picture = found.pred_image.data
            assert picture.dtype == torch.uint8
            assert picture.shape == (3, height, width)
            outside = array[3, :height, :width] == 0
            assert torch.equal(picture[:, outside], array[:3, :height, :width][:, outside])
            assert not torch.equal(picture, array[:3, :height, :width])


class TestDeepEraser(EraserTester):
    overrides = {"width": 0.25, "iterations": 3}  # noqa: RUF012
    published = "deeperaser"


class TestStridedDeepEraser(EraserTester):
    overrides = {"width": 0.25, "iterations": 2, "stride": 2}  # noqa: RUF012


@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_weights_give_the_published_output(reference, prefix):
    ref = reference("deeperaser")
    network = build_model("deeperaser", weights={prefix + k: v for k, v in ref.state.items()}, iterations=3).network
    inputs = torch.cat([ref.inputs["image"], ref.inputs["mask"]], 1)
    with torch.no_grad():
        found, last = network(inputs), network.last(inputs)
    for index, picture in enumerate(found, start=1):
        torch.testing.assert_close(picture, ref.outputs[f"iteration{index}"], rtol=0, atol=1e-5)
    assert torch.equal(last, found[-1])


def test_a_missing_key_is_an_error(reference):
    state = dict(reference("deeperaser").state)
    del state["update_block.gru.convq2.bias"]
    with pytest.raises(WeightsError, match="convq2"):
        build_model("deeperaser", weights=state)


@pytest.mark.parametrize("settings", [{"width": 0.25, "iterations": 4}, {"width": 0.5, "iterations": 2}])
def test_outputs_and_gradients_are_those_of_a_plain_transcription(settings):
    ours, plain = DeepEraser(**settings), PlainDeepEraser(**settings)
    refill(ours, gain=1.2)
    plain.load_state_dict(ours.state_dict())
    x = torch.rand(1, 4, 24, 31, generator=torch.Generator().manual_seed(0))
    for network in (ours, plain):
        network(x)[-1].abs().mean().backward()
    for a, b in zip(ours(x), plain(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    for (name, a), (_, b) in zip(ours.named_parameters(), plain.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=2e-3, atol=1e-5, msg=name)


def test_iterations_do_not_change_the_weights():
    state = DeepEraser(width=0.25).state_dict()
    DeepEraser(width=0.25, iterations=2).load_state_dict(state)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"width": "wide"}, {"iterations": 0}, {"stride": 1.5}])
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DeepEraser(**wrong)


# losses

def test_weights_of_the_iterations():
    assert iteration_weights(3, 0.5) == [0.25, 0.5, 1.0]
    assert iteration_weights(2, 1.0) == [1.0, 1.0]


def test_weighted_l1_is_its_formula():
    rng = np.random.default_rng(0)
    a, b, w = rng.random((2, 3, 4, 5)), rng.random((2, 3, 4, 5)), rng.random((2, 1, 4, 5))
    expected = (np.broadcast_to(w, a.shape) * abs(a - b)).sum() / np.broadcast_to(w, a.shape).sum()
    assert float(weighted_l1(*map(torch.from_numpy, (a, b, w)))) == pytest.approx(expected, rel=1e-5)


def test_loss_weighs_iterations_and_masked_pixels():
    class Fixed(torch.nn.Module):
        def forward(self, x):
            off = torch.where(x[:, 3:] > 0, 0.5, 0.1)
            return [x[:, :3] + off, x[:, :3] + off / 2]

    inputs = torch.zeros(1, 4, 4, 4)
    inputs[:, 3, :2] = 1  # half of it
    losses = EraseModel(Fixed(), gamma=0.8, mask_weight=3.0).loss(inputs, inputs[:, :3])
    error = (3 * 0.5 + 0.1) / 4
    assert float(losses["loss_l1"]) == pytest.approx(0.8 * error + error / 2)
    assert float(losses["l1_inside"]) == pytest.approx(0.25)


def test_loss_weighs_pixels_that_are_to_change():
    class Same(torch.nn.Module):
        def forward(self, x):
            return [x[:, :3]]

    inputs, truth = torch.zeros(1, 4, 4, 4), torch.zeros(1, 3, 4, 4)
    inputs[:, 3, :2] = 1
    truth[:, 1, 0] = 0.3  # a row of the mask
    truth[:, 1, 3] = 0.05  # no more than compression does
    losses = EraseModel(Same(), mask_weight=3.0, change_weight=9.0).loss(inputs, truth)
    assert float(losses["loss_l1"]) == pytest.approx((4 * 9 * 0.1 + 4 * 0.05 / 3) / (4 * 9 + 4 * 3 + 8))


@pytest.mark.parametrize("wrong", [{"gamma": 0}, {"gamma": 1.2}, {"mask_weight": 0}, {"change_weight": -1}])
def test_settings_of_the_loss_are_checked(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        EraseModel(DeepEraser(width=0.25), **wrong)


# deployed

def test_graph_takes_values_to_255_and_clamps():
    model = build_model("deeperaser", width=0.25, iterations=2)
    refill(model.network, gain=3.0)
    graph = model.graph()
    x = 255 * torch.rand(1, 4, 24, 24)
    with torch.no_grad():
        raw, found = model.network(x / 255)[-1], graph(x)
    assert raw.min() < 0 < 1 < raw.max()
    torch.testing.assert_close(found, raw.clamp(0, 1), rtol=0, atol=1e-6)
