"""IS-Net and its ground-truth encoder: published outputs, losses, frozen teacher, modes."""
import copy

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, PixelData
from model_tester import ModelTester
from reference import refill

from dense import build_model
from dense.errors import ConfigError, WeightsError
from dense.models.isnet import CutoutModel, GTEncoder, ISNet
from dense.models.isnet.losses import feature_loss, multi_level_bce, multi_level_iou
from dense.registry import MODELS
from dense.weights.files import write_weights


def make_pairs(size, count=2, channels=3) -> dict:
    """A disc on a noisy ground: uint8 pictures (or, with one channel, the masks) and their truth."""
    rng = np.random.default_rng(0)
    y, x = np.indices(size)
    inputs, samples = [], []
    for index in range(count):
        centre = (size[0] * (0.4 + 0.2 * index), size[1] * 0.5)
        mask = (((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < (min(size) / 3) ** 2) * 255).astype(np.uint8)[None]
        picture = np.clip(mask * 0.6 + rng.uniform(0, 90, (3, *size)), 0, 255).astype(np.uint8)
        inputs.append(torch.from_numpy(mask if channels == 1 else picture))
        samples.append(BaseDataElement(metainfo={"ori_shape": (size[0] + 7, size[1] - 5)},
                                       gt_alpha=PixelData(data=torch.from_numpy(mask))))
    return {"inputs": inputs, "data_samples": samples}


class CutoutTester(ModelTester):
    overrides = {"width": 0.25}  # noqa: RUF012
    channels = 3

    def make_data(self, size, count=2):
        return make_pairs(size, count, self.channels)

    def check_outputs(self, outputs, inputs):
        assert [tuple(t.shape) for t in outputs] == [(len(inputs), 1, *inputs.shape[-2:])] * 6
        assert all(torch.isfinite(t).all() for t in outputs)

    def check_predictions(self, predictions, data):
        assert len(predictions) == len(data["inputs"])
        for found, given in zip(predictions, data["data_samples"], strict=True):
            alpha, labels = found.pred_alpha.data, found.pred_sem_seg.data
            assert alpha.shape == labels.shape == (1, *given.ori_shape)
            assert alpha.dtype == torch.float32
            assert alpha.min() >= 0
            assert alpha.max() <= 1
            assert labels.dtype == torch.int64
            assert torch.equal(labels.bool(), alpha > 0.5)


class TestISNet(CutoutTester):
    name, published = "isnet", "isnet_dis"


class TestGTEncoder(CutoutTester):
    name, published, channels = "isnet_gt_encoder", "isnet_gt_encoder", 1


@pytest.mark.parametrize(("name", "published"), [("isnet", "isnet_dis"), ("isnet_gt_encoder", "isnet_gt_encoder")])
def test_published_weights_give_the_published_output(reference, name, published):
    ref = reference(published)
    network = build_model(name, weights=ref.state).network
    with torch.no_grad():
        logits, features = network(ref.inputs["image"])
    for level in range(1, 7):
        torch.testing.assert_close(logits[level - 1].sigmoid(), ref.outputs[f"d{level}"], rtol=0, atol=1e-5)
        expected = ref.outputs[f"feature{level}"]
        scale = float(expected.abs().max())
        torch.testing.assert_close(features[level - 1][:, :4], expected, rtol=0, atol=1e-5 * max(1.0, scale))


@pytest.mark.parametrize("width", [0.25, 0.5])
@pytest.mark.parametrize("size", [(64, 64), (97, 131), (33, 50)])
def test_features_of_encoder_and_network_have_the_same_shapes(width, size):
    with torch.device("meta"):
        ours = ISNet(width=width).eval()(torch.empty(1, 3, *size))[1]
        theirs = GTEncoder(width=width).eval()(torch.empty(1, 1, *size))[1]
    assert [f.shape for f in ours] == [f.shape for f in theirs]


def test_width_is_checked_and_scales_by_eights():
    assert ISNet(width=0.1).side1.in_channels == 8
    assert ISNet(width=0.3).side6.in_channels % 8 == 0
    with pytest.raises(ConfigError, match="width"):
        ISNet(width=0)


# losses

def _softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


FORMULAS = {
    "mse": lambda f, t: ((f - t) ** 2).mean(),
    "mae": lambda f, t: np.abs(f - t).mean(),
    "smooth_l1": lambda f, t: np.where(np.abs(f - t) < 1, 0.5 * (f - t) ** 2, np.abs(f - t) - 0.5).mean(),
    "kl": lambda f, t: (_softmax(t) * (np.log(_softmax(t)) - np.log(_softmax(f)))).sum(1).mean(),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_feature_loss_is_its_formula(kind):
    rng = np.random.default_rng(1)
    pairs = [rng.normal(0, 2, (2, 2, channels, 5, 6)) for channels in (4, 7)]
    found = feature_loss([torch.from_numpy(p[0]) for p in pairs], [torch.from_numpy(p[1]) for p in pairs], kind)
    np.testing.assert_allclose([float(v) for v in found], [FORMULAS[kind](*p) for p in pairs], rtol=1e-5)


@pytest.mark.parametrize("kind", FORMULAS)
def test_feature_loss_is_zero_for_equal_features_and_leaves_the_target_alone(kind):
    feature, target = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, 4, 4, requires_grad=True)
    feature_loss([feature], [target], kind)[0].backward()
    assert feature.grad.abs().sum() > 0
    assert target.grad is None
    same = feature_loss([feature.detach()], [feature.detach()], kind)[0]
    assert float(same) == pytest.approx(0, abs=1e-6)


def test_feature_loss_of_other_widths_says_so():
    with pytest.raises(ValueError, match="same width"):
        feature_loss([torch.zeros(1, 4, 2, 2)], [torch.zeros(1, 8, 2, 2)])


def test_bce_is_its_formula_for_every_level():
    rng = np.random.default_rng(2)
    logits, truth = rng.normal(0, 3, (6, 2, 1, 5, 5)), rng.uniform(0, 1, (2, 1, 5, 5))
    p = 1 / (1 + np.exp(-logits))
    expected = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean((1, 2, 3, 4))
    found = multi_level_bce(list(torch.from_numpy(logits).float()), torch.from_numpy(truth).float())
    np.testing.assert_allclose([float(v) for v in found], expected, rtol=1e-5)


def test_iou_loss_is_its_formula_for_every_level_and_zero_for_the_truth():
    rng = np.random.default_rng(3)
    logits, truth = rng.normal(0, 3, (6, 2, 1, 5, 5)), rng.uniform(0, 1, (2, 1, 5, 5))
    p = 1 / (1 + np.exp(-logits))
    both = (p * truth).sum((2, 3, 4)) + 1
    expected = (1 - both / ((p + truth).sum((2, 3, 4)) - both + 2)).mean(1)
    found = multi_level_iou(list(torch.from_numpy(logits).float()), torch.from_numpy(truth).float())
    np.testing.assert_allclose([float(v) for v in found], expected, rtol=1e-5)
    mask = (torch.rand(2, 1, 8, 8) > 0.5).float()
    assert float(multi_level_iou([200 * mask - 100], mask)[0]) == pytest.approx(0, abs=1e-6)
    empty = torch.zeros(1, 1, 8, 8)
    assert float(multi_level_iou([empty - 100], empty)[0]) == pytest.approx(0, abs=1e-6)


def test_iou_weight_adds_the_loss_and_zero_leaves_the_published_recipe():
    torch.manual_seed(0)
    network = ISNet(width=0.25)
    published, ours = CutoutModel(network), CutoutModel(network, iou_weight=0.5)
    data = train_batch(ours)
    plain, more = published.eval()(**data, mode="loss"), ours.eval()(**data, mode="loss")
    assert set(more) - set(plain) == {"loss_iou"}
    logits = network(data["inputs"])[0]
    expected = 0.5 * sum(multi_level_iou(logits, data["truth"])).detach()
    assert more["loss_iou"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert ours.parse_losses(more)[0].item() == pytest.approx((plain["loss_bce"] + expected).item(), rel=1e-5)


def test_smaller_training_batches_are_the_mean_of_areas():
    model = CutoutModel(ISNet(width=0.25))
    full = train_batch(model)
    model.data_preprocessor.train_size = (32, 32)
    small = train_batch(model)
    for key in ("inputs", "truth"):
        expected = full[key].unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean((3, 5))
        torch.testing.assert_close(small[key], expected)
    assert model.data_preprocessor(make_pairs((64, 64)))["inputs"].shape[-2:] == (64, 64)  # not for predictions


# feature supervision

@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    write_weights(path, refill(GTEncoder(width=0.25)).state_dict(), {})
    return path


def supervised(encoder_file, **settings) -> CutoutModel:
    torch.manual_seed(0)
    return CutoutModel(ISNet(width=0.25), gt_encoder=dict(
        network=dict(type=GTEncoder, width=0.25), checkpoint=encoder_file), **settings)


def train_batch(model) -> dict:
    return model.data_preprocessor(make_pairs((64, 64)), training=True)


def test_training_with_feature_supervision_lowers_both_losses(encoder_file):
    model = supervised(encoder_file).train()
    data, optimizer = train_batch(model), torch.optim.Adam(model.parameters(), 1e-2)
    history = []
    for _ in range(6):
        losses = model(**data, mode="loss")
        history.append({k: v.item() for k, v in losses.items()})
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    assert history[-1]["loss_bce"] < 0.9 * history[0]["loss_bce"]
    assert history[-1]["loss_feature"] < 0.9 * history[0]["loss_feature"]


@pytest.mark.parametrize("kind", FORMULAS)
def test_losses_of_the_model_are_sums_over_six_levels(encoder_file, kind):
    model = supervised(encoder_file, feature_loss=kind, feature_weight=0.5).eval()
    data = train_batch(model)
    with torch.no_grad():
        losses = model(**data, mode="loss")
        logits, features = model.network(data["inputs"])
        targets = model.teacher.network(data["truth"])[1]
    bce = [torch.nn.functional.binary_cross_entropy(d.sigmoid(), data["truth"]) for d in logits]
    assert float(losses["loss_bce"]) == pytest.approx(float(sum(bce)), rel=1e-4)
    assert float(losses["bce_fine"]) == pytest.approx(float(bce[0]), rel=1e-4)
    expected = sum(FORMULAS[kind](f.double().numpy(), t.double().numpy())
                   for f, t in zip(features, targets, strict=True))
    assert float(losses["loss_feature"]) == pytest.approx(0.5 * expected, rel=1e-4)
    total = model.parse_losses(losses)[0]  # what is shown beside the losses must not be minimised twice
    assert float(total) == pytest.approx(float(losses["loss_bce"] + losses["loss_feature"]), rel=1e-6)


def test_frozen_encoder_stays_as_it_was_trained(encoder_file):
    model = supervised(encoder_file).train()
    before = copy.deepcopy(model.teacher.network.state_dict())
    twin = copy.deepcopy(model).train()
    for each in (model, twin):
        data = train_batch(each)
        each.parse_losses(each(**data, mode="loss"))[0].backward()
        encoder = each.teacher.network
        assert not any(m.training for m in encoder.modules())
        assert all(p.grad is None and not p.requires_grad for p in encoder.parameters())
        assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_frozen_encoder_is_in_no_checkpoint_and_no_optimiser(encoder_file):
    model = supervised(encoder_file)
    plain = CutoutModel(ISNet(width=0.25))
    assert list(model.state_dict()) == list(plain.state_dict())
    assert len(list(model.parameters())) == len(list(plain.parameters()))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    assert {k for k in averaged.state_dict() if "teacher" in k} == set()


def test_feature_supervision_without_an_encoder_is_a_clear_error(encoder_file):
    settings = dict(network=dict(type=GTEncoder, width=0.25), checkpoint=None)
    with pytest.raises(ConfigError, match="checkpoint is not set"):
        CutoutModel(ISNet(width=0.25), gt_encoder=settings)
    settings = dict(network=dict(type=GTEncoder, width=0.5), checkpoint=encoder_file)
    with pytest.raises(WeightsError, match="GTEncoder"):
        CutoutModel(ISNet(width=0.5), gt_encoder=settings)
    with pytest.raises(ConfigError, match="cosine"):
        CutoutModel(ISNet(width=0.25), feature_loss="cosine")


# modes, layout

def test_predict_without_samples_gives_the_size_of_the_input_even_with_gradients_on():
    model = build_model("isnet", width=0.25)
    found = model(torch.randn(2, 3, 40, 56), mode="predict")
    assert [s.pred_alpha.shape for s in found] == [(40, 56)] * 2


def test_predict_is_the_resized_sigmoid_of_the_finest_level():
    model = build_model("isnet", width=0.25)
    refill(model.network)
    data = make_pairs((64, 64), 1)
    data["data_samples"][0].set_metainfo({"ori_shape": (64, 64)})
    alpha = model.test_step(data)[0].pred_alpha.data
    with torch.no_grad():
        expected = model(model.data_preprocessor(data)["inputs"])[0].sigmoid()[0]
    torch.testing.assert_close(alpha, expected, rtol=0, atol=1e-6)
    assert alpha.std() > 0


def test_preprocessor_normalises_pictures_as_published_and_masks_to_unit_range():
    preprocess = build_model("isnet", width=0.25).data_preprocessor
    values = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 3)
    pictures = preprocess({"inputs": [values.expand(3, 1, 3)]})["inputs"]
    torch.testing.assert_close(pictures[0, 0, 0], torch.tensor([-0.5, -0.3, 0.5]))
    torch.testing.assert_close(preprocess({"inputs": [values]})["inputs"][0, 0, 0], torch.tensor([0, 0.2, 1.0]))


def test_channels_last_gives_the_same_output():
    plain = CutoutModel(refill(ISNet(width=0.25))).eval()
    last = MODELS.build(dict(type="CutoutModel", network=dict(type="ISNet", width=0.25), channels_last=True)).eval()
    last.load_state_dict(plain.state_dict())
    data = make_pairs((64, 80))
    inputs = last.data_preprocessor(data)["inputs"]
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert last.network.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for a, b in zip(plain(plain.data_preprocessor(data)["inputs"]), last(inputs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
