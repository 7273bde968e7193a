"""A place of its own for every test, a server on this machine, and small networks in files."""
from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer

import pytest
import torch
from reference import refill
from toy_weights import WIDTH, Handler, Served


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty current folder with the cache in it; nothing is offline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DENSE_OFFLINE", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def network():
    from dense.models.isnet import ISNet

    return refill(ISNet(width=WIDTH), seed=3).eval()


@pytest.fixture(scope="session")
def pth(network, tmp_path_factory):
    """``isnet.pth`` as the authors save it, of a narrow network."""
    path = tmp_path_factory.mktemp("published") / "isnet.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def server():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.told = Served(url=f"http://127.0.0.1:{http.server_port}/weights.pth")
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield http.told
    http.shutdown()
    http.server_close()


@pytest.fixture
def catalogue(place, monkeypatch):
    """``catalogue(text)`` replaces the package's catalogue."""
    def use(text: str):
        path = place / "catalogue.toml"
        path.write_text("format = 1\n" + text, encoding="utf-8")
        monkeypatch.setattr("dense.weights.catalogue.CATALOGUE", path)
        from dense.weights.catalogue import _read

        _read.cache_clear()
        return path

    return use


@pytest.fixture(autouse=True)
def few_threads(monkeypatch):
    """Small networks, small golden pictures."""
    monkeypatch.setattr("dense.weights.check.MOST", 128)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
