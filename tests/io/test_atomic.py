"""A file is complete or not there, whatever happens while it is written."""

import errno
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from dense.errors import DenseError, ImageError
from dense.io import atomic_path, read_image, write_bytes, write_image, write_json, write_text


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "eins\n")
    write_text(str(path), "zwei ü\n")
    assert path.read_bytes() == "zwei ü\n".encode()
    assert os.listdir(path.parent) == ["a.txt"]


def test_temporary_path(tmp_path):
    with atomic_path(tmp_path / "w.pt") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".pt" and temporary.name.startswith(".")
        temporary.write_bytes(b"1")
        assert not (tmp_path / "w.pt").exists()
    assert (tmp_path / "w.pt").read_bytes() == b"1"
    write_bytes(tmp_path / ("n" * 250 + ".bin"), b"long name")


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit, FileNotFoundError])
def test_failure_leaves_the_previous_file(tmp_path, kind):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(kind), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise kind("stop")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_nothing_written(tmp_path):
    with pytest.raises(DenseError, match="nothing was written"), atomic_path(tmp_path / "a"):
        pass


def test_permissions_and_links_are_kept(tmp_path):
    real = tmp_path / "real.txt"
    real.write_text("old")
    real.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    write_text(link, "new")
    assert link.is_symlink() and real.read_text() == "new" and real.stat().st_mode & 0o777 == 0o640


def test_folders_and_devices_are_refused(tmp_path):
    with pytest.raises(DenseError, match="is a folder"):
        write_text(tmp_path, "x")
    with pytest.raises(DenseError, match="device"):
        write_text("/dev/null", "x")
    (tmp_path / "file").touch()
    with pytest.raises(DenseError, match="instead of a folder"):
        write_text(tmp_path / "file" / "a", "x")
    with pytest.raises(DenseError, match="too long"):
        write_text(tmp_path / ("n" * 300), "x")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_full_disk_while_writing(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(DenseError) as error, atomic_path(path, size=5 * 2**20) as temporary:
        temporary.symlink_to("/dev/full")
        with open(temporary, "wb") as file:
            file.write(bytes(100))
    for words in (str(path), "disk is full", "5.0 MiB needed", "free in", "previous file is untouched"):
        assert words in str(error.value)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_full_disk_at_fsync(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DenseError) as error:
        write_bytes(tmp_path / "a.bin", bytes(1234))
    for words in ("a.bin", "disk is full", "1234 bytes needed", "no file was left behind"):
        assert words in str(error.value)
    assert os.listdir(tmp_path) == []


def test_full_disk_in_a_library(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    message = "more than the 4 bytes written so far"
    with pytest.raises(DenseError, match=message), atomic_path(tmp_path / "a.pt") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")


@pytest.mark.parametrize("number, word", [(errno.EACCES, "permission denied"), (errno.EROFS, "read-only")])
def test_other_errors_name_the_file(tmp_path, monkeypatch, number, word):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DenseError) as error:
        write_bytes(tmp_path / "a.bin", b"1")
    assert word in str(error.value) and "a.bin" in str(error.value)
    assert os.listdir(tmp_path) == []


def test_json(tmp_path):
    value = {"a": np.float32(0.5), "n": float("nan"), "x": np.arange(2), "p": Path("q"), "ü": (1, True)}
    value[3] = {"s"}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    expected = {"a": 0.5, "n": None, "x": [0, 1], "p": "q", "ü": [1, True], "3": ["s"]}
    assert json.loads(text) == expected and text.endswith("}\n")
    with pytest.raises(DenseError, match=r"b\.json.*JSON"):
        write_json(tmp_path / "b.json", {"a": object()})


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".WebP"])
def test_images(tmp_path, channels, suffix):
    shape = (9, 7) if channels is None else (9, 7, channels)
    array = np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    write_image(path, array[:, ::-1][:, ::-1], lossless=True)
    if channels == 4:
        back = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
        np.testing.assert_array_equal(back, array)
    else:
        array = array.reshape(9, 7, -1)
        np.testing.assert_array_equal(read_image(path), np.broadcast_to(array, (9, 7, 3)))


def test_jpeg(tmp_path):
    array = np.full((8, 8, 3), (250, 10, 30), np.uint8)
    write_image(tmp_path / "a.jpg", array)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - array).max() < 5


@pytest.mark.parametrize(
    ("name", "array", "word"),
    [
        ("a.jpg", np.zeros((4, 4, 4), np.uint8), "transparency"),
        ("a.xyz", np.zeros((4, 4), np.uint8), "xyz"),
        ("a", np.zeros((4, 4), np.uint8), "without suffix"),
        ("a.png", np.zeros((4, 4), np.float32), "float32"),
        ("a.png", np.zeros((4, 4, 2), np.uint8), "uint8"),
        ("a.png", np.zeros((0, 4), np.uint8), "no picture"),
        ("a.webp", np.zeros((1, 20_000), np.uint8), "16383"),
        ("a.jpg", np.zeros((70_000, 1), np.uint8), "65500"),
    ],
)
def test_images_that_cannot_be_written(tmp_path, name, array, word):
    with pytest.raises(ImageError, match=word) as error:
        write_image(tmp_path / name, array)
    assert name in str(error.value) and os.listdir(tmp_path) == []


def test_names_that_are_no_text_can_be_written(tmp_path):
    write_json(tmp_path / "a.json", {"name": "\udcff.jpg"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "\udcff.jpg"}
