"""``build_model``: names, configs, overrides, and weights in every layout in circulation."""
import copy

import pytest
import torch
from mmengine.config import Config
from reference import refill

from dense import build_model, list_models
from dense.config import read_config
from dense.errors import ConfigError, WeightsError
from dense.models.build import load_network_weights
from dense.models.isnet import CutoutModel, GTEncoder, ISNet
from dense.models.names import ModelName, register_name
from dense.weights.files import Weights, read_weights, write_weights

WIDTH = 0.25


@pytest.fixture(scope="module")
def state():
    """Weights of a narrow IS-Net under the published keys; tests must not change them."""
    return refill(ISNet(width=WIDTH)).state_dict()


def assert_holds(model, state):
    own = model.network.state_dict()
    assert list(own) == list(state)
    assert all(torch.equal(own[k], state[k]) for k in own)


def prefixed(state, prefix):
    return {prefix + k: v for k, v in state.items()}


# names, overrides, configs

def test_names_are_listed_with_a_summary():
    names = list_models()
    assert {"isnet", "isnet_gt_encoder"} <= set(names)
    assert all(isinstance(text, str) and text for text in names.values())


def test_a_name_gives_its_network_in_eval_mode_on_the_device():
    model = build_model("isnet_gt_encoder", width=WIDTH, device="cpu")
    assert isinstance(model.network, GTEncoder)
    assert not model.training
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_an_unknown_name_is_an_error_with_the_near_miss():
    with pytest.raises(ConfigError, match="did you mean isnet"):
        build_model("isnett")
    with pytest.raises(ConfigError, match=r"known: .*isnet"):
        build_model("zzzzzz")


def test_a_name_is_registered_once():
    with pytest.raises(KeyError, match="taken"):
        register_name(ModelName("isnet", "", dict))


def test_overrides_reach_the_network():
    assert build_model("isnet", width=WIDTH, in_channels=4).network.conv_in.weight.shape == (16, 4, 3, 3)


@pytest.mark.parametrize("source", ["isnet", "configs/isnet_dis5k.py"])
def test_an_unknown_override_is_an_error_that_lists_the_known(source):
    with pytest.raises(ConfigError, match=r"ISNet has no setting 'widht'; it has in_channels, width"):
        build_model(source, widht=0.5)


def test_an_unusable_device_is_an_error_with_a_remedy():
    with pytest.raises(ConfigError, match=r"'nowhere' cannot be used.*Remedy"):
        build_model("isnet", width=0.125, device="nowhere")


@pytest.mark.parametrize("source", ["configs/isnet_dis5k.py", "isnet_dis5k.py"])
def test_a_config_path_builds_with_overrides_and_without_its_teacher(source):
    model = build_model(source, width=WIDTH)
    assert isinstance(model, CutoutModel)
    assert model.network.width == WIDTH
    assert model.teacher is None


def test_the_task_of_a_config_reaches_the_model_however_it_is_given():
    config = read_config("isnet_dis5k.py", ["task.size=(320,256)", f"model.network.width={WIDTH}"])
    before = copy.deepcopy(config.to_dict())
    assert isinstance(config, Config)
    for given in (config, config.to_dict()):
        model = build_model(given)
        assert model.task.size == (320, 256)
        assert model.network.width == WIDTH
    assert config.to_dict() == before
    model = build_model(dict(type="CutoutModel", network=dict(type="ISNet", width=WIDTH)))  # a model's config alone
    assert model.task.size == (1024, 1024)


def test_a_path_with_an_at_sign_is_a_path(tmp_path):
    folder = tmp_path / "me@home"
    folder.mkdir()
    (folder / "small.py").write_text("model = dict(type='CutoutModel', network=dict(type='ISNet', width=0.125))\n")
    for path in (folder / "small.py", str(folder / "small.py")):
        assert build_model(path).network.width == 0.125


@pytest.mark.parametrize("config", [{}, {"model": {"type": "CutoutModel"}}])
def test_a_config_without_network_is_an_error(config):
    with pytest.raises(ConfigError, match="names no network"):
        build_model(config)


def test_an_unknown_network_class_is_an_error():
    with pytest.raises(ConfigError, match="ISNit"):
        build_model(dict(type="CutoutModel", network=dict(type="ISNit")))


# shipped weights by name

def test_unknown_shipped_weights_are_an_error_that_lists_what_there_is():
    with pytest.raises(WeightsError, match=r"no weights are called 'isnet@nonexistent'; shipped: "):
        build_model("isnet@nonexistent")


def test_weights_given_twice_are_an_error(state):
    with pytest.raises(ConfigError, match="already names its weights"):
        build_model("isnet@nonexistent", weights=state)


def test_shipped_weights_are_found_by_name(state, tmp_path, monkeypatch):
    monkeypatch.setattr("dense.weights.shipped.FOLDER", tmp_path)
    write_weights(tmp_path / "isnet--toy.safetensors", state, {"network": {"width": WIDTH}})
    assert_holds(build_model("isnet@toy"), state)
    with pytest.raises(WeightsError, match="shipped: isnet@toy"):
        build_model("isnet@other")


# layouts of weights

@pytest.mark.parametrize("layout", [
    lambda s: s, lambda s: prefixed(s, "module."), lambda s: prefixed(s, "network."),
    lambda s: prefixed(s, "module.network."), lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s},
    lambda s: {"state_dict": prefixed(s, "module.")}, lambda s: {"state_dict": prefixed(s, "network."), "meta": {}},
], ids=["plain", "module", "network", "module.network", "state_dict", "model", "state_dict of module", "ours"])
@pytest.mark.parametrize("as_file", [True, False], ids=["file", "object"])
def test_every_layout_loads(state, tmp_path, layout, as_file):
    weights = layout(state)
    if as_file:
        torch.save(weights, tmp_path / "weights.pth")
        weights = tmp_path / "weights.pth"
    assert_holds(build_model("isnet", weights=weights, width=WIDTH), state)


def test_half_precision_weights_become_float32(state):
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    model = build_model("isnet", weights=half, width=WIDTH)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_holds(model, {k: v.float() if v.is_floating_point() else v for k, v in half.items()})


def test_the_whole_model_takes_its_own_state_dict_back(state):
    model, other = build_model("isnet", weights=state, width=WIDTH), build_model("isnet", width=WIDTH)
    load_network_weights(other, model.state_dict())  # as resuming does
    load_network_weights(other.network, model.state_dict())
    assert_holds(other, state)


def test_safetensors_tell_width_and_task(state, tmp_path):
    path = tmp_path / "small.safetensors"
    write_weights(path, state, {"network": {"width": WIDTH}, "task": {"kind": "cutout", "size": [320, 320]}})
    for weights in (path, str(path), read_weights(path)):
        model = build_model("isnet", weights=weights)
        assert_holds(model, state)
        assert model.task.size == (320, 320)


def test_checkpoints_of_a_training_tell_the_width(state, tmp_path):
    path = tmp_path / "iter_5.pth"
    torch.save({"meta": {"iter": 5, "weights": {"network": {"width": WIDTH}}},
                "state_dict": prefixed(state, "network.")}, path)
    assert_holds(build_model("isnet", weights=path), state)


def test_an_override_wins_over_the_stored_width(state, tmp_path):
    write_weights(tmp_path / "small.safetensors", state, {"network": {"width": WIDTH}})
    with pytest.raises(WeightsError, match="another shape"):
        build_model("isnet", weights=tmp_path / "small.safetensors", width=0.5)


def test_stored_settings_that_the_network_does_not_know_are_an_error(state, tmp_path):
    write_weights(tmp_path / "new.safetensors", state, {"network": {"width": WIDTH, "depth": 9}})
    with pytest.raises(ConfigError, match="no setting 'depth'"):
        build_model("isnet", weights=tmp_path / "new.safetensors")


def test_weights_of_a_network_load_into_the_model_of_a_config(state):
    assert_holds(build_model("isnet_dis5k.py", weights=state, width=WIDTH), state)


# what does not fit

def broken(state, what):
    state = dict(state)
    if "missing" in what:
        del state["side1.weight"], state["conv_in.bias"]
    if "unknown" in what:
        state["fuse.weight"] = torch.zeros(1)
    if "shape" in what:
        state["side2.weight"] = torch.zeros(1, 3, 3, 3)
    return state


@pytest.mark.parametrize("what", ["missing", "unknown", "shape", "missing unknown shape"])
def test_what_does_not_fit_is_listed_and_nothing_is_loaded(state, tmp_path, what):
    network = refill(ISNet(width=WIDTH), seed=5)
    before = copy.deepcopy(network.state_dict())
    path = tmp_path / "broken.pth"
    torch.save(broken(state, what), path)
    for weights, origin in ((path, "broken.pth"), (broken(state, what), "the state dict")):
        with pytest.raises(WeightsError, match="does not fit ISNet") as caught:
            load_network_weights(network, weights)
        text = str(caught.value)
        assert origin in text
        assert ("2 missing: conv_in.bias, side1.weight" in text) == ("missing" in what)
        assert ("1 unknown: fuse.weight" in text) == ("unknown" in what)
        assert ("1 of another shape: side2.weight (1, 3, 3, 3) instead of (1, 16, 3, 3)" in text) == ("shape" in what)
    after = network.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)


def test_long_lists_are_cut_short(state):
    with pytest.raises(WeightsError, match=r"and \d+ more") as caught:
        build_model("isnet_gt_encoder", weights=state, width=WIDTH)
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize("weights", [{}, {"a": 1}, {"state_dict": {}}, Weights({})])
def test_an_object_without_tensors_is_an_error(weights):
    with pytest.raises(WeightsError, match=r"no state dict|missing"):
        build_model("isnet", weights=weights, width=0.125)


def test_a_missing_file_is_an_error(tmp_path):
    for name in ("none.pth", "none.onnx", "none.safetensors"):
        with pytest.raises(WeightsError, match=f"{name}: no such weights file"):
            build_model("isnet", weights=tmp_path / name, width=0.125)
