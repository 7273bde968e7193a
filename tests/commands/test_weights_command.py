"""``dense weights`` from the command line: what it prints, and its exit codes."""
import json

import pytest

from dense.cli import main
from dense.weights.catalogue import read_catalogue
from dense.weights.shipped import list_shipped
from dense.weights.store import cached_path


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    for name in ("DENSE_OFFLINE", "DENSE_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def mine(place):
    """The shipped weights with one value changed, imported as isnet@mine."""
    from dense.weights.files import read_weights, write_weights

    weights = read_weights(list_shipped()["isnet@cutouts"])
    weights.tensors["side1.bias"] += 0.1
    write_weights(place / "x.safetensors", weights.tensors, weights.meta)
    assert main(["weights", "import", str(place / "x.safetensors"), "--name", "isnet@mine"]) == 0
    return cached_path("isnet@mine")


def test_list_is_a_table_with_licences_and_remedies(capsys, mine):
    capsys.readouterr()
    assert main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0].rstrip(":"): line for line in lines if "@" in line.split(" ")[0]}
    assert "5.4 MiB" in rows["isnet@cutouts"] and "yes" in rows["isnet@cutouts"] and "shipped" in rows["isnet@cutouts"]
    assert "unclear" in rows["isnet@general-use"] and "not here" in rows["isnet@general-use"]
    assert "not published" in rows["isnet@dis5k"] and "DIS5K terms of use" in rows["isnet@dis5k"]
    assert "in the cache" in rows["isnet@mine"]
    assert any(line == "  isnet@general-use: dense weights get isnet@general-use" for line in lines)


def test_list_of_names_gives_every_source(capsys):
    assert main(["weights", "list", "isnet@general-use"]) == 0
    out = capsys.readouterr().out
    for text in ("licence of weights: none stated", "[https://github.com/xuebinqin/DIS/issues/150]",
                 "176579397 bytes [",
                 "9e1aafea58f0b55d0c35077e0ceade6ba1ba2bce372fd4f8f77215391f3fac13 [", "md5 fc16ebd8b0c10d971d3513d56"):
        assert text in out
    assert main(["weights", "list", "isnet@dis5k"]) == 0
    assert "size and digest were not published" in capsys.readouterr().out
    assert main(["weights", "list", "isnet@dis6k"]) == 1
    assert "did you mean isnet@dis5k" in capsys.readouterr().err


def test_commercial_only_leaves_out_what_is_not_clear(capsys):
    assert main(["weights", "list", "--commercial-only", "--json"]) == 0
    free = {name for name, entry in read_catalogue().items() if entry.commercial == "yes"}
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} == free >= {"isnet@cutouts"}
    assert main(["weights", "list", "--commercial-only"]) == 0
    left = len(read_catalogue()) - len(free)
    assert left >= 3 and f"{left} left out" in capsys.readouterr().err
    assert main(["weights", "get", "isnet@general-use", "--commercial-only"]) == 1
    assert "not clearly allowed" in capsys.readouterr().err


def test_json_holds_the_catalogue_for_names(capsys):
    assert main(["weights", "list", "--json", "isnet@general-use"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["state"] == "absent" and row["catalogue"]["files"][1]["digests"][1]["kind"] == "md5"


def test_offline_refuses_with_a_remedy(capsys, monkeypatch):
    monkeypatch.setenv("DENSE_OFFLINE", "")  # so that it is put back
    assert main(["weights", "get", "isnet@general-use", "--offline"]) == 1
    err = capsys.readouterr().err
    assert "DENSE_OFFLINE is set" in err and "dense weights import FILE" in err and "Traceback" not in err


def test_several_names_are_done_in_spite_of_failures(capsys):
    assert main(["weights", "get", "isnet@dis5k", "isnet@cutouts"]) == 1
    out, err = capsys.readouterr()
    assert "isnet@cutouts comes with the package" in out
    assert "error: isnet@dis5k: cannot be fetched by a program" in err


def test_import_use_verify_path_remove(capsys, mine):
    out = capsys.readouterr().out
    assert f"isnet@mine: {mine}" in out and "exactly the source's" in out
    assert main(["weights", "path", "isnet@mine"]) == 0
    assert capsys.readouterr().out.strip() == str(mine)
    assert main(["weights", "verify"]) == 0
    out = capsys.readouterr().out
    assert "isnet@cutouts: ok" in out and "isnet@mine: ok" in out
    content = bytearray(mine.read_bytes())
    content[-1] ^= 1
    mine.write_bytes(content)
    assert main(["weights", "verify", "isnet@mine"]) == 1
    assert "isnet@mine: FAILED" in capsys.readouterr().out
    assert main(["weights", "remove", "isnet@mine"]) == 0
    assert not mine.exists() and not mine.with_suffix(".json").exists()
    assert main(["weights", "path", "isnet@mine"]) == 1
    assert "no weights are called 'isnet@mine'" in capsys.readouterr().err


def test_what_is_not_in_the_cache_is_not_removed(capsys, place):
    assert main(["weights", "remove", "isnet@cutouts"]) == 1
    assert "only what is in the cache is removed" in capsys.readouterr().err
    assert list_shipped()["isnet@cutouts"].is_file()


def test_other_commands_take_the_name(capsys, mine, place):
    import numpy as np

    from dense.io import read_image, write_image

    write_image(place / "photo.png", np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8))
    assert main(["cutout", "photo.png", "--model", "isnet@mine", "--mask", "-o", "a.png", "--device", "cpu"]) == 0
    assert f"weights in the cache, {mine}" in capsys.readouterr().err
    assert main(["cutout", "photo.png", "-w", "isnet@mine", "--mask", "-o", "b.png", "--device", "cpu"]) == 0
    assert np.array_equal(read_image("a.png"), read_image("b.png"))
    assert main(["models"]) == 0
    assert "isnet@mine" in capsys.readouterr().out


def test_an_action_is_needed(capsys):
    with pytest.raises(SystemExit) as end:
        main(["weights"])
    assert end.value.code == 2
