"""The picture cache: never stale, never half-written, and no reason for training to stop."""
import errno
import logging
import multiprocessing
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from dense.datasets.cache import PictureCache, cache_folder
from dense.errors import ImageError

SHAPE = (50, 3)


class Make:
    """Counts its calls; the array follows from the contents."""

    def __init__(self):
        self.calls = 0

    def __call__(self, *contents: bytes) -> np.ndarray:
        self.calls += 1
        return np.full(SHAPE, sum(map(sum, contents)) % 256, np.uint8)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def cache(tmp_path) -> PictureCache:
    return PictureCache(tmp_path / "entries")


def entries(cache: PictureCache) -> list[Path]:
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def test_same_content_is_made_once(cache, file, tmp_path):
    make = Make()
    first = cache.get([file], "s", SHAPE, make)
    copy = tmp_path / "b.bin"
    copy.write_bytes(b"one")
    for path in (file, copy):  # content counts, not the name
        assert np.array_equal(cache.get([path], "s", SHAPE, make), first)
    assert np.array_equal(PictureCache(cache.folder).get([file], "s", SHAPE, make), first)
    assert make.calls == 1 and len(entries(cache)) == 1


def test_changed_content_under_the_same_name_and_time(cache, file):
    make, stamp = Make(), file.stat()
    before = cache.get([file], "s", SHAPE, make)
    file.write_bytes(b"two")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert file.stat().st_mtime_ns == stamp.st_mtime_ns and file.stat().st_size == stamp.st_size
    after = cache.get([file], "s", SHAPE, make)
    assert make.calls == 2 and not np.array_equal(before, after)


def test_other_settings_shapes_and_divisions_are_other_entries(cache, file, tmp_path):
    other = tmp_path / "b.bin"
    other.write_bytes(b"x")
    calls = []
    for paths, settings, shape in (([file], "a", SHAPE), ([file], "b", SHAPE), ([file], "a", (75, 2)),
                                   ([file, other], "a", SHAPE), ([other, file], "a", SHAPE)):
        array = cache.get(paths, settings, shape,
                          lambda *c, shape=shape: calls.append(c) or np.zeros(shape, np.uint8))
        assert array.shape == shape
    file.write_bytes(b"onex")
    other.write_bytes(b"")
    cache.get([file, other], "a", SHAPE, lambda *c: calls.append(c) or np.zeros(SHAPE, np.uint8))
    assert len(calls) == 6 == len(entries(cache))


@pytest.mark.parametrize("damage", [
    lambda data: b"", lambda data: data[:40], lambda data: data[:-1], lambda data: b"\0" * len(data),
    lambda data: b"PK\x03\x04" + data, lambda data: data.replace(b"50, 3", b"75, 2"),
    lambda data: data.replace(b"|u1", b"|O8"), lambda data: data.replace(b"{", b"(", 1),
    lambda data: data.replace(b"50, 3", b"9e9,3")])
def test_damaged_entries_are_made_again(cache, file, damage):
    make = Make()
    first = cache.get([file], "s", SHAPE, make)
    entry, = entries(cache)
    entry.write_bytes(damage(entry.read_bytes()))
    for _ in range(2):
        assert np.array_equal(cache.get([file], "s", SHAPE, make), first)
    assert make.calls == 2


def test_results_may_be_changed_in_place(cache, file):
    make = Make()
    first = cache.get([file], "s", SHAPE, make)
    expected = first.copy()
    first[:] = 7
    for _ in range(2):
        again = cache.get([file], "s", SHAPE, make)
        assert np.array_equal(again, expected) and again.flags.writeable
        again[:] = 9
    assert make.calls == 1


def test_what_make_raises_passes_and_nothing_is_stored(cache, file):
    def make(content):
        raise ImageError("bad")

    with pytest.raises(ImageError, match="bad"):
        cache.get([file], "s", SHAPE, make)
    assert entries(cache) == [] and cache.writes


def test_missing_and_unreadable_files(cache, tmp_path, file, monkeypatch):
    with pytest.raises(ImageError, match=r"none\.bin: does not exist\. Remedy"):
        cache.get([tmp_path / "none.bin"], "s", SHAPE, Make())
    with pytest.raises(ImageError, match=rf"{tmp_path.name}: cannot be read .*Remedy"):  # a folder
        cache.get([tmp_path], "s", SHAPE, Make())

    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ImageError, match=r"a\.bin: cannot be read \(Permission denied\)\. Remedy: .*permissions"):
        cache.get([file], "s", SHAPE, Make())


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_folder_that_cannot_be_made(tmp_path, file, caplog):
    (tmp_path / "plain").write_text("a file in the way")
    cache, make = PictureCache(tmp_path / "plain" / "entries"), Make()
    for _ in range(3):
        assert cache.get([file], "s", SHAPE, make).shape == SHAPE
    assert make.calls == 3 and len(warnings(caplog)) == 1 and "no longer cached" in warnings(caplog)[0]


@pytest.mark.parametrize("number, text", [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission")])
def test_a_full_or_read_only_disk(cache, file, tmp_path, caplog, monkeypatch, number, text):
    make = Make()
    cache.get([file], "s", SHAPE, make)
    real_save = np.save

    def save(file, array, **keywords):
        real_save(file, array[:1], **keywords)
        raise OSError(number, os.strerror(number), file.name)

    monkeypatch.setattr(np, "save", save)
    for index in range(3):
        other = tmp_path / f"{index}.bin"
        other.write_bytes(bytes([index]))
        assert cache.get([other], "s", SHAPE, make)[0, 0] == index
    assert len(warnings(caplog)) == 1 and text in warnings(caplog)[0]
    assert len(entries(cache)) == 1  # no half-written one
    cache.get([file], "s", SHAPE, make)  # what is there is still used
    assert make.calls == 4


def fill(folder: Path, file: Path, count: int) -> None:
    cache = PictureCache(folder)
    for index in range(count):
        array = cache.get([file], f"s{index}", (200, 200), lambda c, i=index: np.full((200, 200), i, np.uint8))
        assert (array == index).all()


def test_two_processes_write_at_once(cache, file):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fill, args=(cache.folder, file, 30)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(entries(cache)) == 30 and all(path.suffix == ".npy" for path in entries(cache))
    for path in entries(cache):
        assert not path.name.startswith(".") and np.load(path).shape == (200, 200)


def test_threads_share_a_cache(cache, file):
    barrier, results = threading.Barrier(4), []

    def work():
        barrier.wait()
        results.append(cache.get([file], "s", SHAPE, Make()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(np.array_equal(r, results[0]) for r in results) and len(entries(cache)) == 1


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" and PictureCache().folder == tmp_path / "x" / "pictures"
    monkeypatch.delenv("DENSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "y"))
    assert cache_folder() == tmp_path / "y" / "dense"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "dense"
