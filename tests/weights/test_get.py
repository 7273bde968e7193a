"""Weights of the catalogue by name: fetched, checked, converted, once, whatever the server does."""
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_weights import entry, file_entry

from dense import build_model
from dense.errors import DenseError, WeightsError
from dense.weights import get_weights
from dense.weights.catalogue import _read
from dense.weights.fetch import FetchError, digests_of
from dense.weights.store import cached_path

ROOT = Path(__file__).resolve().parents[2]


def assert_same(name, network):
    """The tensors by name are the network's."""
    own = build_model(name).network.state_dict()
    assert all(torch.equal(own[k], v) for k, v in network.state_dict().items())


@pytest.fixture
def toy(server, catalogue, pth):
    """A catalogue with isnet@toy on the server, and isnet@hand that is not."""
    server.content, server.etag = pth.read_bytes(), '"1"'
    sha256 = digests_of(pth)["sha256"]
    server.catalogue = catalogue(
        entry("isnet@toy", file_entry("isnet.pth", server.url, sha256, len(server.content)))
        + entry("isnet@hand", file_entry("hand.pth")))
    return server


def test_get_fetches_checks_converts_and_keeps_no_copy(place, toy, network):
    done = get_weights("isnet@toy")
    assert_same("isnet@toy", network)
    assert any("has the published sha256" in note for note in done.notes)
    assert [p.name for p in (place / "cache/weights/downloads").iterdir() if not p.name.endswith(".lock")] == []
    assert "in the cache already" in get_weights("isnet@toy").notes[0]
    assert len(toy.requests) == 1
    get_weights("isnet@toy", overwrite=True, keep=True)
    assert len(toy.requests) == 2
    assert (place / "cache/weights/downloads/isnet.pth").read_bytes() == toy.content


def test_a_fetched_file_whose_import_failed_is_not_fetched_again(place, toy, monkeypatch):
    monkeypatch.setattr("dense.weights.get.import_weights", lambda *a, **k: (_ for _ in ()).throw(DenseError("full")))
    with pytest.raises(DenseError, match="full"):
        get_weights("isnet@toy")
    monkeypatch.undo()
    monkeypatch.setenv("DENSE_CACHE", str(place / "cache"))
    monkeypatch.setattr("dense.weights.catalogue.CATALOGUE", toy.catalogue)
    monkeypatch.setattr("dense.weights.check.MOST", 128)
    get_weights("isnet@toy")
    assert len(toy.requests) == 1


def test_what_cannot_be_got_says_how_else(place, toy, monkeypatch):
    with pytest.raises(WeightsError, match=r"cannot be fetched by a program\. Remedy: fetch hand\.pth by hand \(http"):
        get_weights("isnet@hand")
    with pytest.raises(WeightsError, match="did you mean isnet@toy"):
        get_weights("isnet@tyo")
    with pytest.raises(WeightsError, match=r"commercial use is not clearly allowed \(code: none stated"):
        get_weights("isnet@toy", commercial_only=True)
    monkeypatch.setenv("DENSE_OFFLINE", "1")
    with pytest.raises(FetchError, match="DENSE_OFFLINE"):
        get_weights("isnet@toy")
    assert toy.requests == []


def test_the_next_address_is_tried_and_all_failures_are_told(place, toy, network):
    sha256 = hashlib.sha256(toy.content).hexdigest()
    text = toy.catalogue.read_text(encoding="utf-8")
    bad = toy.url.replace("weights.pth", "redirect")
    toy.redirect = "http://example.com/x"
    toy.catalogue.write_text(text.replace("urls = [", f'urls = [{{value = "{bad}", source = "a test"}}, '), "utf-8")
    _read.cache_clear()
    get_weights("isnet@toy")
    assert_same("isnet@toy", network)
    toy.content = b"x" * len(toy.content)
    with pytest.raises(FetchError, match=rf"isnet@toy: could not be fetched:\n.*its sha256 is \w+ instead of {sha256}"):
        get_weights("isnet@toy", overwrite=True)
    assert_same("isnet@toy", network)  # what was there stays


def test_two_processes_that_want_the_same_name_fetch_it_once(place, toy, network):
    toy.pause = 0.5
    script = ("import sys; from pathlib import Path; import dense.weights.catalogue as c, dense.weights.check as k;"
              f"c.CATALOGUE = Path({str(toy.catalogue)!r}); k.MOST = 64;"
              "from dense.cli import main; sys.exit(main(['weights', 'get', 'isnet@toy']))")
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    both = [subprocess.Popen([sys.executable, "-c", script], env=environment, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert len(toy.requests) == 1
    assert sum("another process is fetching it" in err for _, err in outputs) <= 1
    assert_same("isnet@toy", network)
    receipt = json.loads(cached_path("isnet@toy").with_suffix(".json").read_text())
    assert receipt["sha256"] == digests_of(cached_path("isnet@toy"))["sha256"]
    assert np.isfinite(receipt["golden"]["grid"]).all()
