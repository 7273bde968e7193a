"""The stand-in for mmcv's compiled operators; reference: tests/oracles/make_mmcv_ops_reference.py."""

import importlib.util
import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

import dense
from dense.compat import ensure_mmcv_ext, mmcv_ext
from dense.errors import MissingDependencyError

REFERENCE = Path(__file__).resolve().parents[1] / "data" / "mmcv_ops.npz"
REPOSITORY = Path(dense.__file__).resolve().parents[1]
CASES = list(itertools.product(("avg", "max"), (0, 1), (0, 2), (1.0, 0.3, 0.125)))
GRADIENT_CASES = list(itertools.product(("avg", "max"), (True, False), (0, 2)))
NMS_CASES = list(itertools.product(("random", "ties", "whole", "single"), (0.0, 0.25, 0.3, 0.5, 0.7), (0, 1)))


def has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def has_real_ops() -> bool:
    """Whether this mmcv was compiled, seen without importing it."""
    spec = importlib.util.find_spec("mmcv")
    return spec is not None and any(
        file.suffix in (".so", ".pyd", ".dylib")
        for folder in spec.submodule_search_locations
        for file in Path(folder).glob("_ext*")
    )


needs_mmcv = pytest.mark.skipif(not has("mmcv"), reason="mmcv is not installed (extra 'det')")
needs_mmdet = pytest.mark.skipif(
    not (has("mmcv") and has("mmdet")), reason="mmcv or mmdet is not installed (extra 'det')"
)
needs_stand_in = pytest.mark.skipif(has_real_ops(), reason="mmcv's compiled operators are installed")


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as file:
        return dict(file)


class RoIAlign(torch.autograd.Function):
    """Calls the two functions as `mmcv.ops.roi_align` does, so that most tests need no mmcv."""

    @staticmethod
    def forward(ctx, features, rois, size, scale, ratio, mode, aligned):
        output = features.new_zeros(len(rois), features.shape[1], *size)
        place = [torch.zeros_like(output) if mode == "max" else features.new_zeros(0) for _ in range(2)]
        ctx.options = {
            "aligned_height": size[0],
            "aligned_width": size[1],
            "spatial_scale": scale,
            "sampling_ratio": ratio,
            "pool_mode": ("max", "avg").index(mode),
            "aligned": aligned,
        }
        mmcv_ext.roi_align_forward(features, rois, output, *place, **ctx.options)
        ctx.save_for_backward(rois, *place)
        ctx.shape = features.shape
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        grad_input = grad_output.new_zeros(ctx.shape)
        mmcv_ext.roi_align_backward(grad_output, *ctx.saved_tensors, grad_input, **ctx.options)
        return grad_input, *[None] * 6


def pool(features, rois, size=(2, 3), scale=1.0, ratio=2, mode="avg", aligned=True):
    return RoIAlign.apply(features, rois, size, scale, ratio, mode, aligned)


def check_stored(stored, features, boxes, prefix, scale, ratio, mode, aligned):
    leaf = torch.from_numpy(features).clone().requires_grad_()
    out = pool(leaf, torch.from_numpy(boxes), (2, 3), scale, ratio, mode, aligned)
    out.backward(torch.from_numpy(stored["grad"][: len(boxes)]))
    np.testing.assert_allclose(out.detach().numpy(), stored[f"{prefix}/out"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(leaf.grad.numpy(), stored[f"{prefix}/grad_input"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("mode", "aligned", "ratio", "scale"), CASES)
@pytest.mark.parametrize("group", ["one group", "many groups"])
def test_roi_align_equals_compiled(stored, monkeypatch, mode, aligned, ratio, scale, group):
    if group == "many groups":
        monkeypatch.setattr(mmcv_ext, "_AVG_SAMPLES", 30)
        monkeypatch.setattr(mmcv_ext, "_MAX_VALUES", 90)
    parts = [stored["rois"]] if aligned else [stored["rois"], stored["rois_reversed"]]
    boxes = np.concatenate(parts)
    boxes[:, 1:] /= np.float32(scale)
    prefix = f"{mode}-{aligned}-{ratio}-{scale}"
    check_stored(stored, stored["features"], boxes, prefix, scale, ratio, mode, bool(aligned))


def test_first_of_equal_maxima_gets_the_gradient(stored):
    check_stored(stored, stored["ties/features"], stored["ties/rois"], "ties", 1.0, 2, "max", False)


@pytest.mark.parametrize(("mode", "aligned", "ratio"), GRADIENT_CASES)
def test_gradient(stored, mode, aligned, ratio):
    features = torch.from_numpy(stored["features"][:, :1, :5, :6]).double().requires_grad_()
    # Not the box from -1, which has points on the border, where the function is not smooth.
    rois = torch.from_numpy(stored["rois"][:-1]).double()
    assert torch.autograd.gradcheck(lambda x: pool(x, rois, (2, 2), 1.0, ratio, mode, aligned), features)


def test_empty_bin_and_point_outside():
    features = torch.full((1, 1, 4, 4), -3.0)
    rois = torch.tensor([[0, 2.0, 2.0, 2.0, 2.0], [0, 40.0, 40.0, 44.0, 44.0]])
    empty, outside = pool(features, rois, (1, 1), ratio=0).flatten().tolist()
    assert (empty, outside) == (0.0, 0.0)
    empty, outside = pool(features, rois, (1, 1), ratio=0, mode="max").flatten().tolist()
    assert (empty, outside) == (-10000.0, 0.0)


def test_backward_adds_to_the_buffer():
    rois = torch.tensor([[0, 0.0, 0.0, 4.0, 4.0]])
    for mode in (0, 1):
        place = torch.ones(1, 1, 1, 1)
        buffer = torch.full((1, 1, 5, 5), 7.0)
        mmcv_ext.roi_align_backward(
            torch.ones(1, 1, 1, 1), rois, place, place, buffer, 1, 1, 1.0, 1, mode, True
        )
        assert buffer.sum().item() == pytest.approx(7 * 25 + 1)


def test_strides_do_not_matter(stored):
    features, rois = torch.from_numpy(stored["features"]), torch.from_numpy(stored["rois"])
    for mode in ("avg", "max"):
        other = features.to(memory_format=torch.channels_last)
        assert torch.equal(pool(other, rois, mode=mode), pool(features, rois, mode=mode))


def test_no_rois():
    features = torch.randn(1, 3, 5, 5, requires_grad=True)
    out = pool(features, torch.zeros(0, 5))
    assert out.shape == (0, 3, 2, 3)
    out.sum().backward()
    assert not features.grad.any()


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(mode, dtype):
    torch.manual_seed(0)
    # Positive, as otherwise the zeros outside the map may be the maximum and take the gradient.
    features = torch.rand(1, 3, 9, 11).to(dtype).requires_grad_()
    rois = torch.tensor([[0, 0.5, 1.0, 8.5, 7.0], [0, -2.0, 2.0, 4.0, 12.0]]).to(dtype)
    out = pool(features, rois, ratio=0, mode=mode)
    assert out.dtype == dtype
    wide = features.detach().float().requires_grad_()
    wide_out = pool(wide, rois.float(), ratio=0, mode=mode)
    assert torch.equal(out, wide_out.to(dtype))
    out.backward(torch.ones_like(out))
    wide_out.sum().backward()
    assert features.grad.dtype == dtype
    if mode == "avg":
        assert torch.equal(features.grad, wide.grad.to(dtype))
    else:
        # Single weights suffer from mmcv keeping the places in half precision; their sum does not.
        assert features.grad.float().sum().item() == pytest.approx(wide.grad.sum().item(), rel=0.01)


def test_autocast_does_not_reach_the_sums(stored):
    features, rois = torch.from_numpy(stored["features"]), torch.from_numpy(stored["rois"])
    with torch.autocast("cpu", torch.bfloat16):
        inside = pool(features, rois)
    assert torch.equal(inside, pool(features, rois))


@pytest.mark.parametrize(
    ("roi", "error", "words"),
    [
        ([0, 3.0, 1.0, 2.0, 4.0], RuntimeError, "x2 < x1"),
        ([0, float("nan"), 1.0, 2.0, 4.0], RuntimeError, "NaN"),
        ([0, 0.0, 1.0, float("inf"), 4.0], RuntimeError, "infinite"),
        ([1, 0.0, 1.0, 2.0, 4.0], IndexError, "outside the batch of 1"),
        ([-1, 0.0, 1.0, 2.0, 4.0], IndexError, "outside the batch of 1"),
    ],
)
def test_bad_rois(roi, error, words):
    with pytest.raises(error, match=words):
        pool(torch.zeros(1, 1, 5, 5), torch.tensor([roi]))


@pytest.mark.parametrize(("name", "threshold", "offset"), NMS_CASES)
@pytest.mark.parametrize("block", [7, 128])
def test_nms_equals_compiled(stored, monkeypatch, name, threshold, offset, block):
    monkeypatch.setattr(mmcv_ext, "_NMS_BLOCK", block)
    boxes, scores = (torch.from_numpy(stored[f"nms/{name}/{key}"]) for key in ("boxes", "scores"))
    kept = mmcv_ext.nms(boxes, scores, iou_threshold=threshold, offset=offset)
    assert kept.dtype == torch.int64
    assert kept.tolist() == stored[f"nms/{name}-{threshold}-{offset}"].tolist()


def test_nms_of_nothing_and_in_half_precision():
    assert mmcv_ext.nms(torch.zeros(0, 4), torch.zeros(0), 0.5, 0).shape == (0,)
    boxes = torch.tensor([[0, 0, 8, 8], [0, 0, 8, 7], [4, 4, 12, 12]], dtype=torch.bfloat16)
    scores = torch.tensor([0.5, 0.75, 0.25], dtype=torch.bfloat16)
    assert mmcv_ext.nms(boxes, scores, 0.5, 0).tolist() == [1, 2]


# --------------------------------------------------------------------------------------------------
# The module in sys.modules. In processes of their own: what is imported cannot be taken back.


def run(code: str, *folders: Path) -> str:
    path = os.pathsep.join(str(folder) for folder in (*folders, REPOSITORY))
    done = subprocess.run(
        [sys.executable, "-W", "ignore::FutureWarning", "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fake_mmcv(folder: Path, ext: str | None, package: str = "") -> Path:
    (folder / "mmcv").mkdir()
    (folder / "mmcv" / "__init__.py").write_text(package)
    if ext is not None:
        (folder / "mmcv" / "_ext.py").write_text(ext)
    return folder


def test_importing_the_package_is_light():
    run("import sys, dense.compat; assert not {'torch', 'mmcv'} & set(sys.modules)")


def test_steps_aside_for_the_real_module(tmp_path):
    run(
        """
        import sys
        from dense.compat import ensure_mmcv_ext
        assert ensure_mmcv_ext() is False and ensure_mmcv_ext() is False
        import mmcv._ext
        assert mmcv._ext.real and sys.modules["mmcv._ext"].nms == 5
        """,
        fake_mmcv(tmp_path, "real = True\nnms = 5\n"),
    )


def test_stand_in_where_there_is_none(tmp_path):
    run(
        """
        import importlib.util, sys, warnings
        warnings.simplefilter("error")
        from dense.compat import ensure_mmcv_ext
        assert ensure_mmcv_ext() is True
        first = sys.modules["mmcv._ext"]
        assert ensure_mmcv_ext() is True and sys.modules["mmcv._ext"] is first
        assert "mmcv.ops" not in sys.modules
        assert importlib.util.find_spec("mmcv._ext") is first.__spec__
        assert hasattr(first, "nms_match") and not hasattr(first, "__path__") and not hasattr(first, "_x")
        """,
        fake_mmcv(tmp_path, None),
    )


@pytest.mark.parametrize(
    "ext",
    ["raise ImportError('undefined symbol: _ZN3c10')", "raise OSError('too short')", "import no_such_thing"],
)
def test_damaged_real_module_is_replaced_with_a_warning(tmp_path, ext):
    run(
        """
        import warnings
        from dense.compat import ensure_mmcv_ext
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert ensure_mmcv_ext() is True
        text = str([w for w in caught if w.category is RuntimeWarning][-1].message)
        assert "do not load" in text and "--no-cache-dir" in text, text
        """,
        fake_mmcv(tmp_path, ext),
    )


@pytest.mark.parametrize(
    ("package", "words"), [("import no_such_thing", "no_such_thing"), ("raise ImportError('libGL')", "libGL")]
)
def test_mmcv_that_cannot_be_imported(tmp_path, package, words):
    out = run(
        """
        from dense.compat import ensure_mmcv_ext
        try:
            ensure_mmcv_ext()
        except Exception as error:
            print(type(error).__name__, error)
        """,
        fake_mmcv(tmp_path, None, package),
    )
    assert out.startswith("MissingDependencyError") and words in out and "pip install 'dense[det]'" in out


def test_without_mmcv(monkeypatch):
    for name in ("mmcv", "mmcv._ext"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"'mmcv' is missing .*\n.*pip install 'dense\[det\]'"):
        ensure_mmcv_ext()


def test_other_operators_say_how_to_get_them():
    module = mmcv_ext._make_stand_in()
    op = module.deform_conv_forward
    assert op is module.deform_conv_forward and op.__name__ == "deform_conv_forward"
    with pytest.raises(MissingDependencyError) as caught:
        op(1, key=2)
    for words in (
        "'deform_conv_forward'",
        'MAX_JOBS=2 CFLAGS="-g0 -O2" pip install --no-cache-dir --no-build-isolation --no-deps',
        "--force-reinstall onedl-mmcv==2.3.6",
        "ninja",
    ):
        assert words in str(caught.value)


@needs_mmcv
@needs_stand_in
def test_mmcv_ops_use_it(stored):
    run(
        f"""
        from dense.compat import ensure_mmcv_ext
        assert ensure_mmcv_ext()
        import numpy as np, torch
        from mmcv.ops import RoIAlign, batched_nms
        from mmcv.utils import collect_env
        from mmcv.utils.ext_loader import check_ops_exist
        with np.load({str(REFERENCE)!r}) as file:
            stored = {{key: torch.from_numpy(file[key]) for key in file}}
        features = stored["features"].requires_grad_()
        out = RoIAlign((2, 3), 1.0, 0)(features, stored["rois"])
        out.backward(stored["grad"][: len(out)])
        torch.testing.assert_close(out, stored["avg-1-0-1.0/out"], rtol=0, atol=1e-5)
        torch.testing.assert_close(features.grad, stored["avg-1-0-1.0/grad_input"], rtol=0, atol=1e-5)
        config = dict(type="nms", iou_threshold=0.4, max_num=50, score_threshold=0.1)
        boxes, scores = stored["nms/random/boxes"], stored["nms/random/scores"]
        dets, kept = batched_nms(boxes, scores, stored["batched_nms/classes"].long(), config)
        assert kept.tolist() == stored["batched_nms/kept"].tolist()
        assert torch.equal(dets, stored["batched_nms/dets"])
        assert not check_ops_exist()
        assert collect_env()["MMCV Compiler"] == "n/a"
        """
    )


@needs_mmdet
def test_sparse_rcnn_trains_and_predicts():
    """Imports `mmdet.models` and takes Sparse R-CNN through one step and a prediction, on a tiny network."""
    run(
        """
        from dense.compat import ensure_mmcv_ext
        ensure_mmcv_ext()
        import mmdet.models
        import torch
        from mmdet.registry import MODELS
        from mmdet.structures import DetDataSample
        from mmengine.config import ConfigDict
        from mmengine.registry import init_default_scope
        from mmengine.structures import InstanceData

        torch.manual_seed(0)
        torch.set_num_threads(1)
        init_default_scope("mmdet")
        head = dict(
            type="DIIHead", num_classes=3, num_ffn_fcs=2, num_heads=2, num_cls_fcs=1, num_reg_fcs=1,
            feedforward_channels=32, in_channels=16, dropout=0.0, ffn_act_cfg=dict(type="ReLU"),
            dynamic_conv_cfg=dict(
                type="DynamicConv", in_channels=16, feat_channels=8, out_channels=16, input_feat_shape=7,
                act_cfg=dict(type="ReLU"), norm_cfg=dict(type="LN")),
            loss_bbox=dict(type="L1Loss", loss_weight=5.0),
            loss_iou=dict(type="GIoULoss", loss_weight=2.0),
            loss_cls=dict(type="FocalLoss", use_sigmoid=True, loss_weight=2.0),
            bbox_coder=dict(
                type="DeltaXYWHBBoxCoder", clip_border=False, target_means=[0.0] * 4,
                target_stds=[0.5, 0.5, 1.0, 1.0]))
        assigner = dict(type="HungarianAssigner", match_costs=[
            dict(type="FocalLossCost", weight=2.0),
            dict(type="BBoxL1Cost", weight=5.0, box_format="xyxy"),
            dict(type="IoUCost", iou_mode="giou", weight=2.0)])
        model = MODELS.build(ConfigDict(
            type="SparseRCNN",
            data_preprocessor=dict(type="DetDataPreprocessor", mean=[127.0] * 3, std=[60.0] * 3),
            backbone=dict(type="ResNet", depth=18, base_channels=8, stem_channels=8, init_cfg=None),
            neck=dict(
                type="FPN", in_channels=[8, 16, 32, 64], out_channels=16, add_extra_convs="on_input",
                num_outs=4),
            rpn_head=dict(type="EmbeddingRPNHead", num_proposals=6, proposal_feature_channel=16),
            roi_head=dict(
                type="SparseRoIHead", num_stages=2, stage_loss_weights=[1, 1], proposal_feature_channel=16,
                bbox_roi_extractor=dict(
                    type="SingleRoIExtractor", out_channels=16, featmap_strides=[4, 8, 16, 32],
                    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2)),
                bbox_head=[head, head]),
            train_cfg=dict(rpn=None, rcnn=[
                dict(assigner=assigner, sampler=dict(type="PseudoSampler"), pos_weight=1)] * 2),
            test_cfg=dict(rpn=None, rcnn=dict(max_per_img=5))))
        model.init_weights()

        sample = DetDataSample(metainfo=dict(
            img_shape=(64, 96), ori_shape=(64, 96), batch_input_shape=(64, 96), scale_factor=(1.0, 1.0)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[4.0, 8.0, 40.0, 50.0], [50.0, 10.0, 90.0, 60.0]]),
            labels=torch.tensor([0, 2]))
        batch = dict(
            inputs=[torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)], data_samples=[sample])

        model.train()
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        losses = model(**model.data_preprocessor(batch, True), mode="loss")
        loss, values = model.parse_losses(losses)
        assert torch.isfinite(loss), values
        loss.backward()
        # Through RoIAlign: the heads see the picture by no other way.
        grad = model.backbone.conv1.weight.grad
        assert torch.isfinite(grad).all() and grad.abs().max() > 0
        optimizer.step()

        model.eval()
        with torch.no_grad():
            (result,) = model(**model.data_preprocessor(batch, False), mode="predict")
        found = result.pred_instances
        assert found.bboxes.shape == (5, 4) and torch.isfinite(found.bboxes).all()
        assert found.scores.shape == (5,) and found.labels.max() < 3
        """
    )
