"""Which mask belongs to which picture, and where data sets keep them."""

import unicodedata

import pytest

from dense.errors import DatasetError
from dense.io import DIS_SPLITS, find_pairs, find_splits, split_folders


def fill(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_find_pairs(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    images, masks = tmp_path / "im", tmp_path / "gt"
    fill(images, "a10.jpg", "a2.JPG", "lone.png", "two.jpg", "two.png", f"{composed}.jpg", "b.c.jpg", "R.txt")
    fill(masks, "a10.png", "a2.PNG", "only.tif", "two.png", f"{decomposed}.png", "b.c.png", ".x.png")
    listing = find_pairs(tmp_path / "im", str(tmp_path / "gt"))
    assert [pair.name for pair in listing.pairs] == ["a2", "a10", "b.c", composed]
    assert (listing.pairs[0].image.name, listing.pairs[0].mask.name) == ("a2.JPG", "a2.PNG")
    assert [path.name for path in listing.images_without_mask] == ["lone.png"]
    assert [path.name for path in listing.masks_without_image] == ["only.tif"]
    assert {name: len(paths) for name, paths in listing.ambiguous.items()} == {"two": 3}
    with pytest.raises(DatasetError):
        find_pairs(tmp_path / "im", tmp_path / "none")


@pytest.mark.parametrize(
    "names",
    [
        ("im", "gt"),
        ("images", "masks"),
        ("image", "mask"),
        ("img", "mask"),
        ("imgs", "masks"),
        ("JPEGImages", "SegmentationClass"),
        ("Images", "MASKS"),
    ],
)
def test_folder_names(tmp_path, names):
    image, mask = names
    for place in ("flat", "outer/DIS-TR"):
        fill(tmp_path / place, f"{image}/a.jpg", f"{mask}/a.png")
    fill(tmp_path / "inner", f"{image}/train/a.jpg", f"{mask}/train/a.png", f"{image}/odd/a.jpg")
    flat, outer, inner = tmp_path / "flat", tmp_path / "outer", tmp_path / "inner"
    assert split_folders(flat) == (flat / image, flat / mask)
    assert split_folders(str(outer), "DIS-TR") == (outer / "DIS-TR" / image, outer / "DIS-TR" / mask)
    assert split_folders(outer / "DIS-TR", "DIS-TR") == (outer / "DIS-TR" / image, outer / "DIS-TR" / mask)
    assert split_folders(inner, "train") == (inner / image / "train", inner / mask / "train")
    assert find_splits(flat) == [] and find_splits(outer) == ["DIS-TR"] and find_splits(inner) == ["train"]


def test_order_of_splits(tmp_path):
    for name in ("zebra", "DIS-TE1", "DIS-VD", "DIS-TR", "DIS-TE10"):
        fill(tmp_path / name, "im/a.jpg", "gt/a.png")
    fill(tmp_path, "unrelated/a.txt")
    assert find_splits(tmp_path) == ["DIS-TR", "DIS-VD", "DIS-TE1", "DIS-TE10", "zebra"]
    assert DIS_SPLITS[:2] == ("DIS-TR", "DIS-VD") and len(DIS_SPLITS) == 6


def test_nothing_there(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        split_folders(tmp_path / "none", "DIS-TR")
    with pytest.raises(DatasetError, match=r"im/gt, images/masks.*JPEGImages/SegmentationClass") as error:
        split_folders(tmp_path, "DIS-TR")
    assert str(tmp_path / "DIS-TR") in str(error.value)
    fill(tmp_path / "DIS-VD", "im/a.jpg", "gt/a.png")
    with pytest.raises(DatasetError, match="splits that are there: DIS-VD"):
        split_folders(tmp_path, "DIS-TR")
    with pytest.raises(DatasetError, match="name a split: DIS-VD"):
        split_folders(tmp_path)


def test_another_split_is_never_taken(tmp_path):
    fill(tmp_path, "im/a.jpg", "gt/a.png")
    with pytest.raises(DatasetError, match="name no split"):
        split_folders(tmp_path, "DIS-VD")
