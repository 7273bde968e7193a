"""Whether a folder can be written is said before the work, with what is wrong and what helps."""
from __future__ import annotations

import builtins
import errno
import os
from pathlib import Path

import pytest

from dense.errors import DenseError
from dense.io import check_folder


def test_the_folder_is_made_and_left_empty(tmp_path):
    for _ in range(2):
        check_folder(tmp_path / "a" / "b")
        assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(("name", "words"), [("file", "is a file instead"), ("file/out/x", "lies in .*file, a file")])
def test_a_file_is_named(tmp_path, name, words):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(DenseError, match=f"{name}: {words}.*choose another folder") as caught:
        check_folder(tmp_path / name)
    assert ".tmp" not in str(caught.value) and (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(("number", "words"), [
    (errno.EACCES, "read-only for you"), (errno.EROFS, "read-only disk"), (errno.ENOSPC, "disk is full")])
def test_a_folder_that_takes_no_files(tmp_path, monkeypatch, number, words):
    def refuse(path, *_):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        with pytest.raises(DenseError, match=f"^{tmp_path}: .*{words}.*choose another folder"):
            check_folder(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DenseError, match=f"new/out: the folder cannot be made.*permissions of {tmp_path}, or choose"):
        check_folder(tmp_path / "new" / "out")
