"""Checkpoints of nnU-Net 1 and 2: read safely, with their plans; imported by name; a beginning for other tasks."""
import collections
import json
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference import refill

from dense import build_model
from dense.errors import ConfigError, WeightsError
from dense.models.stunet import STUNet
from dense.weights import import_weights
from dense.weights.files import read_weights

POOL = [[2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
DATASET = {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "tumour": 1, "node": 2}}
PLANS = {
    "transpose_forward": [0, 1, 2], "label_manager": "LabelManager",
    "configurations": {"3d_fullres": {
        "preprocessor_name": "DefaultPreprocessor", "patch_size": [32, 32, 64], "spacing": [3.0, 1.0, 1.0],
        "normalization_schemes": ["CTNormalization", "ZScoreNormalization"], "use_mask_for_norm": [False, True],
        "pool_op_kernel_sizes": [[1, 1, 1], *POOL], "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}}},
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 37.5, "std": 45.5, "percentile_00_5": -135.0, "percentile_99_5": 161.0}}}


@pytest.fixture(scope="module")
def network():
    return refill(STUNet("stunet_small", in_channels=2, num_classes=3, width=0.25, pool=[*POOL, [1, 1, 1]])).eval()


def save_v2(path, network, prefix="", **changes):
    """A checkpoint as nnU-Net 2 writes it; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({
        "network_weights": {prefix + k: v for k, v in network.state_dict().items()},
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "params": [0]}]}, "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(0.1)]}, "_best_ema": np.float64(0.5),
        "current_epoch": 3, "trainer_name": "STUNetTrainer_small", "inference_allowed_mirroring_axes": (0, 1),
        "init_args": {"plans": PLANS, "configuration": "3d_fullres", "fold": 0, "dataset_json": DATASET,
                      "unpack_dataset": True, "device": torch.device("cpu")}, **changes}, path)
    return path


def plans_of_v1(**changes):
    """Contents of plans.pkl, with the containers that nnU-Net 1 leaves in it."""
    return {
        "num_modalities": 2, "modalities": {0: "CT", 1: "PET"}, "num_classes": 2, "all_classes": [1, 2],
        "normalization_schemes": collections.OrderedDict({0: "CT", 1: "nonCT"}),
        "use_mask_for_norm": collections.OrderedDict({0: False, 1: np.bool_(True)}),
        "dataset_properties": {"intensityproperties": {0: {
            "mean": np.float32(37.5), "sd": np.float32(45.5), "percentile_00_5": np.float64(-135),
            "percentile_99_5": np.float64(161)}}},
        "transpose_forward": [0, 1, 2], "preprocessor_name": "GenericPreprocessor",
        "plans_per_stage": {0: {"patch_size": np.array([32, 32, 64]), "current_spacing": np.array([3.0, 1.0, 1.0]),
                                "pool_op_kernel_sizes": POOL}}, **changes}


def save_v1(path, network, plans=None, beside=True):
    """A checkpoint as nnU-Net 1 writes it, with its description; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 4, "state_dict": network.state_dict(), "optimizer_state_dict": None,
                "lr_scheduler_state_dict": None, "plot_stuff": ([np.float64(0.1)], [0.2], [], []),
                "best_stuff": (np.float64(0.3), 1.0, np.float64(0.1)), "amp_grad_scaler": {"scale": 1.0}}, path)
    if beside:
        path.with_name(f"{path.name}.pkl").write_bytes(pickle.dumps({"init": (), "name": "x", "plans": plans or
                                                                    plans_of_v1()}))
    return path


def assert_holds(model, network):
    own = model.network.state_dict()
    assert all(torch.equal(own[k], v) for k, v in network.state_dict().items())
    assert model.network.pool == network.pool


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module."])
def test_version_2_gives_the_network_and_its_plan(tmp_path, network, prefix):
    model = build_model("stunet_small", weights=save_v2(tmp_path / "checkpoint_final.pth", network, prefix))
    assert_holds(model, network)
    task = model.task
    assert (task.size, task.spacing, task.generation, task.mirror) == ((32, 32, 64), (3, 1, 1), 2, (0, 1))
    assert (task.channels, task.normalisation, task.masked) == (("CT", "PET"), ("ct", "zscore"), (False, True))
    assert task.intensities == ((-135, 161, 37.5, 45.5), ())
    assert task.classes == ("background", "tumour", "node")


def test_version_1_takes_the_plan_from_beside(tmp_path, network, caplog):
    model = build_model("stunet_small", weights=save_v1(tmp_path / "fold_0/model_final_checkpoint.model", network))
    assert_holds(model, network)
    task = model.task
    assert (task.size, task.spacing, task.generation, task.mirror) == ((32, 32, 64), (3, 1, 1), 1, (0, 1, 2))
    assert (task.channels, task.normalisation, task.masked) == (("CT", "PET"), ("ct", "zscore"), (False, True))
    assert task.intensities == ((-135, 161, 37.5, 45.5), ())
    assert task.classes == ("background", "class 1", "class 2")
    assert "do not name the classes" in caplog.text


def test_version_1_takes_plans_and_names_from_the_folder_above(tmp_path, network):
    path = save_v1(tmp_path / "T/fold_0/model_best.model", network, beside=False)
    (tmp_path / "T/plans.pkl").write_bytes(pickle.dumps(plans_of_v1(), protocol=2))
    (tmp_path / "T/dataset.json").write_text(json.dumps({
        "modality": {"0": "CT", "1": "PET"}, "labels": {"0": "background", "1": "tumour", "2": "node"}}))
    assert build_model("stunet_small", weights=path).task.classes == ("background", "tumour", "node")


def test_version_1_without_plans_is_said_and_built_from_its_shapes(tmp_path, network, caplog):
    model = build_model("stunet_small", weights=save_v1(tmp_path / "a.model", network, beside=False))
    assert model.network.num_classes == 3 and model.network.width == 0.25
    assert "plans.pkl" in caplog.text


def test_the_published_plan_gets_the_published_names(tmp_path):
    network = STUNet("stunet_small", width=0.125)
    plans = plans_of_v1(
        num_modalities=1, modalities={0: "nonCT"}, num_classes=104, normalization_schemes={0: "nonCT"},
        use_mask_for_norm={0: False}, plans_per_stage={0: {
            "patch_size": [128] * 3, "current_spacing": np.array([1.5] * 3),
            "pool_op_kernel_sizes": [[2, 2, 2]] * 4 + [[1, 1, 2]]}})
    model = build_model("stunet_small", weights=save_v1(tmp_path / "small_ep4k.model", network, plans))
    assert model.task.classes[1] == "adrenal_gland_left"
    other = {**plans, "plans_per_stage": {0: {**plans["plans_per_stage"][0], "current_spacing": [2.0] * 3}}}
    model = build_model("stunet_small", weights=save_v1(tmp_path / "other.model", network, other))
    assert model.task.classes[1] == "class 1"


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


def test_pickles_of_more_than_plain_values_are_refused(tmp_path, network, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save_v2(tmp_path / "checkpoint_final.pth", network, my=Evil())
    with pytest.raises(WeightsError, match=r"refused.*mkdir"):
        read_weights(path)
    path = save_v1(tmp_path / "a.model", network)
    path.with_name("a.model.pkl").write_bytes(pickle.dumps({"plans": plans_of_v1(), "init": Evil()}))
    with pytest.raises(WeightsError, match=r"a\.model\.pkl: refused.*mkdir"):
        read_weights(path)
    assert not (tmp_path / "was-run").exists()


def test_plans_that_cannot_be_followed_are_an_error(tmp_path, network):
    plans = json.loads(json.dumps(PLANS))
    plans["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    path = save_v2(tmp_path / "c.pth", network, init_args={
        "plans": plans, "configuration": "3d_cascade_fullres", "dataset_json": DATASET})
    with pytest.raises(WeightsError, match="cascade"):
        read_weights(path)


# import

def test_import_by_file_and_by_folder(place, network):
    folder = place / "Dataset104_Necks/STUNetTrainer_small__nnUNetPlans__3d_fullres"
    path = save_v2(folder / "fold_0/checkpoint_final.pth", network)
    done = import_weights(path)
    assert done.name == "stunet_small@Dataset104_Necks"
    assert any("tensors are exactly the source's" in note for note in done.notes)
    model = build_model(done.name)
    assert_holds(model, network)
    assert model.task.classes == ("background", "tumour", "node")
    assert import_weights(folder, "stunet_small@again").name == "stunet_small@again"
    save_v2(folder / "fold_1/checkpoint_final.pth", network)
    with pytest.raises(WeightsError, match="2 folds"):
        import_weights(folder)
    with pytest.raises(WeightsError, match="no checkpoint"):
        import_weights(place / "Dataset104_Necks")


# transfer

def test_other_classes_and_channels_begin_from_weights(tmp_path, network, caplog):
    path = save_v2(tmp_path / "checkpoint_final.pth", network)
    with pytest.raises(ConfigError, match="num_classes=5"):
        build_model("stunet_small", weights=path, num_classes=5)
    model = build_model("stunet_small", weights=path, num_classes=5, in_channels=4, heads="fit")
    assert "3 classes) were dropped; those for 5 classes are newly initialised" in caplog.text
    assert "takes 4 channels instead of 2" in caplog.text
    own, given = model.network.state_dict(), network.state_dict()
    assert len(model.task.classes) == 5 and len(model.task.channels) == 4
    stem = ("conv_blocks_context.0.0.conv1.weight", "conv_blocks_context.0.0.conv3.weight")
    for key, value in given.items():
        if key in stem:
            assert all(torch.allclose(own[key][:, i], value.sum(1) / 4) for i in range(4))
        elif not key.startswith("seg_outputs"):
            assert torch.equal(own[key], value)


def test_channels_that_are_alike_give_the_same_features():
    one = refill(STUNet("stunet_small", width=0.25, num_classes=3))
    three = build_model("stunet_small", weights=one.state_dict(), in_channels=3, heads="fit").network
    x = torch.randn(1, 1, 32, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(three(x.expand(-1, 3, -1, -1, -1)), one.eval()(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("heads", ["fit", "new"])
def test_heads_of_the_same_classes_are_kept_or_not(heads):
    one = refill(STUNet("stunet_small", width=0.25, num_classes=3))
    own = build_model("stunet_small", weights=one.state_dict(), heads=heads).network.state_dict()
    assert torch.equal(own["seg_outputs.4.weight"], one.state_dict()["seg_outputs.4.weight"]) == (heads == "fit")


def test_an_unknown_choice_and_another_width_are_errors():
    state = STUNet("stunet_small", width=0.25, num_classes=3).state_dict()
    with pytest.raises(ConfigError, match="heads='none'"):
        build_model("stunet_small", weights=state, heads="none")
    with pytest.raises(WeightsError, match="of another shape"):
        build_model("stunet_small", weights=state, heads="new", width=0.5)


@pytest.mark.parametrize(("config", "kept"), [({}, True), ({"load_heads": "new"}, False)])
def test_training_begins_from_weights_of_others_and_says_so(tmp_path, network, config, kept):
    from dense.engine.runner import DenseRunner

    logged = []
    model = build_model("stunet_small", width=0.25, in_channels=1, num_classes=3, pool=network.pool)
    runner = SimpleNamespace(plain_model=model, hooks=[], cfg=config, logger=SimpleNamespace(info=logged.append))
    DenseRunner.load_checkpoint(runner, save_v2(tmp_path / "checkpoint_final.pth", network))
    own, given = model.network.state_dict(), network.state_dict()
    assert torch.equal(own["seg_outputs.0.weight"], given["seg_outputs.0.weight"]) == kept
    assert torch.equal(own["upsample_layers.0.conv.weight"], given["upsample_layers.0.conv.weight"])
    assert "takes 1 channels instead of 2" in logged[0]
    assert ("newly initialised" in logged[0]) == (not kept)
