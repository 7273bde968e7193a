"""FFNet: names, published values, layouts of weights, prediction through the task."""
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, PixelData
from model_tester import ModelTester
from reference import DATA, fill, load_reference, refill

from dense import build_model, list_models
from dense.errors import ConfigError, MissingDependencyError, WeightsError
from dense.models.ffnet import FFNet
from dense.models.ffnet.backbone import PreDown
from dense.models.ffnet.family import DEPTHS, parse_name, published_names
from dense.models.ffnet.published import load_backbone
from dense.models.names import model_of_meta, recognise
from dense.tasks import SemanticTask
from dense.weights.files import read_weights, write_weights

pytest.importorskip("mmseg", reason="FFNet needs the extra 'seg'")

REFERENCES = ("ffnet18_dAAC", "ffnet50_dAAA", "ffnet46N_CBB", "ffnet40S_BCC_mobile", "ffnet46NS_CCC_mobile")
SMALL = {"num_classes": 5, "width": 0.25, "layers": (1, 1, 1, 1)}


def make_scenes(size, count=2, classes=5):
    """Pictures of two halves, and labels that say which, with some pixels that have none."""
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    for _ in range(count):
        labels = np.zeros(size, np.int64)
        labels[:, size[1] // 2:] = classes - 1
        image = 200 * (labels > 0) + rng.integers(0, 50, (3, *size))
        labels[:2] = 255
        sample = BaseDataElement(metainfo={"ori_shape": (size[0] - 3, size[1] + 5)})
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
        inputs.append(torch.from_numpy(image.astype(np.uint8)))
        samples.append(sample)
    return {"inputs": inputs, "data_samples": samples}


class FFNetTester(ModelTester):
    overrides, size, odd_sizes = SMALL, (64, 96), ((97, 131), (65, 70))
    falls_to = 0.95

    def make_data(self, size, count=2):
        return make_scenes(size, count)

    def check_outputs(self, outputs, inputs):
        stride = parse_name(self.name).stride
        expected = [-(-s // stride) for s in inputs.shape[-2:]]
        assert outputs.shape[:2] == (len(inputs), 5)
        assert all(e - 1 <= s <= e for s, e in zip(outputs.shape[-2:], expected, strict=True))
        if not parse_name(self.name).pre_down:
            assert list(outputs.shape[-2:]) == expected

    def check_predictions(self, predictions, data):
        assert len(predictions) == len(data["inputs"])
        for sample in predictions:
            labels = sample.pred_sem_seg.data
            assert labels.dtype == torch.int64 and tuple(labels.shape) == (1, *sample.ori_shape)
            assert labels.min() >= 0 and labels.max() < 5


class TestMobile(FFNetTester):
    name, published = "ffnet40S_BCC_mobile", "ffnet40S_BCC_mobile"


class TestDilated(FFNetTester):
    name, published = "ffnet18_dAAC", "ffnet18_dAAC"


class TestBottleneck(FFNetTester):
    name, published = "ffnet50_dAAA", "ffnet50_dAAA"


class TestThreeLayers(FFNetTester):
    name, published = "ffnet46N_CBB", "ffnet46N_CBB"
    overrides = {**SMALL, "layers": (1, 1, 1)}  # noqa: RUF012


class TestPreDown(FFNetTester):
    name = "ffnet78S_BCC_mobile_pre_down"


# names

def test_the_family_is_the_published_one():
    with open(DATA / "ffnet_family.json") as file:
        family = json.load(file)
    assert set(published_names()) == set(family) and len(published_names()) == 66
    assert set(family) <= set(list_models())
    for name, facts in family.items():
        variant = parse_name(name)
        assert variant.name == name
        assert facts["head"] == variant.up + "_mobile" * variant.mobile
        assert facts["backbone"] == f"Resnet{variant.depth}{variant.family}{'_D' * variant.dilated}"
        with torch.device("meta"):
            network = FFNet(name)
        assert sum(p.numel() for p in network.parameters()) == facts["parameters"], name


@pytest.mark.parametrize(("name", "message"), [
    ("ffnet40_AAA", "depth 40 is none of 18"), ("ffnet40S_AAA", "stem B, not A"), ("ffnet46N_dCBB", "three, all of"),
    ("ffnet40S_BBD", "no name"), ("ffnet40S_BBB_pre_down_mobile", "no name"), ("resnet18", "no name")])
def test_names_that_break_the_rules(name, message):
    with pytest.raises(ConfigError, match=message):
        FFNet(name)


def test_a_name_by_the_rules_that_was_not_published_builds():
    assert DEPTHS["S"][54] == (5, 8, 8, 5)
    assert "ffnet54S_BAC" not in published_names()
    with torch.device("meta"):
        assert FFNet("ffnet54S_BAC")(torch.empty(1, 3, 64, 64)).shape == (1, 19, 16, 16)


@pytest.mark.parametrize("name", ["ffnet150_AAA", "ffnet78S_dBBB_mobile", "ffnet122NS_CCC_mobile_pre_down"])
def test_strides(name):
    with torch.device("meta"):
        out = FFNet(name)(torch.empty(1, 3, 256, 512))
    stride = parse_name(name).stride
    assert tuple(out.shape) == (1, 19, 256 // stride, 512 // stride)


# published values

@pytest.mark.parametrize("name", REFERENCES)
def test_published_weights_give_the_published_output(name):
    ref = load_reference(name)
    model = build_model(name, weights=ref.state)
    with torch.no_grad():
        found = model(ref.inputs["image"], mode="tensor")
    expected = ref.outputs["logits"]
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_pre_down_is_the_published_blur():
    x = torch.rand(1, 3, 256, 512)
    down = PreDown()
    assert tuple(down(x).shape) == (1, 3, 127, 254)
    assert tuple(PreDown(padding="symmetric")(x).shape) == (1, 3, 128, 256)
    assert torch.allclose(down(torch.ones(1, 3, 20, 20)), torch.ones(1, 3, 9, 8))  # weights sum to 1
    kernel = down.weight[1, 0]
    assert float(kernel[2, 3] / kernel[2, 2]) == pytest.approx(float(np.exp(-1 / (2 * 0.49))), rel=1e-5)
    # row 5 of the output: centre in row 2 * 5 + 2 - 1 of the input, column 2 * 5 + 2
    expected = (x[0, 1, 9:14, 10:15] * kernel).sum()
    assert torch.allclose(down(x)[0, 1, 5, 5], expected, atol=1e-6)
    with pytest.raises(ConfigError, match="published"):
        FFNet("ffnet40S_BBB_mobile_pre_down", padding="none")


# layouts of weights

def test_the_blur_is_left_out_where_there_is_none_and_kept_where_there_is_one():
    plain = refill(FFNet("ffnet40S_BCC_mobile", **SMALL)).state_dict()
    blur = {"smoothing.weight": PreDown().weight}
    for weights in (plain, plain | blur):
        model = build_model("ffnet40S_BCC_mobile", weights=weights, **SMALL)
        assert all(torch.equal(v, plain[k]) for k, v in model.network.state_dict().items())
        down = build_model("ffnet40S_BCC_mobile_pre_down", weights=weights, **SMALL)
        assert torch.equal(down.network.state_dict()["smoothing.weight"], blur["smoothing.weight"])
    other = {"smoothing.weight": torch.full((3, 1, 5, 5), 0.04)}  # the file's own counts
    down = build_model("ffnet40S_BCC_mobile_pre_down", weights=plain | other, **SMALL)
    assert torch.equal(down.smoothing.weight, other["smoothing.weight"])


def test_weights_as_trained_here_load_by_name_and_into_the_model():
    model = build_model("ffnet40S_BCC_mobile_pre_down", **SMALL)
    state = fill({k: v.shape for k, v in model.state_dict().items()})
    assert {k.split(".")[0] for k in state} == {"backbone", "neck", "decode_head", "smoothing"}
    model.load_state_dict(state)
    twin = build_model("ffnet40S_BCC_mobile_pre_down", weights=state, **SMALL)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))


def test_missing_and_unknown_keys_are_listed():
    state = FFNet("ffnet40S_BCC_mobile", **SMALL).state_dict()
    state["head.layers.9.weight"] = state.pop("head.layers.3.last_layer.3.bias")
    with pytest.raises(WeightsError, match=r"(?s)1 missing: head.layers.3.last_layer.3.bias.*1 unknown: head.layers.9"):
        build_model("ffnet40S_BCC_mobile", weights=state, **SMALL)


def test_own_weights_tell_network_and_task(tmp_path):
    task = SemanticTask((64, 96), classes=("sky", "road", "house"), palette=((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    settings = {**SMALL, "num_classes": 3}
    network = refill(FFNet("ffnet40S_BCC_mobile", **settings))
    meta = {"network": {"name": "ffnet40S_BCC_mobile", **settings}, "task": task.to_dict()}
    write_weights(tmp_path / "w.safetensors", network.state_dict(), meta)
    model = build_model("ffnet40S_BCC_mobile", weights=tmp_path / "w.safetensors")
    assert model.task == task and model.num_classes == 3
    assert read_weights(tmp_path / "w.safetensors").tensors.keys() == model.network.state_dict().keys()
    with pytest.raises(ConfigError, match="ffnet40S_BCC_mobile, not of ffnet78S_BCC_mobile"):
        build_model("ffnet78S_BCC_mobile", weights=tmp_path / "w.safetensors")


def test_weights_are_recognised_as_far_as_their_keys_tell():
    def shapes(name, prefix="module."):
        with torch.device("meta"):
            return {prefix + k: tuple(v.shape) for k, v in FFNet(name, num_classes=7).state_dict().items()}

    for name in ("ffnet150_AAA", "ffnet101_dAAA", "ffnet34_dAAC", "ffnet34_ABB", "ffnet74N_CBB",
                 "ffnet46NS_CCC_mobile_pre_down", "ffnet54S_dBBB_mobile", "ffnet86S_BBB"):
        assert recognise(shapes(name), wanted=name) == (name, {"num_classes": 7})
    assert recognise(shapes("ffnet18_dAAC", "")) == ("ffnet18_dAAC", {"num_classes": 7})
    assert recognise(shapes("ffnet56_dAAA"), wanted="ffnet56_AAA") == ("ffnet56_dAAA", {"num_classes": 7})
    with pytest.raises(ConfigError, match="ffnet40S_BCC_mobile or of ffnet40S_BCC_mobile_pre_down"):
        recognise(shapes("ffnet40S_BCC_mobile"))
    assert recognise({"backbone_model.layer1.0.conv1.weight": (64, 64, 3, 3)}) is None


def test_names_stored_with_weights_win_over_their_class():
    meta = {"class": "FFNet", "network": {"name": "ffnet40S_BCC_mobile"}}
    assert model_of_meta(meta) == "ffnet40S_BCC_mobile"
    assert model_of_meta({"class": "ISNet", "network": {}}) == "isnet"
    assert model_of_meta({"class": "FFNet", "network": {}, "model": "ffnet46N_CBB"}) == "ffnet46N_CBB"
    assert model_of_meta({"class": "None"}) is None


def test_imagenet_backbones(tmp_path):
    donor = refill(FFNet("ffnet18_AAC", **SMALL)).backbone_model.state_dict()
    file = tmp_path / "resnet.safetensors"
    write_weights(file, {**donor, "fc.weight": torch.zeros(1000, 8), "fc.bias": torch.zeros(1000)}, {})
    dilated = build_model("ffnet18_dAAC", **SMALL)
    before = {k: v.clone() for k, v in dilated.backbone.state_dict().items()}
    load_backbone(dilated.backbone, file)
    for key, value in dilated.backbone.state_dict().items():
        expected = before[key] if key.startswith("layer1.0.downsample") else donor[key]
        assert torch.equal(value, expected), key
    with pytest.raises(WeightsError, match="does not fit the backbone"):
        load_backbone(FFNet("ffnet40S_BCC_mobile", **SMALL).backbone_model, file)
    from dense.models.ffnet import SemanticModel
    model = SemanticModel(dict(name="ffnet18_AAC", **SMALL), backbone_weights=file)
    assert all(torch.equal(v, donor[k]) for k, v in model.backbone.state_dict().items())


# the model

def test_classes_of_network_and_task_must_agree():
    from dense.models.ffnet import SemanticModel
    with pytest.raises(ConfigError, match=r"num_classes=5, but the task has 19"):
        SemanticModel(dict(name="ffnet18_dAAC", **SMALL), task=SemanticTask())
    with pytest.raises(ConfigError, match="at least 2"):
        build_model("ffnet18_dAAC", num_classes=1)
    assert build_model("ffnet18_dAAC", device="meta").task.classes[13] == "car"


def test_losses_leave_out_pixels_without_label_and_take_weights_and_samplers():
    from mmseg.models.losses import CrossEntropyLoss
    from mmseg.structures.sampler import OHEMPixelSampler

    from dense.models.ffnet import SemanticModel

    def loss(data, **settings):
        torch.manual_seed(0)
        model = SemanticModel(dict(name="ffnet18_dAAC", **SMALL),
                              task=SemanticTask(classes=tuple("abcde"), align_corners=True), **settings)
        refill(model.network)
        batch = model.data_preprocessor(data, training=True)
        return model.eval()(**batch, mode="loss")["decode.loss_ce"].detach(), model, batch

    data = make_scenes((64, 96))
    value, model, batch = loss(data)
    with torch.no_grad():
        logits = torch.nn.functional.interpolate(model(batch["inputs"]), (64, 96), mode="bilinear", align_corners=True)
    truth = torch.stack([s.gt_sem_seg.data[0] for s in data["data_samples"]])
    each = torch.nn.functional.cross_entropy(logits, truth, ignore_index=255, reduction="none")
    labelled = int((truth != 255).sum())
    assert float(value) == pytest.approx(float(each.sum() / labelled), rel=1e-5)
    weights = [1.0, 1.0, 1.0, 1.0, 3.0]
    weighted, *_ = loss(data, loss_decode=dict(type=CrossEntropyLoss, class_weight=weights))
    expected = torch.nn.functional.cross_entropy(logits, truth, torch.tensor(weights), ignore_index=255)
    assert float(weighted) == pytest.approx(float(expected), rel=1e-5)
    hard, *_ = loss(data, sampler=dict(type=OHEMPixelSampler, thresh=0.3, min_kept=100))
    assert 0 < float(hard) != pytest.approx(float(value), rel=1e-3)


@pytest.mark.parametrize("mode", ["global", "whole", "sliding"])
def test_predict_equals_the_task_on_the_deployed_graph(mode):
    task = SemanticTask((64, 96), classes=tuple("abcde"), align_corners=True)
    model = build_model("ffnet18_dAAC", **SMALL)
    model.task = model.data_preprocessor.task = task
    refill(model.network)
    image = np.random.default_rng(0).integers(0, 256, (101, 130, 3), dtype=np.uint8)
    plan = task.plan(image.shape[:2], mode)
    tensor = image.transpose(2, 0, 1) if mode == "sliding" else task.tensor(image, plan)
    sample = BaseDataElement(metainfo={"ori_shape": image.shape[:2], "mode": mode})
    found = model.test_step({"inputs": [torch.from_numpy(np.ascontiguousarray(tensor))], "data_samples": [sample]})
    graph = model.graph()
    with torch.no_grad():
        expected = task.run(image, lambda batch: graph(torch.from_numpy(batch)).numpy(), mode)
    assert len(np.unique(expected)) > 1
    assert (found[0].pred_sem_seg.data[0].numpy() != expected).mean() < 1e-3  # rounding decides between equals


def test_parts_are_composed_by_mmsegs_own_encoder_decoder():
    from mmseg.models.segmentors import EncoderDecoder

    from dense.models.ffnet.network import part_settings
    from dense.registry import MODELS
    parts = part_settings("ffnet18_dAAC", **SMALL)
    head = parts["head"]
    model = MODELS.build(dict(
        type=EncoderDecoder, backbone=dict(type="dense.FFNetBackbone", **parts["backbone"]),
        neck=dict(type="dense.FFNetUpHead", **parts["neck"]),
        decode_head=dict(type="dense.FFNetHead", in_channels=parts["neck"]["out"], channels=head["channels"],
                         num_classes=5, kernel=head["kernel"], mode=head["mode"]),
        test_cfg=dict(mode="whole"))).eval()
    ours = build_model("ffnet18_dAAC", **SMALL)
    model.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(model(x, mode="tensor"), ours(x))


def test_names_are_listed_without_mmseg_and_its_absence_is_said():
    code = """
import sys
sys.modules["mmseg"] = None
from dense import build_model, list_models
from dense.errors import MissingDependencyError
assert "ffnet78S_dBBB_mobile" in list_models()
assert "mmcv" not in sys.modules
try:
    build_model("ffnet78S_dBBB_mobile")
except MissingDependencyError as error:
    assert "dense[seg]" in str(error), error
else:
    raise SystemExit("built without mmseg")
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
    assert issubclass(MissingDependencyError, Exception)
