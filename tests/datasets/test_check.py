"""The data set check finds each kind of fault, and only where there is one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dense.datasets.check import KINDS, check_dataset
from dense.errors import DatasetError

TOOL = Path(__file__).resolve().parents[2] / "tools" / "data" / "check.py"


def write_image(path: Path, array: np.ndarray, quality: int = 95) -> None:
    """Without the flushing of `dense.io.write_image`, which costs more than all else here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = array[..., ::-1] if array.ndim == 3 else array
    assert cv2.imwrite(str(path), array, [cv2.IMWRITE_JPEG_QUALITY, quality])


def picture(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    grain = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)


def mask_of(image: np.ndarray) -> np.ndarray:
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[10:50, 20:70] = 255
    return mask


def add(root: Path, split: str, name: str, image: np.ndarray, mask: np.ndarray | None = None) -> None:
    write_image(root / split / "im" / f"{name}.png", image)
    write_image(root / split / "gt" / f"{name}.png", mask_of(image) if mask is None else mask)


@pytest.fixture
def root(tmp_path) -> Path:
    for split, seeds in (("DIS-TR", range(6)), ("DIS-VD", range(10, 13))):
        for seed in seeds:
            add(tmp_path / "data", split, f"p{seed}", picture(seed))
    return tmp_path / "data"


def kinds(report) -> dict[str, int]:
    return {kind: len(items) for kind, items in report.by_kind().items()}


def test_a_good_data_set(root):
    calls = []
    report = check_dataset(root, progress=lambda done, total: calls.append((done, total)))
    assert report.ok and not report.findings and report.pairs == {"DIS-TR": 6, "DIS-VD": 3}
    assert calls == [(i + 1, 9) for i in range(9)]
    report.raise_for_errors()
    assert check_dataset(root, ["DIS-VD"]).pairs == {"DIS-VD": 3}
    assert check_dataset(root / "DIS-VD").pairs == {"DIS-VD": 3}


def test_missing_and_ambiguous(root):
    (root / "DIS-TR/gt/p0.png").unlink()
    (root / "DIS-TR/im/p1.png").unlink()
    write_image(root / "DIS-TR/im/p2.jpg", picture(2))
    report = check_dataset(root)
    assert kinds(report) == {"image without mask": 1, "mask without image": 1, "ambiguous name": 1}
    assert not report.ok
    with pytest.raises(DatasetError, match=r"p0\.png"):
        report.raise_for_errors()


def test_unreadable_and_wrong_form(root):
    path = root / "DIS-TR/im/p0.png"
    path.write_bytes(path.read_bytes()[:-500])
    (root / "DIS-TR/gt/p1.png").write_text("<html>")
    write_image(root / "DIS-TR/gt/p2.png", picture(2))
    jpeg = root / "DIS-TR/im/p3.jpg"
    (root / "DIS-TR/im/p3.png").unlink()
    write_image(jpeg, picture(3))
    jpeg.write_bytes(jpeg.read_bytes()[:1500])
    write_image(root / "DIS-TR/gt/p4.png", mask_of(picture(4, 90, 128)))
    found = check_dataset(root).by_kind()
    numbers = {kind: len(items) for kind, items in found.items()}
    assert numbers == {"unreadable": 3, "no mask": 1, "size mismatch": 1}
    assert "truncated" in found["unreadable"][0].detail and "p0.png" in found["unreadable"][0].files[0]
    assert found["size mismatch"][0].detail == "picture 128 x 96, mask 128 x 90"


def test_values_of_masks(root):
    grey = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (96, 1))
    base = mask_of(picture(0))
    for number, mask in enumerate((base // 255, base * 0, base * 0 + 255, grey)):
        write_image(root / f"DIS-TR/gt/p{number}.png", mask)
    report = check_dataset(root)
    assert kinds(report) == {"0/1 mask": 1, "empty mask": 1, "full mask": 1, "soft/grey mask": 1}
    assert [item.level for item in report.findings] == ["error", "warning", "warning", "warning"]
    assert "multiply" in report.findings[0].remedy


def test_mislabelled_is_a_note(root):
    (root / "DIS-TR/im/p0.png").rename(root / "DIS-TR/im/p0.jpg")
    report = check_dataset(root)
    assert kinds(report) == {"suffix differs from content": 1}
    assert report.ok and report.count("note") == 1


def test_duplicates(root):
    add(root, "DIS-TR", "copy", picture(0))
    write_image(root / "DIS-VD/im/leak.bmp", picture(1))  # another file, the same pixels
    write_image(root / "DIS-VD/gt/leak.png", mask_of(picture(1)))
    found = check_dataset(root).by_kind()
    assert set(found) == {"duplicate between splits", "duplicate within a split"}
    assert [Path(name).name for name in found["duplicate between splits"][0].files] == ["p1.png", "leak.bmp"]
    assert found["duplicate between splits"][0].splits == ("DIS-TR", "DIS-VD")


def test_near_duplicates(root):
    small = cv2.resize(picture(2), (100, 75), interpolation=cv2.INTER_AREA)
    write_image(root / "DIS-VD/im/small.jpg", small, quality=80)
    write_image(root / "DIS-VD/gt/small.png", mask_of(small))
    for split, colour in (("DIS-TR", (40, 200, 90)), ("DIS-VD", (200, 60, 60))):  # the same hash, not alike
        add(root, split, "flat", np.full((96, 128, 3), colour, np.uint8))
    report = check_dataset(root)
    assert kinds(report) == {"near duplicate between splits": 1} and report.ok
    assert sorted(Path(name).name for name in report.findings[0].files) == ["p2.png", "small.jpg"]


def test_no_false_alarms_among_many(tmp_path):
    for split in ("a", "b"):
        for index in range(40):
            add(tmp_path, split, f"x{index}", picture(1000 + index + 500 * (split == "b"), 48, 64))
    assert check_dataset(tmp_path).findings == []


def test_processes_give_the_same(root):
    write_image(root / "DIS-TR/gt/p0.png", mask_of(picture(0)) // 255)
    add(root, "DIS-VD", "leak", picture(1))
    assert check_dataset(root, jobs=2).to_dict() == check_dataset(root, jobs=1).to_dict()


def test_nothing_to_check(tmp_path):
    with pytest.raises(DatasetError, match="check the path"):
        check_dataset(tmp_path / "none")
    (tmp_path / "im").mkdir()
    (tmp_path / "gt").mkdir()
    with pytest.raises(DatasetError, match="no pictures"):
        check_dataset(tmp_path)


def run(*arguments: object) -> subprocess.CompletedProcess:
    env = os.environ | {"COLUMNS": "160"}
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


def test_tool(root, tmp_path):
    good = run(root, "--jobs", 1)
    assert good.returncode == 0 and "No errors" in good.stdout and "DIS-TR 6" in good.stdout
    for number in range(6):
        write_image(root / f"DIS-TR/gt/p{number}.png", mask_of(picture(number)) // 255)
    bad = run(root, "--jobs", 1, "--splits", "DIS-TR", "--json", tmp_path / "report.json")
    assert bad.returncode == 1 and "0/1 mask" in bad.stdout and "and 1 more" in bad.stdout
    assert KINDS["0/1 mask"][1] in " ".join(bad.stdout.split())
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["counts"]["error"] == 6 and written["pairs"] == {"DIS-TR": 6}
    missing = run(tmp_path / "none")
    assert missing.returncode == 2 and "Traceback" not in missing.stderr and "none" in missing.stderr


def test_tool_lists_everything(root, capsys):
    sys.path.insert(0, str(TOOL.parent))
    try:
        import check
    finally:
        sys.path.remove(str(TOOL.parent))
    for number in range(6):
        write_image(root / f"DIS-TR/gt/p{number}.png", mask_of(picture(number)) * 0)
    assert check.main([str(root), "--jobs", "1", "--full"]) == 0  # warnings only
    assert "more (--full" not in capsys.readouterr().out
