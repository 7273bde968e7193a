"""Fixtures of the training tests."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy import make_config, make_data


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: one thread is faster, and sums are taken in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory) -> Path:
    """The toy data set; tests that damage it make their own."""
    return make_data(tmp_path_factory.mktemp("toy") / "data")


@pytest.fixture
def toy(tmp_path, toy_data, monkeypatch) -> SimpleNamespace:
    """``config``: a toy config; ``data``: its data; ``folder``: where runs may go. The cache is in there too."""
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(config=make_config(tmp_path / "configs", toy_data), data=toy_data, folder=tmp_path)
