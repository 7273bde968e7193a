"""The data set check on labels of classes: each fault is found, and only where there is one."""
import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from test_semantic_data import draw, save

from dense.datasets.check import KINDS, check_dataset
from dense.errors import DatasetError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path) -> Path:
    for split, first in (("train", 0), ("val", 10)):
        for index in range(first, first + 3):
            save(tmp_path / split, f"p{index}", *draw(index))
    (tmp_path / "classes.txt").write_text("0 sky\n7 road\n11 car\n")
    return tmp_path


def found(root: Path, **options) -> dict[str, list[tuple[str, str]]]:
    report = check_dataset(root, **options)
    return {kind: [(Path(i.files[-1]).name, i.detail) for i in items] for kind, items in report.by_kind().items()
            if "duplicate" not in kind}


def relabel(root: Path, name: str, change) -> None:
    file = root / "train" / "masks" / f"{name}.png"
    Image.fromarray(change(np.array(Image.open(file)))).save(file)


def test_a_sound_set_has_no_findings(root):
    assert found(root) == {}
    assert check_dataset(root).pairs == {"train": 3, "val": 3}


def test_values_without_class(root):
    relabel(root, "p1", lambda m: np.where(m == 11, 4, m).astype(np.uint8))
    ((name, detail),) = found(root)["value without class"]
    assert name == "p1.png" and detail.startswith("values that are no class: 4 (600 pixels)")
    assert not check_dataset(root).ok


def test_colour_masks_need_colours(root):
    colours = {0: (10, 20, 30), 7: (40, 50, 60), 11: (70, 80, 90)}
    for index in range(3):
        relabel(root, f"p{index}", lambda m: np.array([[colours[v] for v in row] for row in m], np.uint8))
    assert [name for name, _ in found(root)["labels of another form"]] == ["p0.png", "p1.png", "p2.png"]
    (root / "classes.txt").write_text("0 sky #0a141e\n7 road #28323c\n11 car #46505a\n")
    assert found(root) == {}


def test_masks_of_0_and_255(root):
    (root / "classes.txt").write_text("0 ground\n1 subject\n")
    for split in ("train", "val"):
        for file in (root / split / "masks").iterdir():
            Image.fromarray(np.where(np.array(Image.open(file)) == 11, 255, 0).astype(np.uint8)).save(file)
    assert len(found(root)["labels of another form"]) == 6
    (root / "classes.txt").write_text("0 ground\n255 subject\n")
    assert found(root) == {}


def test_classes_that_never_occur_and_pictures_without_labels(root):
    for index in range(3):
        relabel(root, f"p{index}", lambda m: np.where(m == 11, 7, m).astype(np.uint8))
    relabel(root, "p2", lambda m: np.full_like(m, 255))
    items = check_dataset(root).by_kind()
    (absent,) = items["class never occurs"]
    assert absent.splits == ("train",) and absent.detail == "11 car" and absent.level == "warning"
    assert [Path(i.files[0]).name for i in items["nothing labelled"]] == ["p2.png"]
    assert check_dataset(root).ok


def test_wrong_sizes_and_damaged_files(root):
    relabel(root, "p0", lambda m: m[:, :-1].copy())
    (root / "val" / "masks" / "p10.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    kinds = found(root)
    assert kinds["size mismatch"][0][1] == "picture 120 x 80, mask 119 x 80"
    assert [name for name, _ in kinds["unreadable"]] == ["p10.png"]


def test_the_class_file_may_be_named(root, tmp_path_factory):
    elsewhere = shutil.move(root / "classes.txt", tmp_path_factory.mktemp("c") / "my.txt")
    assert "soft/grey mask" in found(root) or "empty mask" in found(root)  # taken for cut-outs
    assert found(root, classes=elsewhere) == {}
    with pytest.raises(DatasetError, match="cannot be read"):
        check_dataset(root, classes=root / "none.txt")


def test_the_tool(root, capsys):
    spec = importlib.util.spec_from_file_location("check_tool", REPOSITORY / "tools" / "data" / "check.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.main([str(root), "--jobs", "1"]) == 0
    relabel(root, "p1", lambda m: np.where(m == 11, 4, m).astype(np.uint8))
    assert tool.main([str(root), "--jobs", "1"]) == 1
    assert "value without class" in capsys.readouterr().out.replace("\n", " ")
    assert all(len(entry) == 2 for entry in KINDS.values())
