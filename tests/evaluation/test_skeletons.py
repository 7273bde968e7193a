"""Skeletons on disk: found again by content, made anew when damaged."""
from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from dense.errors import ConfigError
from dense.evaluation import skeletons as module
from dense.evaluation.hce import human_correction_efforts, skeleton
from dense.evaluation.skeletons import SkeletonCache, skeleton_folder


@pytest.fixture
def gt() -> np.ndarray:
    mask = np.zeros((70, 90), np.uint8)
    cv2.circle(mask, (40, 30), 25, 255, -1)
    cv2.line(mask, (5, 60), (85, 65), 255, 3)
    return mask > 0


@pytest.fixture
def made(monkeypatch) -> list:
    """A list that grows with each skeleton that is computed."""
    made = []
    monkeypatch.setattr(module, "skeleton", lambda mask: made.append(1) or skeleton(mask))
    return made


def entry_of(folder: Path) -> Path:
    (entry,) = folder.rglob("*.png")
    return entry


def test_found_again_by_content(gt, made, tmp_path):
    expected = skeleton(gt)
    for form in (gt, gt.astype(np.uint8) * 255, np.asfortranarray(gt)):
        result = SkeletonCache(tmp_path)(form)
        assert result.dtype == np.bool_ and np.array_equal(result, expected)
    assert len(made) == 1
    SkeletonCache(tmp_path)(gt[::-1])
    SkeletonCache(tmp_path)(gt.reshape(90, 70))  # the same bits in another shape
    assert len(made) == 3


def test_entries_are_one_bit_png_files(gt, tmp_path):
    SkeletonCache(tmp_path)(gt)
    data = entry_of(tmp_path).read_bytes()
    assert data[:4] == b"\x89PNG" and data[24] == 1 and len(data) < 500
    assert not [p for p in tmp_path.rglob("*") if ".tmp" in p.name]


def damage_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def damage_bit(data: bytes) -> bytes:
    middle = data.index(b"IDAT") + 12
    return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]


def other_size(data: bytes) -> bytes:
    return cv2.imencode(".png", np.zeros((5, 5), np.uint8))[1].tobytes()


def not_inside(data: bytes) -> bytes:
    return cv2.imencode(".png", np.full((70, 90), 255, np.uint8))[1].tobytes()


@pytest.mark.parametrize("damage", [damage_half, damage_bit, other_size, not_inside, lambda _: b"", lambda _: b"x"])
def test_a_damaged_entry_is_made_anew(gt, made, tmp_path, damage):
    SkeletonCache(tmp_path)(gt)
    entry = entry_of(tmp_path)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert np.array_equal(SkeletonCache(tmp_path)(gt), skeleton(gt))
    assert entry.read_bytes() == whole and len(made) == 2


def test_another_version_has_other_entries(gt, made, tmp_path, monkeypatch):
    SkeletonCache(tmp_path)(gt)
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    SkeletonCache(tmp_path)(gt)
    assert len(made) == 2 and len(list(tmp_path.rglob("*.png"))) == 2


def test_a_folder_that_cannot_be_written_is_said_once(gt, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = SkeletonCache(tmp_path / "file" / "inner")
    with caplog.at_level(logging.WARNING, "dense"):
        assert np.array_equal(cache(gt), skeleton(gt))
        assert np.array_equal(cache(gt[::-1]), skeleton(gt[::-1]))
    assert sum("no longer kept" in record.message for record in caplog.records) == 1


def test_in_memory_only_the_last_one_is_kept(gt, made):
    cache = SkeletonCache(None)
    cache(gt), cache(gt), cache(gt[::-1]), cache(gt)
    assert len(made) == 3


def test_hce_asks_it_only_when_something_is_missed(gt, made, tmp_path):
    cache = SkeletonCache(tmp_path)
    pred = np.roll(gt, 3, 0)
    assert human_correction_efforts(pred, gt, cache) == human_correction_efforts(pred, gt)
    assert len(made) == 1
    human_correction_efforts(np.ones_like(gt), ~gt, cache)
    assert len(made) == 1


def test_places(tmp_path, monkeypatch):
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    assert skeleton_folder(None) == tmp_path / "cache" / "skeletons"
    assert skeleton_folder("none") is None
    assert skeleton_folder("beside", tmp_path / "gt") == tmp_path / "gt" / ".skeletons"
    assert skeleton_folder(tmp_path / "x") == tmp_path / "x"
    with pytest.raises(ConfigError, match="name a folder"):
        skeleton_folder("beside")
