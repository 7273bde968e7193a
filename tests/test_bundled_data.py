"""The bundled cut-out data set is complete and honest, and its tool composes deterministically."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data" / "cutouts"
FOLDERS = {"train": "DIS-TR", "val": "DIS-VD"}


@pytest.fixture(scope="module")
def manifest() -> dict:
    return json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tools() -> Iterator[None]:
    """Make the modules of tools/data importable for the tests of this file."""
    sys.path.insert(0, str(ROOT / "tools" / "data"))
    yield
    sys.path.remove(str(ROOT / "tools" / "data"))


def test_every_picture_has_its_mask_and_record(manifest: dict) -> None:
    for split, folder in FOLDERS.items():
        pictures = {p.stem for p in (DATA / folder / "im").iterdir() if p.suffix == ".jpg"}
        masks = {p.stem for p in (DATA / folder / "gt").iterdir() if p.suffix == ".png"}
        recorded = {r["name"] for r in manifest["pictures"] if r["split"] == split}
        assert pictures == masks == recorded
        assert len(list((DATA / folder).rglob("*.*"))) == 2 * len(pictures)
    assert len(manifest["pictures"]) >= 150


def test_sizes_match_and_masks_are_masks(manifest: dict) -> None:
    for record in manifest["pictures"]:
        folder = DATA / record["folder"]
        mask = cv2.imread(str(folder / "gt" / f"{record['name']}.png"), cv2.IMREAD_UNCHANGED)
        image = cv2.imread(str(folder / "im" / f"{record['name']}.jpg"), cv2.IMREAD_UNCHANGED)
        assert mask is not None and mask.dtype == np.uint8 and mask.ndim == 2, record["name"]
        assert image is not None and image.shape == (*mask.shape, 3), record["name"]
        assert mask.shape == (record["height"], record["width"])
        assert mask.min() == 0 and mask.max() == 255, record["name"]
        assert 0.01 < (mask > 127).mean() < 0.85, record["name"]


def test_masks_are_soft_only_at_edges(manifest: dict) -> None:
    soft, solid = 0, 0
    for record in manifest["pictures"]:
        mask = cv2.imread(str(DATA / record["folder"] / "gt" / f"{record['name']}.png"), cv2.IMREAD_UNCHANGED)
        between = ((mask > 40) & (mask < 215)).astype(np.uint8)
        # No 7 x 7 px patch may be half transparent throughout: that would be glass, not an edge.
        wide = cv2.erode(between, np.ones((7, 7), np.uint8)).sum()
        assert wide <= 0.002 * (mask > 127).sum(), record["name"]
        soft, solid = soft + int(between.sum()), solid + int((mask >= 215).sum())
    assert 0 < soft < 0.3 * solid


def test_splits_share_neither_objects_nor_backgrounds(manifest: dict) -> None:
    seen: dict[str, dict[str, set]] = {"objects": {}, "grounds": {}}
    for record in manifest["pictures"]:
        objects = seen["objects"].setdefault(record["split"], set())
        objects.update(o["name"].replace("_", "-") for o in record["objects"])
        seen["grounds"].setdefault(record["split"], set()).add(
            (record["background"]["source"], record["background"]["file"]))
    for kind in seen.values():
        assert kind["train"] and kind["val"] and not kind["train"] & kind["val"]


def test_every_source_has_its_licence(manifest: dict) -> None:
    text = (DATA / "LICENSES.md").read_text(encoding="utf-8")
    used = {o["source"] for r in manifest["pictures"] for o in r["objects"]}
    used |= {r["background"]["source"] for r in manifest["pictures"]}
    assert used == set(manifest["sources"])
    sections = {s.split("\n", 1)[0]: s for s in text.split("\n## ")[1:]}
    for name in used:
        assert "- Licence: " in sections[name] and "- Copyright: " in sections[name]
    for record in manifest["pictures"]:
        assert record["background"]["file"] in sections[record["background"]["source"]]
    assert "share-alike" in text and "BY-SA" not in text


def test_folder_is_small() -> None:
    assert sum(p.stat().st_size for p in DATA.rglob("*") if p.is_file()) <= 12_000_000


def _toy() -> tuple[np.ndarray, np.ndarray]:
    ring = np.zeros((120, 120, 4), np.uint8)
    cv2.circle(ring, (60, 60), 45, (200, 80, 40, 255), 9)
    ramp = np.linspace(30, 220, 160).astype(np.uint8)
    return ring, np.dstack([np.tile(ramp, (120, 1)), np.full((120, 160), 90, np.uint8),
                            np.tile(ramp[::-1], (120, 1))])


@pytest.mark.parametrize("hard", [False, True])
def test_compose_depends_on_the_seed_alone(tools: None, hard: bool) -> None:
    from _cutout_compose import compose

    ring, ground = _toy()
    one, same, other = (compose(np.random.default_rng(s), [ring], ground, (96, 128), hard) for s in (3, 3, 4))
    assert one.image.shape == (96, 128, 3) and one.mask.shape == (96, 128)
    assert np.array_equal(one.image, same.image) and np.array_equal(one.mask, same.mask)
    assert one.quality == same.quality
    assert not np.array_equal(one.mask, other.mask)
    assert one.mask.min() == 0 and one.mask.max() == 255


def test_the_hole_of_an_object_stays_background(tools: None) -> None:
    from _cutout_compose import compose

    ring, ground = _toy()
    mask = compose(np.random.default_rng(0), [ring], ground, (128, 128)).mask
    count, labels = cv2.connectedComponents((mask < 128).astype(np.uint8))
    assert count == 3  # label 0 is the object, then the outside and the hole
    assert labels.max() == 2


def test_a_rendered_object_is_thin_and_has_holes(tools: None) -> None:
    import _cutout_solids as solids

    rgba = solids.render(solids.wheel(np.random.default_rng(1)), np.random.default_rng(1), size=192)
    again = solids.render(solids.wheel(np.random.default_rng(1)), np.random.default_rng(1), size=192)
    assert np.array_equal(rgba, again)
    alpha = rgba[..., 3]
    assert set(np.unique(alpha)) == {0, 255} and 0.03 < (alpha > 0).mean() < 0.5
    assert cv2.connectedComponents((alpha == 0).astype(np.uint8))[0] > 4
