"""The catalogue is complete and says where everything comes from; names are found in one order by everything."""
import json
import re
import shutil
import tomllib

import numpy as np
import pytest
import torch
from toy_weights import WIDTH, entry, file_entry

from dense import Inferencer, build_model
from dense.deployment.source import Source
from dense.errors import WeightsError
from dense.weights import find_weights, list_weights, read_catalogue
from dense.weights.catalogue import CATALOGUE, PARTS
from dense.weights.fetch import check_url, digests_of
from dense.weights.files import write_weights
from dense.weights.shipped import list_shipped
from dense.weights.store import cached_path, find, list_found, locate, name_of, read_meta

ENTRIES = read_catalogue()


# the catalogue that comes with the package

def test_what_is_shipped_and_what_circulates_is_in_it():
    assert {*list_shipped(), "isnet@general-use", "isnet@dis5k"} <= set(ENTRIES)
    assert {name for name, item in ENTRIES.items() if item.shipped} == set(list_shipped())


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_complete_and_every_number_has_a_source(name):
    from dense import list_models

    item = ENTRIES[name]
    assert item.name == name and item.model in list_models()
    assert item.summary and item.homepage
    assert set(item.licences) == set(PARTS)
    for licence in item.licences.values():
        assert licence.text and licence.source
    for file in item.files:
        assert file.format in ("pth", "onnx", "safetensors", "model")
        for number in (*file.digests, *file.urls, *((file.size,) if file.size else ())):
            assert len(number.source) > 10
        for url in file.urls:
            check_url(url.value)
            assert url.value.startswith("https://") and file.digests and file.size
    if item.golden:
        assert item.golden["source"]


def test_numbers_stand_in_the_file_with_their_source_only():
    """No field of the file is a bare number or digest."""
    def walk(value, path):
        if isinstance(value, dict):
            for key, item in value.items():
                walk(item, (*path, key))
        elif isinstance(value, list):
            for item in value:
                walk(item, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert "value" in path or "golden" in path, path
        elif isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32,}", value):
            assert path[-1] == "value", path

    values = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    walk(values["weights"], ())


@pytest.mark.parametrize("name", list_shipped())
def test_the_shipped_file_is_the_one_that_is_described(name):
    (file,) = ENTRIES[name].files
    path = list_shipped()[name]
    assert path.stat().st_size == file.size.value
    assert digests_of(path)["sha256"] == file.digests[0].value


def test_what_may_be_done_is_the_narrowest_of_code_weights_and_data(catalogue):
    catalogue(entry("isnet@a", file_entry("a.pth"), "yes") + entry("isnet@b", file_entry("b.pth")).replace(
        'data = {text = "none stated", commercial = "unclear"', 'data = {text = "academic", commercial = "no"')
        + entry("isnet@c", file_entry("c.pth"), "yes").replace(
        'weights = {text = "none stated", commercial = "yes"', 'weights = {text = "none", commercial = "unclear"'))
    assert [item.commercial for item in read_catalogue().values()] == ["yes", "no", "unclear"]
    assert ENTRIES["isnet@dis5k"].commercial == "no"
    assert ENTRIES["isnet@general-use"].commercial == "unclear"
    assert ENTRIES["isnet@cutouts"].commercial == "yes"


GOOD = entry("isnet@a", file_entry("a.pth", "https://host/a.pth", "0" * 64, 12))


@pytest.mark.parametrize(("change", "words"), [
    (("[[weights]]", "[[weights"), "not a catalogue"),
    (('name = "isnet@a"', 'name = "isnet"'), "no MODEL@WEIGHTS"),
    (('summary = "toy"', 'sumary = "toy"'), "sumary"),
    (('commercial = "unclear"', 'commercial = "maybe"'), "yes | unclear | no"),
    (('text = "none stated"', 'text = ""'), "licence of code"),
    (('source = "a test"}]\n', 'source = ""}]\n'), "without its source"),
    (("0" * 64, "0" * 63), "is no sha256"),
    (('kind = "sha256"', 'kind = "crc"'), "is no crc"),
    (('digests = [', 'digestz = ['), "without a digest"),
    (('urls = [{value = "https://host/a.pth", source = "a test"}]', ""), "where its files are to be had"),
    (("data =", "dato ="), "'data' is missing"),
    (("format = 1", "format = 2"), "reads 1"),
])
def test_a_catalogue_with_a_fault_is_an_error_that_names_it(catalogue, change, words):
    path = catalogue(GOOD)
    assert list(read_catalogue(path)) == ["isnet@a"]
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    broken = path.with_name("broken.toml")
    broken.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(WeightsError, match=re.escape(words)) as caught:
        read_catalogue(broken)
    assert "broken.toml" in str(caught.value)


def test_a_name_that_stands_there_twice_is_an_error(catalogue):
    with pytest.raises(WeightsError, match="isnet@a stands there twice"):
        read_catalogue(catalogue(GOOD + GOOD))


# names

def put(path, network, **meta):
    write_weights(path, network.state_dict(), {
        "class": "ISNet", "network": {"width": WIDTH}, "task": {"kind": "cutout", "size": [64, 64]}} | meta)
    return path


def test_shipped_ones_come_first_then_the_cache_then_what_was_trained(place, network):
    shipped = list_shipped()["isnet@cutouts"]
    for name in ("isnet@cutouts", "isnet@mine"):
        put(cached_path(name), network)
    for run in ("cutouts", "mine", "run"):
        put(place / "work_dirs" / run / "best.safetensors", network)
    assert find_weights("isnet@cutouts") == shipped
    assert find_weights("isnet@mine") == cached_path("isnet@mine")
    assert find("isnet@run").place == "trained"
    assert {name: found.place for name, found in list_found().items()} == {
        **dict.fromkeys(list_shipped(), "shipped"), "isnet@mine": "cache", "isnet@run": "trained"}


def test_trained_weights_are_those_of_the_model_that_was_trained(place, network):
    put(place / "work_dirs/isnet_cutouts/best.safetensors", network)
    put(place / "work_dirs/isnet_cutouts/gt_encoder/best.safetensors", network, **{"class": "GTEncoder"})
    assert set(list_found()) >= {"isnet@isnet_cutouts", "isnet_gt_encoder@isnet_cutouts/gt_encoder"}
    assert find("isnet_gt_encoder@isnet_cutouts/gt_encoder").path.parent.name == "gt_encoder"
    with pytest.raises(WeightsError, match=r"weights of isnet, not of isnet_gt_encoder\. Remedy: isnet@isnet_cutouts"):
        find("isnet_gt_encoder@isnet_cutouts")


def test_a_file_is_told_by_its_name(place, network):
    path = put(place / "work_dirs/run7/best.safetensors", network)
    assert name_of("work_dirs/run7/best.safetensors") == name_of(path) == "isnet@run7"
    assert name_of(put(cached_path("isnet@mine"), network)) == "isnet@mine"
    assert name_of(put(place / "elsewhere/best.safetensors", network)) is None


def test_a_run_never_passes_for_published_weights(place, network):
    put(place / "work_dirs/general-use/best.safetensors", network)
    with pytest.raises(WeightsError, match=r"known, but not on this machine\. Remedy: dense weights get isnet@general"):
        find("isnet@general-use")
    assert "isnet@general-use" not in list_found()


@pytest.mark.parametrize("name", ["isnet@../secret", "isnet@a/../../secret", "isnet@/etc", "isnet@.", "@", "isnet@",
                                  "isnet@a/b/c", "../x@y"])
def test_a_name_leads_nowhere_else(place, network, name):
    put(place / "secret/best.safetensors", network)
    put(place / "best.safetensors", network)
    put(place / "work_dirs/best.safetensors", network)
    put(place / "work_dirs/a/best.safetensors", network)
    with pytest.raises(WeightsError, match="no weights are called"):
        find(name)


def test_unknown_names_are_an_error_with_near_misses_and_what_there_is(place, network):
    put(cached_path("isnet@mine"), network)
    put(place / "work_dirs/run7/best.safetensors", network)
    with pytest.raises(WeightsError) as caught:
        find("isnet@general_use")
    absent = [name for name in ENTRIES if name not in list_shipped()]
    assert str(caught.value) == (
        f"no weights are called 'isnet@general_use'; shipped: {', '.join(list_shipped())}; in the cache: isnet@mine; "
        f"trained here: isnet@run7; to be had: {', '.join(absent)} (dense weights list); "
        "did you mean isnet@general-use?")
    with pytest.raises(WeightsError, match=r"dis5k: known, but not.*isnet\.pth by hand \(https.* --name isnet@dis5k"):
        find("isnet@dis5k")


def test_a_path_with_an_at_sign_is_a_path(place):
    (place / "me@home.pth").write_bytes(b"")
    assert locate("me@home.pth").name == "me@home.pth"
    assert locate("isnet@cutouts") == list_shipped()["isnet@cutouts"]
    assert locate("nowhere.pth").name == "nowhere.pth"


def test_everything_takes_the_name(place, network):
    put(cached_path("isnet@mine"), network)
    inputs = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(inputs)[0][0]
        for model in (build_model("isnet@mine"), build_model("isnet", weights="isnet@mine")):
            assert torch.equal(model(inputs)[0], expected)
    picture = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    inferencer = Inferencer("isnet@mine", device="cpu")
    assert f"weights in the cache, {cached_path('isnet@mine')}" in inferencer.describe()
    alpha = inferencer(picture).alpha
    again = Inferencer("isnet", weights="isnet@mine", device="cpu")(picture).alpha
    assert np.array_equal(alpha, again) and alpha.std() > 0
    for source in (Source("isnet@mine"), Source("isnet", "isnet@mine")):
        assert source.weights_path == cached_path("isnet@mine")
        assert source.default_name == "isnet-mine"
        assert source.record()["sha256"] == digests_of(cached_path("isnet@mine"))["sha256"]


def test_an_unknown_name_is_an_error_everywhere(place):
    for use in (build_model, Inferencer, lambda name: Source(name).weights_path,
                lambda name: build_model("isnet", weights=name)):
        with pytest.raises(WeightsError, match="no weights are called 'isnet@nothing'"):
            use("isnet@nothing")


# the list

def test_the_list_says_what_is_here_and_how_to_get_the_rest(place, network):
    put(cached_path("isnet@mine"), network, licences={"weights": "MIT"}, source={"file": "x.pth"})
    put(place / "work_dirs/run/best.safetensors", network, iterations=7)
    rows = {row["name"]: row for row in list_weights()}
    assert {name: row["state"] for name, row in rows.items()} == {
        **dict.fromkeys(ENTRIES, "absent"), **dict.fromkeys(list_shipped(), "shipped"), "isnet@mine": "cache",
        "isnet@run": "trained"}
    assert rows["isnet@general-use"]["bytes"] == 176_579_397
    assert rows["isnet@general-use"]["remedy"] == "dense weights get isnet@general-use"
    assert rows["isnet@dis5k"]["bytes"] is None
    assert rows["isnet@mine"]["licences"] == {"code": "unknown", "weights": "MIT", "data": "unknown"}
    assert rows["isnet@mine"]["summary"] == "imported from x.pth"
    assert rows["isnet@run"]["summary"] == "trained for 7 iterations"
    assert rows["isnet@mine"]["commercial"] == rows["isnet@run"]["commercial"] == "unclear"
    assert json.loads(json.dumps(list(rows.values()))) == list(rows.values())


def test_damaged_files_do_not_stop_the_list(place, network):
    folder = cached_path("isnet@x").parent
    folder.mkdir(parents=True)
    for name, content in (("isnet--empty", b""), ("isnet--text", b"hello world, no header"),
                          ("isnet--list", (2).to_bytes(8, "little") + b"[]")):
        (folder / f"{name}.safetensors").write_bytes(content)
        assert read_meta(folder / f"{name}.safetensors") == {}
    shutil.copytree(folder, place / "work_dirs" / "x")
    (place / "work_dirs/x/best.safetensors").write_bytes(b"nothing")
    assert {row["name"] for row in list_weights()} >= {"isnet@empty", "isnet@text", "isnet@list"}
