"""Plans of nnU-Net as volume tasks; what is not supported is said."""
import copy
import json
import pickle

import numpy as np
import pytest

from dense.errors import ConfigError, InputError
from dense.io.pickles import read_pickle
from dense.tasks.nnunet import plan_of_v1, plan_of_v2, read_plans

DATASET = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "b": 2, "a": 1, "ignore": 3}}
PLANS = {
    "transpose_forward": [2, 0, 1],
    "configurations": {
        "2d": {"patch_size": [64, 64], "spacing": [1.0, 1.0], "normalization_schemes": ["ZScoreNormalization"],
               "use_mask_for_norm": [True]},
        "3d_fullres": {
            "patch_size": [20, 160, 192], "spacing": [5, 0.8, 0.7], "use_mask_for_norm": [True],
            "normalization_schemes": ["ZScoreNormalization"],
            "architecture": {"network_class_name": "x", "arch_kwargs": {"strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}},
            "resampling_fn_data_kwargs": {"order": 2, "order_z": 1, "force_separate_z": None}},
        "3d_lowres": {"inherits_from": "3d_fullres", "spacing": [5.0, 1.6, 1.4]},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}}}
V1 = {
    "num_modalities": 1, "modalities": {0: "MRI"}, "num_classes": 2, "normalization_schemes": {0: "nonCT"},
    "use_mask_for_norm": {0: True}, "dataset_properties": {}, "transpose_forward": [0, 1, 2],
    "plans_per_stage": {0: {"patch_size": [64] * 3, "current_spacing": [2.0] * 3, "pool_op_kernel_sizes": [[2] * 3]},
                        1: {"patch_size": [96] * 3, "current_spacing": [1.0] * 3, "pool_op_kernel_sizes": [[2] * 3]}}}


def changed(plans, **values):
    """The plans with other entries of 3d_fullres."""
    plans = copy.deepcopy(plans)
    plans["configurations"]["3d_fullres"].update(values)
    return plans


def test_version_2():
    plan = plan_of_v2(PLANS, DATASET)
    task = plan.task
    assert (task.size, task.spacing, task.transpose) == ((20, 160, 192), (5.0, 0.8, 0.7), (2, 0, 1))
    assert (task.channels, task.normalisation, task.masked) == (("MRI",), ("zscore",), (True,))
    assert (task.classes, task.generation, task.order, task.order_z) == (("background", "a", "b"), 2, 2, 1)
    assert plan.pool == ((1, 2, 2), (2, 2, 2))
    assert plan_of_v2(PLANS, DATASET, "3d_lowres").task.spacing == (5.0, 1.6, 1.4)
    assert plan_of_v2(PLANS, DATASET, mirror=(2,)).task.mirror == (2,)
    assert plan_of_v2(PLANS, DATASET, mirror=None).task.mirror == ()


def test_version_1_and_its_stages():
    plan = plan_of_v1(V1)
    assert (plan.task.size, plan.task.spacing, plan.task.generation) == ((96,) * 3, (1.0,) * 3, 1)
    assert (plan.task.normalisation, plan.task.masked) == (("zscore",), (True,))
    assert plan.task.classes == ("background", "class 1", "class 2") and "class 1" in plan.notes[0]
    assert plan_of_v1(V1, configuration="3d_lowres").task.spacing == (2.0,) * 3
    named = plan_of_v1(V1, {"labels": {"0": "background", "1": "x", "2": "y"}, "modality": {"0": "T1"}})
    assert (named.task.classes, named.task.channels, named.notes) == (("background", "x", "y"), ("T1",), ())


def test_files(tmp_path):
    (tmp_path / "plans.json").write_text(json.dumps(PLANS))
    with pytest.raises(ConfigError, match=r"dataset\.json: is not there"):
        read_plans(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET))
    assert read_plans(tmp_path) == read_plans(tmp_path / "plans.json") == plan_of_v2(PLANS, DATASET)
    (tmp_path / "old").mkdir()
    (tmp_path / "old/plans.pkl").write_bytes(pickle.dumps(V1))
    assert read_plans(tmp_path / "old") == plan_of_v1(V1)
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"no plans\.json"):
        read_plans(tmp_path / "none")
    (tmp_path / "plans.json").write_text("[1")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_plans(tmp_path)


@pytest.mark.parametrize(("plans", "dataset", "configuration", "message"), [
    (PLANS, DATASET, "3d_cascade_fullres", "cascade"), (PLANS, DATASET, "2d", "2 axes"),
    (PLANS, DATASET, "3d_other", "no configuration '3d_other'"),
    (PLANS, {**DATASET, "labels": {"background": 0, "whole": [1, 2], "core": 2}}, "3d_fullres", "regions"),
    (PLANS, {**DATASET, "regions_class_order": [1]}, "3d_fullres", "regions"),
    (PLANS, {**DATASET, "labels": {"background": 0, "a": 2}}, "3d_fullres", "labels"),
    ({**PLANS, "label_manager": "Mine"}, DATASET, "3d_fullres", "label manager Mine"),
    (changed(PLANS, resampling_fn_data="resample_torch_fornnunet"), DATASET, "3d_fullres", "resample_torch_fornnunet"),
    (changed(PLANS, resampling_fn_probabilities_kwargs={"order": 3}), DATASET, "3d_fullres", "order 3"),
    (changed(PLANS, resampling_fn_data_kwargs={"force_separate_z": True}), DATASET, "3d_fullres", "force_separate_z"),
    (changed(PLANS, preprocessor_name="Mine"), DATASET, "3d_fullres", "preprocessor Mine"),
    (changed(PLANS, normalization_schemes=["CTNormalization2"]), DATASET, "3d_fullres", "CTNormalization2"),
    (changed(PLANS, normalization_schemes=["CTNormalization"]), DATASET, "3d_fullres", "'0' is missing"),
    (changed(PLANS, spacing=[1, -1, 1]), DATASET, "3d_fullres", "spacing"),
    ({}, DATASET, "3d_fullres", "'configurations' is missing"), (PLANS, {}, "3d_fullres", "'labels' is missing")])
def test_what_version_2_has_and_is_not_supported(plans, dataset, configuration, message):
    with pytest.raises(ConfigError, match=message):
        plan_of_v2(plans, dataset, configuration)


@pytest.mark.parametrize(("changes", "configuration", "message"), [
    ({}, "3d_cascade_fullres", "cascade"), ({}, "2d", "no configuration"),
    ({"plans_per_stage": {0: V1["plans_per_stage"][0]}}, "3d_lowres", "one stage"),
    ({"normalization_schemes": {0: "CT2"}}, "3d_fullres", "CT2"),
    ({"preprocessor_name": "PreprocessorFor2D"}, "3d_fullres", "PreprocessorFor2D"),
    ({"num_modalities": 2}, "3d_fullres", "missing")])
def test_what_version_1_has_and_is_not_supported(changes, configuration, message):
    with pytest.raises(ConfigError, match=message):
        plan_of_v1({**V1, **changes}, configuration=configuration)


def test_names_must_be_those_of_the_training():
    with pytest.raises(ConfigError, match=r"dataset\.json names 2"):
        plan_of_v1(V1, {"labels": {"0": "background", "1": "x"}})


# pickles

@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_are_read(tmp_path, protocol):
    values = {"a": np.arange(6.0).reshape(2, 3), "b": [np.float32(1.5), np.int64(2), None, True, "t", b"\xff\x00"],
              "c": (1, {2}, frozenset({3})), "d": np.array(["x", "yy"]), "e": np.array([None, 1], dtype=object)}
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(values, protocol))
    found = read_pickle(tmp_path / "p.pkl")
    assert np.array_equal(found["a"], values["a"]) and found["b"] == values["b"] and found["c"] == values["c"]
    assert found["d"].tolist() == ["x", "yy"] and found["e"].tolist() == [None, 1]


@pytest.mark.parametrize("module", ["numpy.core", "numpy._core"])
def test_names_of_numpy_before_and_after_2(tmp_path, module):
    content = pickle.dumps(np.float64(1.5), 0).replace(b"numpy._core", b"numpy.core").replace(
        b"numpy.core", module.encode())
    (tmp_path / "p.pkl").write_bytes(content)
    assert read_pickle(tmp_path / "p.pkl") == 1.5


@pytest.mark.parametrize("content", [
    b"cos\nsystem\n(S'touch x'\ntR.", b"cbuiltins\neval\n(S'1'\ntR.", b"cbuiltins\ngetattr\n.",
    b"cnumpy\nload\n(S'x'\ntR.", b"cnumpy.core.multiarray\nfromfile\n.",
    b"c_codecs\nencode\n(S'x'\nS'idna'\ntR.", b"c_codecs\ndecode\n(S'x'\ntR.", b"Pnothing\n.",
    b"\x80\x04\x8c\x02os\x8c\x06system\x93."])
def test_code_in_pickles_is_refused(tmp_path, content):
    (tmp_path / "p.pkl").write_bytes(content)
    with pytest.raises(InputError):
        read_pickle(tmp_path / "p.pkl")


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"a": np.zeros(9)})[:-9], b"\x80\x09."])
def test_damaged_pickles_are_an_error(tmp_path, content):
    (tmp_path / "p.pkl").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.pkl"):
        read_pickle(tmp_path / "p.pkl")
    with pytest.raises(InputError, match="No such file"):
        read_pickle(tmp_path / "q.pkl")
