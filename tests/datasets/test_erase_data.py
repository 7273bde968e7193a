"""Data for erasing text: layouts, the generator, custom masks."""
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.datasets.erase import EraseDataset, SyntheticText
from dense.datasets.text.fonts import find_fonts, scripts_of
from dense.datasets.text.scene import SceneSettings, make_scene
from dense.datasets.text.words import SCRIPTS, write
from dense.datasets.transforms import CustomMask, EraseCrop, EraseFlip, LoadErase, PackErase
from dense.errors import DatasetError, ImageError
from dense.io.texts import find_files, read_boxes
from dense.tasks import EraseTask

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # DejaVu, which comes with matplotlib


def ground(seed=0, shape=(200, 260)):
    y, x = np.indices(shape)
    rng = np.random.default_rng(seed)
    picture = np.stack([120 + 60 * np.sin(y / 20 + c) + 50 * np.cos(x / 15 + c) for c in range(3)], 2)
    return (picture + rng.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)


def synthetic(folder, pipeline=(), **settings):
    (folder / "backgrounds").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "backgrounds" / "a.png"), ground())
    return SyntheticText(folder, None, fonts=FONTS, length=20, pipeline=pipeline, seed=3,
                         settings={"size": (96, 128)} | settings)


# the generator

def test_fonts_are_found_and_tell_their_scripts():
    fonts = find_fonts(FONTS)
    assert len(fonts) > 20
    scripts = scripts_of(FONTS / "DejaVuSans.ttf")
    assert {"latin", "greek", "cyrillic", "arabic"} <= set(scripts)
    assert "han" not in scripts
    assert scripts_of(FONTS / "DejaVuSans.ttf") is scripts
    with pytest.raises(DatasetError, match="no fonts"):
        find_fonts(FONTS.parent / "missing")


def test_files_that_are_no_fonts_have_no_scripts(tmp_path):
    (tmp_path / "a.ttf").write_bytes(b"nonsense")
    assert scripts_of(tmp_path / "a.ttf") == {}


@given(st.integers(0, 1000), st.sampled_from(sorted(SCRIPTS)))
@settings(max_examples=50, deadline=None)
def test_words_are_of_their_script(seed, name):
    text = write(np.random.default_rng(seed), name, SCRIPTS[name].letters)
    assert text.strip()
    assert len(text.split("\n")) <= 3
    if SCRIPTS[name].rtl:
        assert set(text) <= set(SCRIPTS[name].letters) | set(" \n!?.,:;-&%+/()#")


def test_scenes_differ_from_their_ground_at_the_texts_only():
    fonts = find_fonts(FONTS)
    for seed in range(8):
        scene = make_scene(np.random.default_rng(seed), ground(), fonts, SceneSettings((120, 150), jpeg=(100, 100)))
        assert scene.image.shape == scene.clean.shape == (120, 150, 3)
        region = np.zeros((120, 150), np.uint8)
        for polygon in scene.polygons:
            part = cv2.fillPoly(np.zeros_like(region), [polygon], 1)
            assert np.abs(scene.image.astype(int) - scene.clean)[part > 0].max() > 15  # something can be seen
            region |= part
        far = cv2.dilate(region, np.ones((33, 33), np.uint8)) == 0  # JPEG reaches 16 pixels with its halved colours
        assert np.abs(scene.image.astype(int) - scene.clean)[far].max(initial=0) <= 2


def test_scenes_have_text_and_do_not_overlap():
    fonts, counts = find_fonts(FONTS), []
    for seed in range(10):
        scene = make_scene(np.random.default_rng(seed), ground(), fonts, SceneSettings((128, 128), texts=(3, 3)))
        total = sum(cv2.fillPoly(np.zeros((128, 128), np.uint8), [p], 1).astype(int) for p in scene.polygons)
        assert np.max(total, initial=0) <= 1
        counts.append(len(scene.polygons))
    assert max(counts) == 3
    assert np.mean(counts) > 1.5


def sample_of(arguments):
    folder, draw = arguments
    sample = synthetic(Path(folder), [EraseFlip(), CustomMask(), PackErase()])[draw]
    return sample["inputs"].numpy(), sample["data_samples"].gt_image.data.numpy()


def test_samples_follow_from_seed_epoch_and_index_alone(tmp_path):
    here = [sample_of((tmp_path, draw)) for draw in (5, 25, 6)]
    with ProcessPoolExecutor(2) as pool:
        there = list(pool.map(sample_of, [(str(tmp_path), draw) for draw in (5, 25, 6)]))
    for a, b in zip(here, there, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(here[0][0], here[1][0])  # another epoch
    assert not np.array_equal(here[0][0], here[2][0])


def test_missing_photographs_are_told(tmp_path):
    with pytest.raises(DatasetError, match="make_text_sources"):
        SyntheticText(tmp_path)
    (tmp_path / "backgrounds").mkdir()
    with pytest.raises(DatasetError, match="holds no picture"):
        SyntheticText(tmp_path, None, fonts=FONTS)


# layouts

def write_set(folder, names=("1", "2"), boxes=True, mask=False, kinds=("all_images", "all_labels", "all_gts")):
    for kind in (*kinds, "mask") if mask else kinds:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        clean = ground(seed, (100, 140))
        image = clean.copy()
        cv2.putText(image, "ab", (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 3)
        cv2.putText(image, "cd", (80, 85), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 3)
        cv2.imwrite(str(folder / kinds[0] / f"{name}.png"), image)
        cv2.imwrite(str(folder / kinds[1] / f"{name}.png"), clean)
        if boxes:
            text = "15,10,65,10,65,48,15,48,ab\n75,55,130,55,130,95,75,95,cd\n"
            (folder / kinds[2] / f"{name}.txt").write_text(text)
        if mask:
            cv2.imwrite(str(folder / "mask" / f"{name}.png"), 255 * (image != clean).any(2).astype(np.uint8))




@pytest.mark.parametrize(("boxes", "mask"), [(True, False), (False, True), (False, False)])
def test_texts_are_known_by_boxes_masks_or_differences(tmp_path, boxes, mask):
    write_set(tmp_path / "train", boxes=boxes, mask=mask)
    dataset = EraseDataset(tmp_path, "train", [LoadErase()])
    assert len(dataset) == 2
    results = dataset[1]
    assert results["name"] == "2"
    assert len(results["polygons"]) == 2
    for polygon, (x, y) in zip(sorted(results["polygons"], key=lambda p: p[0, 1]), ((40, 30), (103, 75)), strict=True):
        assert cv2.pointPolygonTest(polygon.astype(np.float32), (x, y), False) > 0


@pytest.mark.parametrize("kinds", [("images", "labels", "txt"), ("img", "label", "gts"), ("input", "target", "boxes")])
def test_folders_go_by_several_names(tmp_path, kinds):
    write_set(tmp_path, kinds=kinds)
    files = find_files(tmp_path)
    assert [f.name for f in files] == ["1", "2"]
    assert files[0].where == tmp_path / kinds[2] / "1.txt"


def test_what_lacks_is_told(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        find_files(tmp_path / "missing")
    with pytest.raises(DatasetError, match="no folder of pictures with text"):
        find_files(tmp_path)
    write_set(tmp_path)
    (tmp_path / "all_labels/1.png").unlink()
    with pytest.raises(DatasetError, match=r"1 pictures have no clean version.*1\.png"):
        find_files(tmp_path)


def test_pictures_of_different_sizes_are_refused(tmp_path):
    write_set(tmp_path)
    cv2.imwrite(str(tmp_path / "all_labels/1.png"), ground(0, (50, 50)))
    with pytest.raises(ImageError, match=r"50 x 50 pixels.*140 x 100"):
        EraseDataset(tmp_path, None, [LoadErase()])[0]


@pytest.mark.parametrize(("line", "corners"), [
    ("1,2,30,2,30,20,1,20", 4), ("1,2,30,2,30,20,1,20,some, text", 4), ("1,2,30,2,30,20,1,20,2026", 4),
    ("1.5 2 30 2 30 20 1 20", 4), ("1,2,30,20", 4), ("1, 2, 30, 20, word", 4), ("1,2,9,2,12,8,9,14,1,14,0,8", 6)])
def test_boxes_are_read(tmp_path, line, corners):
    (tmp_path / "a.txt").write_text(f"\ufeff{line}\n\n", encoding="utf-8")
    (polygon,) = read_boxes(tmp_path / "a.txt")
    assert polygon.shape == (corners, 2)
    assert polygon[0].tolist() in ([1, 2], [2, 2])


def test_what_is_no_box_names_the_line(tmp_path):
    (tmp_path / "a.txt").write_text("1,2,30,2,30,20,1,20\nhello\n")
    with pytest.raises(DatasetError, match=r"a\.txt, line 2: 'hello'"):
        read_boxes(tmp_path / "a.txt")


# transforms

def two_texts():
    clean = ground(0, (100, 140))
    image = clean.copy()
    image[20:40, 15:50:4] = 255
    image[60:80, 80:130:4] = 0
    polygons = [np.int32([[12, 17], [53, 17], [53, 43], [12, 43]]),
                np.int32([[77, 57], [133, 57], [133, 83], [77, 83]])]
    return {"image": image, "clean": clean, "polygons": polygons, "name": "x", "image_path": "x.png",
            "task": EraseTask(), "rng": np.random.default_rng(0)}


def test_only_what_is_chosen_is_masked_and_the_rest_stays():
    seen = set()
    for seed in range(12):
        results = CustomMask(erase=0.5)(two_texts() | {"rng": np.random.default_rng(seed)})
        mask, truth, image, clean = (results[k] for k in ("mask", "truth", "image", "clean"))
        erased = [bool(mask[25:35, 20:45].any()), bool(mask[65:75, 90:120].any())]
        assert sum(erased) == len(results["erased"]) >= 1
        seen.add(tuple(erased))
        for gone, rows, columns in zip(erased, (slice(20, 40), slice(60, 80)), (slice(15, 50), slice(80, 130)),
                                       strict=True):
            assert np.array_equal(truth[rows, columns], (clean if gone else image)[rows, columns])
    assert len(seen) == 3


def test_forms_of_masks():
    for form, low, high in (("polygon", 1.0, 1.3), ("box", 1.0, 1.3), ("strokes", 0.2, 0.95)):
        results = CustomMask(1, {form: 1.0}, loose=(1, 1))(two_texts())
        area = sum(cv2.contourArea(p) for p in results["polygons"])
        assert low < np.count_nonzero(results["mask"]) / area < high
    with pytest.raises(ValueError, match="circle"):
        CustomMask(shares={"circle": 1})


def test_crops_hold_a_text_and_small_pictures_are_mirrored():
    for seed in range(10):
        results = EraseCrop((48, 64))(two_texts() | {"rng": np.random.default_rng(seed)})
        assert results["image"].shape == results["clean"].shape == (48, 64, 3)
        inside = [((p >= 0) & (p < (64, 48))).all(1).any() for p in results["polygons"]]
        assert any(inside)
    assert EraseCrop((128, 256))(two_texts())["image"].shape == (128, 256, 3)


def test_flips_move_everything():
    before, after = two_texts(), EraseFlip(1.0)(two_texts())
    assert np.array_equal(after["image"], before["image"][:, ::-1])
    a, b = (CustomMask(1, {"polygon": 1.0}, (0, 0))(r)["mask"] for r in (before, after))
    assert np.array_equal(b, a[:, ::-1])


@pytest.mark.parametrize("pad", [False, True])
def test_packed_samples(pad):
    results = CustomMask(1, {"box": 1.0}, (0, 0))(two_texts())
    packed = PackErase(pad)(results)
    inputs, sample = packed["inputs"], packed["data_samples"]
    assert inputs.dtype == torch.uint8
    assert inputs.shape == ((4, 104, 144) if pad else (4, 100, 140))
    region = EraseTask().region(results["mask"])
    assert np.array_equal(inputs[3, :100, :140].numpy(), 255 * region)
    assert np.array_equal(sample.gt_mask.data[0].numpy(), 255 * region)
    assert np.array_equal(sample.gt_image.data.numpy().transpose(1, 2, 0), results["truth"])
    assert sample.ori_shape == (100, 140)
    assert len(sample.polygons) == 2
    assert ("given" in sample) == pad
