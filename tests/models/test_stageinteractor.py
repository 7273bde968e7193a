"""StageInteractor: stored values, layouts of weights, sampling, prediction through the task."""
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from model_tester import ModelTester
from reference import DATA, fill, load_description, refill
from torch.nn import functional as F

from dense import build_model, list_models
from dense.errors import ConfigError, MissingDependencyError, WeightsError
from dense.models.complexity import measure
from dense.models.names import recognise
from dense.tasks import DetectionTask
from dense.weights.files import write_weights

pytest.importorskip("mmdet", reason="StageInteractor needs the extra 'det'")

from mmdet.structures import DetDataSample

from dense.models.stageinteractor import SharedNormNeck, StageInteractor
from dense.models.stageinteractor.backbones import load_backbone
from dense.models.stageinteractor.boxes import encode_position, refine, to_xyxy, to_xyzr
from dense.models.stageinteractor.decoder import Operators, Stage, State, make_stages, run_stages
from dense.models.stageinteractor.published import is_dead
from dense.models.stageinteractor.sampling import PointSampler

NAME = "stageinteractor_r50"
SMALL = {"backbone": "r18", "width": 0.125, "stages": 4, "queries": 8, "num_classes": 3, "sub_points": 3, "points": 2,
         "first_points": 3, "rows": 8, "groups": 2, "frozen_stages": -1, "norm_eval": False}


def make_objects(size, count=2):
    """Pictures of one bright rectangle each on a dark ground, and its box."""
    rng, inputs, samples = np.random.default_rng(0), [], []
    for index in range(count):
        box = [size[1] // 4, size[0] // 4 + index, size[1] // 2 + 8, 3 * size[0] // 4]
        image = rng.integers(0, 50, (3, *size))
        image[:, box[1]:box[3], box[0]:box[2]] += 150
        sample = DetDataSample(metainfo={"img_shape": size, "ori_shape": (2 * size[0], 2 * size[1])})
        sample.gt_instances = InstanceData(bboxes=torch.tensor([box], dtype=torch.float32),
                                           labels=torch.tensor([index % 3]))
        inputs.append(torch.from_numpy(image.astype(np.uint8)))
        samples.append(sample)
    return {"inputs": inputs, "data_samples": samples}


class TestModel(ModelTester):
    name, overrides = NAME, SMALL
    size, odd_sizes = (64, 96), ((97, 131), (65, 70))
    learning_rate, batch_tolerance = 1e-3, 1e-4  # rounding grows from stage to stage
    onnx_tolerance, onnx_options = 1e-3, {"dynamo": True, "opset_version": 18}

    def make_data(self, size, count=2):
        return make_objects(size, count)

    @pytest.mark.slow
    def test_onnx_runtime_gives_the_same_outputs(self, tmp_path):
        super().test_onnx_runtime_gives_the_same_outputs(tmp_path)

    def check_outputs(self, outputs, inputs):
        assert len(outputs) == 4
        for logits, boxes in outputs:
            assert tuple(logits.shape) == (len(inputs), 8, 3) and tuple(boxes.shape) == (len(inputs), 8, 4)
            assert (boxes[..., 2:] >= boxes[..., :2]).all() and torch.isfinite(logits).all()

    def check_predictions(self, predictions, data):
        assert len(predictions) == len(data["inputs"])
        for sample in predictions:
            found = sample.pred_instances
            height, width = sample.ori_shape
            assert 0 < len(found.scores) <= 8 and found.labels.dtype == torch.int64
            assert found.bboxes.shape == (len(found.scores), 4) and (found.scores.diff() <= 0).all()
            assert found.bboxes.min() >= 0 and (found.bboxes <= torch.tensor([width, height] * 2)).all()


# stored values: computed by the original network on the CPU

@pytest.fixture(scope="module")
def stored():
    """Description, weights (with the dead keys) and tensors."""
    described = load_description("stageinteractor_decoder")
    with np.load(DATA / "stageinteractor_decoder.npz") as arrays:
        tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    rng = np.random.default_rng(7)  # the original's inputs were drawn so
    for level, channels in enumerate((256, 512, 1024, 2048), start=2):
        shape = (1, channels, 64 >> level, 96 >> level)
        tensors[f"input.c{level}"] = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    weights = fill(described["state_dict"], described["seed"], described["gain"])
    return described, {k: v.abs() if k.endswith("iof_tau") else v for k, v in weights.items()}, tensors


@pytest.fixture(scope="module")
def network(stored):
    """The published network with the stored weights, loaded by ``build_model``."""
    _, weights, _ = stored
    backbone = build_model(NAME, **SMALL | {"width": 1, "backbone": "r50"}).backbone.state_dict()
    backbone = {f"backbone.{k}": v for k, v in backbone.items()}
    return build_model(NAME, weights={f"module.{k}": v for k, v in (backbone | weights).items()}, queries=12).network


def scaled_difference(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def test_every_stage_gives_the_stored_values_from_those_of_the_stage_before(network, stored):
    _, _, z = stored
    operators, query, xyzr = Operators(), network.rpn_head.contents()[None], z["input.start_xyzr"]
    with torch.no_grad():
        levels = network.neck([z[f"input.c{i}"] for i in (2, 3, 4, 5)])
        for s, stage in enumerate(network.roi_head.bbox_head):
            logits, delta, (found, moved, operators) = stage(levels, State(query, xyzr, operators))
            query, xyzr = z[f"output.query{s}"], z[f"output.xyzr{s}"]
            for name, value in (("cls", logits), ("delta", delta), ("query", found), ("xyzr", moved),
                                ("boxes", to_xyxy(moved))):
                assert scaled_difference(value, z[f"output.{name}{s}"]) < 1e-5, (s, name)


def test_stages_that_run_free_stay_near_the_stored_values(network, stored):
    _, _, z = stored
    with torch.no_grad():
        levels = network.neck([z[f"input.c{i}"] for i in (2, 3, 4, 5)])
        outputs = network.roi_head(levels, network.rpn_head.contents()[None], z["input.start_xyzr"])
    assert len(outputs) == 6
    for s, (logits, boxes) in enumerate(outputs):
        assert scaled_difference(logits, z[f"output.cls{s}"]) < 1e-3
        assert scaled_difference(boxes, z[f"output.boxes{s}"]) < 1e-3


def test_keys_and_counts_are_the_published_ones(stored):
    shapes = {k: tuple(v) for k, v in stored[0]["state_dict"].items()}
    with torch.device("meta"):
        network = build_model(NAME, device="meta").network
    own = {k: tuple(v.shape) for k, v in network.state_dict().items() if not k.startswith("backbone.")}
    alive = {k: (100, *v[1:]) if k.startswith("rpn_head.") else v for k, v in shapes.items() if not is_dead(k)}
    assert own == alive and len(shapes) > len(alive)

    def millions(module):
        return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)

    dead = {s: sum(np.prod(v) for k, v in shapes.items() if is_dead(k) and f"bbox_head.{s}." in k and "iou" not in k)
            for s in range(6)}
    assert sum(dead.values()) == 328_960
    found = [round(millions(stage) + dead[s] / 1e6, 2) for s, stage in enumerate(network.roi_head.bbox_head)]
    assert found == [22.72, 18.50, 17.05, 17.61, 18.17, 18.72]
    assert millions(network) == 136.95 and round(millions(network) + 0.329, 2) == 137.28
    assert millions(build_model(NAME + "_300", device="meta", stages=1).rpn_head) == 0.08


def test_arithmetic_is_that_of_the_sheet():
    found = measure(build_model(NAME, device="meta").network, (1, 3, 800, 1344))
    for part, expected in (("backbone.", 87.6), ("neck.", 8.3), ("roi_head.", 18.9)):
        macs = sum(s.macs for s in found.stages if s.name.startswith(part)) / 1e9
        assert macs == pytest.approx(expected, abs=0.11), part


def test_missing_keys_are_listed(stored):
    state = {k: v for k, v in stored[1].items() if "ffn_norm" not in k}
    with pytest.raises(WeightsError, match=r"missing: backbone\."):
        build_model(NAME, weights=state, queries=12)


def test_weights_are_recognised(stored):
    with torch.device("meta"):
        own = build_model(NAME, device="meta", num_classes=7, queries=300).network.state_dict()
    shapes = {f"module.{k}": tuple(v.shape) for k, v in own.items()}
    assert recognise(shapes) == ("stageinteractor_r50_300", {"num_classes": 7})
    shapes["module.rpn_head.init_content_features.weight"] = (100, 256)
    assert recognise(shapes) == (NAME, {"num_classes": 7})
    x101 = {k: tuple(v.shape) for k, v in build_model("stageinteractor_x101", device="meta", dcn=False,
                                                      stages=1).network.state_dict().items()}
    assert recognise(x101) is None  # deformable ones have offsets
    assert recognise(x101 | {"backbone.layer3.22.conv2.conv_offset.weight": (18, 1024, 3, 3)}) == (
        "stageinteractor_x101", {})
    swin = build_model("stageinteractor_swin_s", device="meta", stages=1).network.state_dict()
    assert recognise({k: tuple(v.shape) for k, v in swin.items()}) == ("stageinteractor_swin_s", {})
    assert recognise({k: v for k, v in shapes.items() if "roi_head" not in k}) is None


def test_own_weights_tell_network_and_task(tmp_path):
    task = DetectionTask((64, 96), classes=("cat", "dog", "cow"), threshold=0.4, most=5)
    network = refill(build_model(NAME, **SMALL).network)
    write_weights(tmp_path / "w.safetensors", network.state_dict(), {"network": SMALL, "task": task.to_dict()})
    model = build_model(NAME, weights=tmp_path / "w.safetensors")
    assert model.task == task and all(torch.equal(v, network.state_dict()[k])
                                      for k, v in model.network.state_dict().items())


# parts

def test_xyzr_is_what_it_says():
    xyxy = torch.tensor([[10.0, 20, 42, 36]])
    xyzr = to_xyzr(xyxy)
    assert xyzr.tolist() == [[26, 28, 4.5, -1]]
    assert torch.allclose(to_xyxy(xyzr), xyxy)
    moved = to_xyxy(refine(xyzr, torch.tensor([[0.5, -0.25, 1, 0]])))
    assert torch.allclose(moved, torch.tensor([[10.0, 8, 74, 40]]))  # 16 right, 4 up, twice as large
    code = encode_position(torch.tensor([[500.0, 0, 1, 2]]), 16)[0]
    expected = [f(v / 10000 ** (i / 2)) for v in (0.5, 0, 1, 2) for i in (0, 1) for f in (np.sin, np.cos)]
    assert np.allclose(code.numpy(), expected, atol=1e-6)


def test_sampling_equals_a_reading_point_by_point():
    torch.manual_seed(0)
    sampler = PointSampler(16, groups=2, points=2, sub_points=3)
    levels = [torch.randn(2, 16, 64 // s, 96 // s) for s in (4, 8, 16, 32)]
    query, boxes = torch.randn(2, 5, 16), to_xyzr(torch.tensor([[4.0, 6, 40, 20], [0, 0, 96, 64]]).repeat(1, 5, 1)
                                                  [:, :5].expand(2, 5, 4))
    with torch.no_grad():
        for linear in (sampler.gen_one_d[0], sampler.gen_double_d[0]):
            linear.weight.normal_(0, 0.2)
        found = sampler(levels, (4, 8, 16, 32), query, boxes)
        xy, z = sampler.place(query, boxes)
        outer = sampler.gen_one_d(query).view(2, 5, 2, 2, 3)
        inner = sampler.gen_double_d(query).view(2, 5, 3, 3)
    assert found.shape == (2, 5, 2, 6, 8)
    for b, n, g, p, k in ((0, 0, 0, 0, 0), (1, 2, 1, 1, 2), (0, 4, 1, 0, 1), (1, 1, 0, 1, 0)):
        x0, y0, z0, r0 = boxes[b, n].tolist()
        (dx0, dy0, dz0), (dx1, dy1, dz1) = outer[b, n, g, p].tolist(), inner[b, n, k].tolist()
        x = x0 + 2 ** (z0 - r0 / 2) * (dx0 + 2 ** dz0 * dx1)
        y = y0 + 2 ** (z0 + r0 / 2) * (dy0 + 2 ** dz0 * dy1)
        depth = z0 + dz0 + dz1
        point = p * 3 + k
        assert np.allclose(xy[b, n, g, point].tolist(), (x, y), rtol=1e-4)
        assert float(z[b, n, g, point]) == pytest.approx(depth, rel=1e-5)
        weights = np.exp([-0.5 * (depth - 3 - level) ** 2 for level in range(4)])
        expected = sum(w * bilinear(features[b, 8 * g:8 * g + 8].numpy(), x / s - 0.5, y / s - 0.5)
                       for w, features, s in zip(weights / weights.sum(), levels, (4, 8, 16, 32), strict=True))
        assert np.allclose(found[b, n, g, point].numpy(), expected, atol=1e-4)


def bilinear(features, x, y):
    """(C, h, w) at a position in pixels, 0 outside."""
    total = 0
    for row, col in ((int(np.floor(y)) + i, int(np.floor(x)) + j) for i in (0, 1) for j in (0, 1)):
        if 0 <= row < features.shape[1] and 0 <= col < features.shape[2]:
            total = total + (1 - abs(y - row)) * (1 - abs(x - col)) * features[:, row, col]
    return total


def test_the_neck_normalises_all_levels_with_the_same_weights():
    neck = refill(SharedNormNeck((8, 16), 32))
    one, two = torch.randn(1, 8, 6, 4), torch.randn(1, 16, 3, 2)
    with torch.no_grad():
        found = neck((one, two))[1]
        plain = F.conv2d(two, neck.lateral_convs[1].conv.weight, neck.lateral_convs[1].conv.bias)
    assert torch.allclose(found, F.group_norm(plain, 32, neck.gn_out.weight, neck.gn_out.bias), atol=1e-5)
    assert [k for k in neck.state_dict() if "gn" in k] == ["gn_out.weight", "gn_out.bias"]


def test_queries_begin_with_the_picture_and_padding_is_not_part_of_it():
    model = build_model(NAME, **SMALL)
    xyzr = model.network.rpn_head(torch.tensor([[90.0, 60], [64, 64]]))[1]
    assert torch.allclose(to_xyxy(xyzr)[:, 0], torch.tensor([[0.0, 0, 90, 60], [0, 0, 64, 64]]), atol=1e-4)
    refill(model.network)
    graph, image = model.graph(), 255 * torch.rand(1, 3, 64, 96)
    padded = torch.full((1, 3, 96, 128), -1.0)
    padded[..., :64, :96] = image
    with torch.no_grad():
        data = model.data_preprocessor(dict(inputs=[image[0]], data_samples=[DetDataSample()]))["inputs"]
        sample = DetDataSample(metainfo=dict(img_shape=(64, 96)))
        more = F.pad(data, (0, 32, 0, 32))
        logits, boxes = model(more, [sample])[-1]
        found = graph(padded)
    assert torch.allclose(found[..., 4:], logits.sigmoid(), atol=1e-4)
    assert torch.allclose(found[..., :4] * torch.tensor([96, 64, 96, 64]), boxes, rtol=1e-3, atol=1e-2)


def run_small(stages, recompute=False):
    torch.manual_seed(3)
    levels = [torch.randn(1, 32, 64 // s, 64 // s) for s in (4, 8, 16, 32)]
    query = torch.randn(1, 4, 32, requires_grad=True)
    xyzr = to_xyzr(torch.tensor([[2.0, 2, 40, 50]]).expand(1, 4, 4))
    outputs = list(run_stages(stages, levels, query, xyzr, recompute))
    sum(o.logits.sum() + o.boxes.sum() for o in outputs).backward()
    return outputs, {n: p.grad for n, p in stages.named_parameters()} | {"query": query.grad}


SETTINGS = dict(channels=32, hidden=64, num_classes=3, groups=2, points=2, sub_points=3, rows=8)


def test_recomputing_gives_the_same_gradients_and_keeps_less():
    torch.manual_seed(0)
    stages = refill(torch.nn.ModuleList(make_stages(4, 3, **SETTINGS)))
    outputs, gradients = run_small(stages)
    stages.zero_grad()
    again, recomputed = run_small(stages, recompute=True)
    for one, other in zip(outputs, again, strict=True):
        assert torch.equal(one.logits, other.logits)
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, recomputed[name], atol=1e-5), name

    def kept(recompute):
        total = [0]

        def pack(tensor):
            total[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            run_small(stages, recompute)
        return total[0]

    assert kept(True) < 0.5 * kept(False)


def test_no_gradient_goes_through_the_boxes_between_stages():
    stages = refill(torch.nn.ModuleList(make_stages(2, 2, **SETTINGS)))
    levels = [torch.randn(1, 32, 64 // s, 64 // s) for s in (4, 8, 16, 32)]
    outputs = list(run_stages(stages, levels, torch.randn(1, 4, 32), to_xyzr(torch.tensor([[[2.0, 2, 40, 50]] * 4]))))
    outputs[1].boxes.sum().backward()
    assert stages[0].fc_reg.weight.grad is None and stages[0].ffn.layers[1].weight.grad is not None


def test_without_reuse_stages_are_all_alike():
    stages = make_stages(4, 2, reuse=False, **SETTINGS)
    assert len({tuple((k, v.shape) for k, v in s.state_dict().items()) for s in stages}) == 1
    assert not any("score" in k for k in stages[3].state_dict())
    outputs, _ = run_small(refill(torch.nn.ModuleList(stages)))
    assert len(outputs) == 4


def test_a_stage_reads_the_operators_of_every_stage_before_but_the_first():
    stages = refill(torch.nn.ModuleList(make_stages(5, 3, **SETTINGS)))
    levels = [torch.randn(1, 32, 64 // s, 64 // s) for s in (4, 8, 16, 32)]
    state = State(torch.randn(1, 4, 32), to_xyzr(torch.tensor([[[2.0, 2, 40, 50]] * 4])), Operators())
    with torch.no_grad():
        for index in range(4):
            _, _, state = stages[index](levels, state)
            assert len(state.operators.channel) == index
        usual = stages[4](levels, state)[0]
        for i in range(3):
            changed = list(state.operators.channel)
            changed[i] = changed[i] + 1
            other = stages[4](levels, state._replace(operators=state.operators._replace(channel=tuple(changed))))[0]
            assert (other - usual).abs().max() > 1e-3


def test_initial_stages_say_one_percent_and_leave_boxes_alone():
    torch.manual_seed(0)
    stage = Stage(0, **SETTINGS)
    levels = [torch.randn(1, 32, 64 // s, 64 // s) for s in (4, 8, 16, 32)]
    xyzr = to_xyzr(torch.tensor([[[2.0, 2, 40, 50]] * 4]))
    logits, delta, state = stage(levels, State(torch.randn(1, 4, 32), xyzr, Operators()))
    assert torch.equal(state.xyzr, xyzr) and not delta.any()
    assert 0.001 < logits.sigmoid().mean().item() < 0.1


# the model

@pytest.mark.parametrize(("settings", "message"), [
    ({"backbone": "r77"}, "'r77' is unknown; use r18"), ({"backbone": "swin_s", "width": 0.5}, "one width"),
    ({"channels": 20}, "multiple of 8"), ({"rows": 7}, "even number"), ({"points": 0}, "points=0"),
    ({"dcn": True}, "no bottlenecks"), ({"layers": 3}, "no setting 'layers'")])
def test_settings_that_contradict_each_other(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_model(NAME, **SMALL | settings)


def test_classes_of_network_and_task_must_agree():
    from dense.models.stageinteractor import DetectionModel

    with pytest.raises(ConfigError, match=r"num_classes=3, but the task has 80"):
        DetectionModel(SMALL, task=DetectionTask())


def test_deformable_convolutions_need_compiled_operators():
    from dense.compat import ensure_mmcv_ext

    if not ensure_mmcv_ext():
        pytest.skip("mmcv's operators are compiled here")
    with pytest.raises(MissingDependencyError, match=r"(?s)x101 has deformable.*onedl-mmcv.*dcn=False"):
        build_model("stageinteractor_x101", device="meta")
    assert build_model("stageinteractor_x101", device="meta", dcn=False, stages=1)


@pytest.mark.parametrize("mode", DetectionTask.modes)
def test_predict_equals_the_task_on_the_deployed_graph(mode):
    model = build_model(NAME, **SMALL)
    refill(model.network)
    model.task = task = DetectionTask((96, 128), longest=120, classes=("a", "b", "c"), threshold=0, most=20)
    image = np.random.default_rng(0).integers(0, 256, (61, 130, 3), dtype=np.uint8)
    plan, graph = task.plan(image.shape[:2], mode), model.graph()
    with torch.no_grad():
        expected = task.run(image, lambda batch: graph(torch.from_numpy(batch)).numpy(), mode)
    inputs = np.zeros((3, *plan.size), np.float32) + np.float32(task.mean).reshape(3, 1, 1)
    inputs[:, :plan.content[0], :plan.content[1]] = task.resize(image, plan.content).transpose(2, 0, 1)
    sample = DetDataSample(metainfo=dict(img_shape=plan.content, ori_shape=(61, 130)))
    found = model.test_step({"inputs": [torch.from_numpy(inputs)], "data_samples": [sample]})[0].pred_instances
    assert len(expected) == len(found.scores) > 0
    assert np.allclose(found.scores.numpy(), expected.scores, atol=1e-4)
    assert np.allclose(found.bboxes.numpy(), expected.boxes, atol=0.1)


def test_pictures_without_objects_train():
    model = build_model(NAME, **SMALL).train()
    data = make_objects((64, 96))
    for sample in data["data_samples"]:
        sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    batch = model.data_preprocessor(data, training=True)
    loss, parts = model.parse_losses(model(**batch, mode="loss"))
    loss.backward()
    assert parts["s3.loss_bbox"].item() == parts["s3.loss_iou"].item() == 0 < parts["s3.loss_cls"].item()
    assert model.backbone.conv1.weight.grad.isfinite().all()


def test_imagenet_backbones(tmp_path):
    donor = refill(build_model(NAME, **SMALL).backbone)
    file, state = tmp_path / "resnet.safetensors", donor.state_dict()
    write_weights(file, state | {"fc.weight": torch.zeros(10, 8), "fc.bias": torch.zeros(10)}, {})
    from dense.models.stageinteractor import DetectionModel

    model = DetectionModel(SMALL, task=DetectionTask(classes=tuple("abc")), backbone_weights=file)
    model.init_weights()  # as the runner does, before the first iteration
    assert all(torch.equal(v, state[k]) for k, v in model.backbone.state_dict().items())
    with pytest.raises(WeightsError, match="does not fit the backbone"):
        load_backbone(build_model(NAME, **SMALL | {"backbone": "r34"}).backbone, file)


def test_names_are_listed_without_mmdet_and_its_absence_is_said():
    code = """
import sys
sys.modules["mmdet"] = None
from dense import build_model, list_models
from dense.errors import MissingDependencyError
assert "stageinteractor_swin_s" in list_models()
assert "mmcv" not in sys.modules
try:
    build_model("stageinteractor_r50")
except MissingDependencyError as error:
    assert "dense[det]" in str(error), error
else:
    raise SystemExit("built without mmdet")
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
    assert {"stageinteractor_r50_300", "stageinteractor_x101"} <= set(list_models())
    assert StageInteractor.__name__ == "StageInteractor"
