"""Which files are volumes, and which belong to one case."""
from pathlib import Path

import pytest

from dense.errors import DatasetError
from dense.io.volume_files import (
    Case,
    bare_name,
    channel_files,
    check_channels,
    group_cases,
    list_volumes,
    volume_suffix,
)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize(("path", "name", "suffix"), [
    ("a/brain.nii.gz", "brain", ".nii.gz"), ("b.NII", "b", ".NII"), ("c.1.nii", "c.1", ".nii"), ("d.hdr", "d", ".hdr"),
    ("series.1", "series.1", ""), ("e.gz", "e.gz", ""), (".nii", ".nii", ""), ("f.mha", "f", ".mha")])
def test_names(path, name, suffix):
    assert (bare_name(path), volume_suffix(path)) == (name, suffix)


def test_folders_are_listed(tmp_path):
    touch(tmp_path, "b10.nii", "b2.NII.GZ", "p.hdr", "p.img", "q.img", "notes.txt", "x.gz", ".h.nii", "below/c.nii")
    assert [p.name for p in list_volumes(tmp_path)] == ["b2.NII.GZ", "b10.nii", "p.hdr", "q.img"]
    assert tmp_path / "below/c.nii" in list_volumes(tmp_path, recursive=True)
    with pytest.raises(DatasetError, match="does not exist"):
        list_volumes(tmp_path / "none")


def test_folders_of_dicom_files_are_volumes(tmp_path):
    for name in ("one/IM1", "one/IM2", "two/a.dcm"):
        touch(tmp_path, name)
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")
    touch(tmp_path, "one/readme.txt")
    assert list_volumes(tmp_path / "one") == [tmp_path / "one"]
    assert list_volumes(tmp_path) == []
    assert list_volumes(tmp_path, recursive=True) == [tmp_path / "one", tmp_path / "two"]


def test_files_are_grouped_by_their_channel(tmp_path):
    names = ["a_0001.nii.gz", "b_0000.nii.gz", "a_0000.nii.gz", "scan_2019.nii.gz", "four.nii"]
    paths = [Path(n) for n in names]
    assert [c.name for c in group_cases(paths, 1)] == ["a_0001", "b_0000", "a_0000", "scan_2019", "four"]
    cases = group_cases(paths, 2)
    assert cases[0] == Case("a", (Path("a_0000.nii.gz"), Path("a_0001.nii.gz")))
    assert [c.name for c in cases] == ["a", "b", "scan_2019", "four"]
    touch(tmp_path, *names)
    assert [p.name for p in channel_files(tmp_path / "a_0001.nii.gz")] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    assert channel_files(tmp_path / "four.nii") == [tmp_path / "four.nii"]


@pytest.mark.parametrize(("files", "words"), [
    (["b_0000.nii"], r"lacks b_0001 \(T2\); the network takes 2 channels"), (["b_0001.nii"], r"lacks b_0000 \(T1\)"),
    (["b_0000.nii", "b_0001.nii", "b_0002.nii"], r"has b_0002\.nii too many"),
    (["b_0000.nii", "b_0000.nii.gz", "b_0001.nii"], r"has b_0000\.nii, b_0000\.nii\.gz too many")])
def test_channels_that_are_missing_are_named(files, words):
    (case,) = group_cases([Path(f) for f in files], 2)
    with pytest.raises(DatasetError, match=words):
        check_channels(case, ("T1", "T2"))


def test_whole_cases_are_fine():
    for files in (["b_0000.nii", "b_0001.nii"], ["four.nii"]):
        (case,) = group_cases([Path(f) for f in files], 2)
        check_channels(case, ("T1", "T2"))
