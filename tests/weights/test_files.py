"""Weights files: safe to read, written whole or not at all, and errors that say what to do."""
import errno
import os
import pickle
import subprocess
import sys
import textwrap
from collections import OrderedDict

import numpy as np
import pytest
import torch

from dense.errors import DenseError, WeightsError
from dense.weights.files import find_state_dict, read_checkpoint, read_weights, write_checkpoint, write_weights

STATE = {"conv.weight": torch.arange(24.0).view(2, 3, 2, 2) / 7, "conv.bias": torch.tensor([1.5, -2.0]),
         "bn.running_var": torch.tensor([1e-9, 1e6]), "bn.num_batches_tracked": torch.tensor(7)}


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value), key


# reading

@pytest.mark.parametrize("content", [
    STATE, OrderedDict(STATE), {"state_dict": STATE}, {"model_state_dict": STATE}, {"network_weights": STATE},
    {"model": STATE, "epoch": 4}, {"state_dict": STATE, "optimizer": {"state": {}}, "best": np.float64(0.5)},
])
@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_state_dicts_are_found_where_checkpoints_keep_them(tmp_path, content, modern):
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=modern)
    weights = read_weights(tmp_path / "w.pth")
    assert_equal(weights.tensors, STATE)
    assert weights.path == tmp_path / "w.pth"
    assert weights.meta == {}
    assert_equal(find_state_dict(content), STATE)


@pytest.mark.parametrize("value", [np.float64(0.1), np.float32(2), np.int64(-3), np.bool_(True), np.uint8(9)])
def test_numpy_numbers_in_a_checkpoint_are_read(tmp_path, value):
    torch.save({"state_dict": STATE, "score": value, "history": [value]}, tmp_path / "w.pth")
    found = read_checkpoint(tmp_path / "w.pth")
    assert found["score"] == value
    assert found["score"].dtype == value.dtype


class TouchesFile:
    """Unpickled, it would run a shell command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"echo ran > {self.path}",)


def _object_array(path):
    return np.array([TouchesFile(path)], dtype=object)


@pytest.mark.parametrize("make", [
    lambda evil, path: torch.save({**STATE, "x": evil}, path),
    lambda evil, path: torch.save({"state_dict": STATE, "x": evil}, path),
    lambda evil, path: torch.save({**STATE, "x": evil}, path, _use_new_zipfile_serialization=False),
    lambda evil, path: path.write_bytes(pickle.dumps(evil, protocol=2)),
    lambda evil, path: path.write_bytes(pickle.dumps(evil)),
    lambda evil, path: torch.save({**STATE, "x": _object_array(evil.path)}, path),
], ids=["in the state dict", "beside it", "legacy", "pickle 2", "pickle", "object array"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_with_code_is_refused_and_the_code_does_not_run(tmp_path, make):
    make(TouchesFile(tmp_path / "ran"), tmp_path / "evil.pth")
    for read in (read_checkpoint, read_weights):
        with pytest.raises(WeightsError, match=r"evil\.pth: refused.*could run code.*Remedy: .*safetensors"):
            read(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_pickled_module_is_refused_by_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match=r"refused.*torch\.nn\.modules\.linear\.Linear"):
        read_weights(tmp_path / "whole.pth")


def _saved(path, modern=True):
    torch.save({"w": torch.arange(20000.0)}, path, _use_new_zipfile_serialization=modern)
    return path.read_bytes()


@pytest.mark.parametrize("part", [0.001, 0.5, 0.99])
@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_a_truncated_file_is_damaged_not_unsafe(tmp_path, part, modern):
    data = _saved(tmp_path / "w.pth", modern)
    (tmp_path / "w.pth").write_bytes(data[:int(len(data) * part)])
    with pytest.raises(WeightsError, match=r"w\.pth: damaged.*Remedy: fetch"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [
    b"hello\n", b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1\n", b"\x00" * 1000])
def test_a_text_or_web_page_named_pth_is_called_that(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth: no PyTorch file, it begins with .*Remedy"):
        read_weights(tmp_path / "w.pth")


def test_another_zip_is_no_pytorch_file(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    (tmp_path / "w.npz").rename(tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: damaged or no PyTorch file"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_missing_and_empty_files_and_folders_are_named(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    with pytest.raises(WeightsError, match=f"w{suffix}: no such weights file"):
        read_weights(path)
    path.touch()
    with pytest.raises(WeightsError, match=f"w{suffix}: the file is empty"):
        read_weights(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(WeightsError, match=f"w{suffix}: no such weights file"):
        read_weights(path)


@pytest.mark.parametrize("content", [
    {}, [], 3, {"a": 1}, {"state_dict": {}}, {"state_dict": {"a": 1}}, {1: torch.zeros(1)}, torch.zeros(2)])
def test_a_file_without_state_dict_says_so(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: holds no state dict.*Remedy"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("damage", [
    lambda b: b[:40], lambda b: b[:-4], lambda b: b"\xff" * 8 + b[8:], lambda b: b"<html>not found</html>",
    lambda b: b.replace(b'"dense":"{', b'"dense":"['),
])
def test_a_damaged_safetensors_file_is_an_error(tmp_path, damage):
    write_weights(tmp_path / "w.safetensors", STATE, {"network": {}})
    data = (tmp_path / "w.safetensors").read_bytes()
    assert damage(data) != data
    (tmp_path / "w.safetensors").write_bytes(damage(data))
    with pytest.raises(WeightsError, match=r"w\.safetensors: damaged safetensors file.*Remedy"):
        read_weights(tmp_path / "w.safetensors")


def test_safetensors_of_others_have_no_metadata(tmp_path):
    from safetensors.torch import save_file

    save_file(STATE, tmp_path / "w.safetensors", {"format": "pt"})
    weights = read_weights(tmp_path / "w.safetensors")
    assert weights.meta == {}
    assert set(weights.tensors) == set(STATE)


# writing

def test_safetensors_round_trip_keeps_values_and_metadata(tmp_path):
    meta = {"network": {"width": 0.25}, "task": {"kind": "cutout", "size": [320, 320]}, "note": "ünïcode"}
    state = {**STATE, "conv.weight": STATE["conv.weight"].to(memory_format=torch.channels_last).requires_grad_()}
    write_weights(tmp_path / "new" / "w.safetensors", state, meta)
    weights = read_weights(tmp_path / "new" / "w.safetensors")
    assert weights.meta == meta
    assert_equal({k: weights.tensors[k] for k in STATE}, STATE)


def test_half_storage_gives_float32_back_and_keeps_vectors_exact(tmp_path):
    write_weights(tmp_path / "full.safetensors", STATE, {})
    write_weights(tmp_path / "half.safetensors", STATE, {}, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < (tmp_path / "full.safetensors").stat().st_size
    found = read_weights(tmp_path / "half.safetensors").tensors
    expected = {**STATE, "conv.weight": STATE["conv.weight"].half().float()}
    assert_equal({k: found[k] for k in STATE}, expected)


def test_checkpoint_round_trip(tmp_path):
    content = {"state_dict": STATE, "meta": {"iter": 3, "weights": {"network": {"width": 0.5}}}, "none": None}
    write_checkpoint(tmp_path / "runs" / "iter_3.pth", content)
    found = read_checkpoint(tmp_path / "runs" / "iter_3.pth")
    assert_equal(found["state_dict"], STATE)
    assert found["meta"] == content["meta"]
    assert read_weights(tmp_path / "runs" / "iter_3.pth").meta == {"network": {"width": 0.5}}


WRITERS = {
    "w.pth": lambda path, state: write_checkpoint(path, {"state_dict": state}),
    "w.safetensors": lambda path, state: write_weights(path, state, {}),
}


def _disk_that_fills(monkeypatch, room: int):
    """Every file opened for writing takes ``room`` bytes and then fails as a full disk does."""
    import builtins

    class Filling:
        def __init__(self, file):
            self.file, self.left = file, room

        def write(self, data):
            size = memoryview(data).nbytes
            if size > self.left:
                self.file.write(memoryview(data).cast("B")[:self.left])
                self.left = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.left -= size
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.file.close()

    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda name, mode="r", *args, **kwargs: (
        Filling(real(name, mode, *args, **kwargs)) if "w" in mode else real(name, mode, *args, **kwargs)))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("room", [0, 1000, 200_000])
@pytest.mark.parametrize("previous", [True, False], ids=["over an old file", "new"])
def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(tmp_path, monkeypatch, name, room, previous):
    path = tmp_path / name
    if previous:
        WRITERS[name](path, STATE)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    _disk_that_fills(monkeypatch, room)
    with pytest.raises(DenseError, match=rf"{name}: the disk is full.*Free some space or write to another disk"):
        WRITERS[name](path, {"w": torch.zeros(100_000)})
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_bytes_that_the_system_refuses_are_met_the_same_way(tmp_path):
    """The real thing, in a process of its own: the kernel's limit of a file's size, in the middle of the file."""
    pytest.importorskip("resource", reason="file size limits exist on POSIX systems only")
    before = {}
    for name, write in WRITERS.items():
        write(tmp_path / name, STATE)
        before[name] = (tmp_path / name).read_bytes()
    script = textwrap.dedent("""
        import resource, sys, torch
        from dense.errors import DenseError
        from dense.weights.files import write_checkpoint, write_weights
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        state = {"w": torch.zeros(100_000)}
        for write in (lambda: write_checkpoint("w.pth", state), lambda: write_weights("w.safetensors", state, {})):
            try:
                write()
            except DenseError as error:
                print(error)
    """)
    done = subprocess.run([sys.executable, "-B", "-c", script], cwd=tmp_path, capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
    for name, line in zip(WRITERS, done.stdout.splitlines(), strict=True):
        assert f"{name}: the disk is full (or a quota or a limit of file sizes is reached)" in line
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", WRITERS)
def test_another_failed_write_names_the_file(tmp_path, monkeypatch, name):
    WRITERS[name](tmp_path / name, STATE)
    before = (tmp_path / name).read_bytes()

    def broken(*args, **kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("dense.io.atomic.os.fsync", broken)
    with pytest.raises(DenseError, match=rf"{name}: cannot be written"):
        WRITERS[name](tmp_path / name, {"w": torch.zeros(10)})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == before


def test_an_interrupt_while_saving_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    write_checkpoint(path, STATE)
    before = path.read_bytes()

    def interrupted(content, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, STATE)
    assert [p.name for p in tmp_path.iterdir()] == ["w.pth"]
    assert path.read_bytes() == before


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path):
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        write_checkpoint(tmp_path / "w.pth", {"f": lambda: 0})
    assert list(tmp_path.iterdir()) == []
