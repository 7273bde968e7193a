"""The bundled detection set: sound, small, boxes and visible shares those of the masks, made as the script says."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dense.io.boxes import check_pictures
from dense.io.coco_file import read_coco_file
from dense.io.rle import decode_rle

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data" / "detection"
COUNTS = {"train": 40, "val": 16}


@pytest.fixture(scope="module")
def content() -> dict:
    return {s: json.loads((DATA / f"annotations/instances_{s}.json").read_text(encoding="utf-8")) for s in COUNTS}


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "data"))


def test_the_set_is_sound(content):
    for split, count in COUNTS.items():
        found, findings = read_coco_file(DATA / f"annotations/instances_{split}.json")
        check_pictures(found, DATA / split, findings)
        assert {f.kind for f in findings} <= {"picture without objects"} and len(found.pictures) == count
        present = {b.label for p in found.pictures for b in p.boxes}
        assert present == set(range(8)), "every class is in both splits"
        assert max(max(p.width, p.height) for p in found.pictures) == 320


def test_boxes_are_those_of_the_visible_pixels(content):
    hidden = 0
    for values in content.values():
        masks: dict[int, list] = {}
        for note in values["annotations"]:
            mask = decode_rle(note["segmentation"])
            assert list(cv2.boundingRect(mask.astype(np.uint8))) == note["bbox"] and mask.sum() == note["area"] >= 60
            assert 0.25 <= note["visible"] <= 1
            hidden += note["visible"] < 0.9
            masks.setdefault(note["image_id"], []).append(mask)
        assert all(np.sum(ms, 0).max() == 1 for ms in masks.values()), "a pixel is one object's"
    assert hidden > 20, "some objects are in front of others"


def test_objects_and_backgrounds_of_the_splits_are_different_ones(content, tools):
    train, val = content["train"], content["val"]
    for key, part in (("object", "annotations"), ("background", "images")):
        ours, theirs = ({e[key] for e in v[part]} for v in (train, val))
        assert ours and theirs and not ours & theirs
    import _detection_objects as objects

    for kind in objects.KINDS:
        names = [objects.names_of(kind, split) for split in objects.SPLITS]
        for name in objects.CLASSES:
            assert len(names[1][name]) >= 2 and not set(names[0][name]) & set(names[1][name])


def test_the_folder_is_small_and_says_where_it_comes_from(content):
    assert sum(p.stat().st_size for p in DATA.rglob("*") if p.is_file()) <= 2_000_000
    licences = (DATA / "LICENSES.md").read_text(encoding="utf-8")
    sources = {i["background"].split(":")[0] for v in content.values() for i in v["images"]}
    assert all(f"## {source}" in licences for source in sources) and "No source asks for share-alike" in licences
    assert "GPL" not in licences
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for label, name in enumerate(("bird", "fish", "insect", "mammal", "fruit", "flower", "tool", "vehicle"), 1):
        cells = []
        for values in content.values():
            notes = [a for a in values["annotations"] if a["category_id"] == label]
            cells.append(f"{len(notes)} ({len({a['image_id'] for a in notes})})")
        assert f"| {name} | {' | '.join(cells)} |" in readme


def test_what_is_covered_counts_as_hidden_and_the_hidden_is_left_out(tools):
    from _detection_compose import Placed, see

    def block(label: int, x: int, y: int, side: int = 20) -> Placed:
        patch = np.ones((side, side, 4), np.float32)
        return Placed(label, str(label), patch, x, y)

    first, second = see([block(0, 10, 10), block(1, 20, 10)], (60, 80))
    assert first.box == (10, 10, 10, 20) and first.share == 0.5 and second.box == (20, 10, 20, 20) and second.share == 1
    (only,) = see([block(0, 10, 10), block(1, 12, 10)], (60, 80))  # a tenth of the first is seen: it is left out
    assert only.placed.label == 1
    (cut,) = see([block(0, -10, 50)], (60, 80))  # by the frame
    assert cut.box == (0, 50, 10, 10) and cut.share == 0.25
    assert see([block(0, -16, 0)], (60, 80)) == []
    (last,) = see([block(0, 10, 10), block(1, 10, 10), block(2, 14, 10)], (60, 80))
    assert last.placed.label == 2


def test_a_placed_object_depends_on_the_seed_alone(tools):
    from _detection_compose import place, render, scatter

    rgba = np.zeros((40, 60, 4), np.uint8)
    rgba[5:35, 5:55] = (200, 40, 40, 255)
    one, same, other = (place(np.random.default_rng(s), rgba, 50, 30) for s in (1, 1, 2))
    assert (one == same).all() and one.shape != other.shape
    assert np.count_nonzero(one[..., 3] > 0.5) == pytest.approx(50 * 50 * (50 * 30) / (60 * 40), rel=0.3)
    pictures = []
    for _ in range(2):
        rng = np.random.default_rng(3)
        placed = scatter(rng, [(0, "a", rgba, 20), (1, "b", rgba, 20)], (90, 120))
        pictures.append(render(rng, placed, np.full((200, 200, 3), 120, np.uint8), (90, 120))[0])
    assert pictures[0].shape == (90, 120, 3) and (pictures[0] == pictures[1]).all() and pictures[0].std() > 5
