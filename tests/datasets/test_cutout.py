"""The cut-out data set: where files are looked for, draws that are pure functions, and bad files."""
import io
import os

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from PIL import Image
from torch.utils.data import DataLoader

from dense.datasets import CutoutDataset, DrawSampler
from dense.datasets.transforms import LoadPair, PackCutout, RandomCrop, RandomFlip, RandomPhotometric, RandomRotate
from dense.errors import DatasetError, ImageError
from dense.io import read_mask

TASK = dict(size=(32, 40))
PLAIN = [dict(type=LoadPair), dict(type=PackCutout)]
AUGMENTED = [dict(type=t) for t in (LoadPair, RandomFlip, RandomRotate, RandomCrop, RandomPhotometric, PackCutout)]


@pytest.fixture
def dis(tmp_path, maker):
    for number, split in enumerate(("DIS-TR", "DIS-VD", "DIS-TE1")):
        maker.pairs(tmp_path / "DIS5K" / split, 3, 10 * number)
    return tmp_path / "DIS5K"


def names(dataset) -> list[str]:
    return [pair.name for pair in dataset.pairs]


def test_layout_of_dis5k_and_several_splits(dis):
    assert names(CutoutDataset(dis, "DIS-TR")) == ["p0", "p1", "p2"]
    assert names(CutoutDataset(dis, ["DIS-TE1", "DIS-VD"])) == ["p20", "p21", "p22", "p10", "p11", "p12"]
    assert names(CutoutDataset(dis, ["DIS-TR", "DIS-VD"], limit=4)) == ["p0", "p1", "p2", "p10"]
    sample = CutoutDataset(dis, "DIS-VD", PLAIN, TASK)[0]
    assert sample["inputs"].shape == (3, 32, 40) and sample["inputs"].dtype == torch.uint8
    assert sample["data_samples"].gt_alpha.data.shape == (1, 32, 40)
    assert sample["data_samples"].name == "p10" and sample["data_samples"].image_path.endswith("p10.jpg")


@pytest.mark.parametrize("folders", [("images", "masks"), ("im", "gt"), ("JPEGImages", "SegmentationClass")])
def test_any_folder(tmp_path, maker, folders):
    maker.pairs(tmp_path / "mine", 2, names=folders)
    dataset = CutoutDataset(tmp_path / "mine", None, PLAIN, TASK)
    assert len(dataset) == 2 and dataset[1]["data_samples"].name == "p1"


def test_missing_root_says_all_that_is_needed(tmp_path):
    with pytest.raises(DatasetError) as caught:
        CutoutDataset(tmp_path / "none", "DIS-TR")
    text = str(caught.value)
    for part in (str(tmp_path / "none"), "DIS-TR/im/*.jpg", "DIS-TR/gt/*.png", "DIS-VD", "terms of use",
                 "github.com/xuebinqin/DIS", "--data-root", "isnet_cutouts"):
        assert part in text


def test_missing_split_and_empty_folders(dis, tmp_path):
    with pytest.raises(DatasetError, match=r"DIS-TE4.*DIS-TR, DIS-VD"):
        CutoutDataset(dis, "DIS-TE4")
    for folder in ("im", "gt"):
        (tmp_path / "empty" / folder).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"empty: no pair.*check\.py"):
        CutoutDataset(tmp_path / "empty")


def test_lone_files_and_ambiguous_names(dis, maker):
    lone = dis / "DIS-TR/gt/p1.png"
    lone.unlink()
    with pytest.raises(DatasetError, match=r"DIS-TR: 1 files without a partner and 0 ambiguous.*p1\.jpg.*check\.py"):
        CutoutDataset(dis, "DIS-TR")
    maker.write(lone, maker.mask())
    maker.write(dis / "DIS-TR/im/p2.png", maker.picture(2))
    with pytest.raises(DatasetError, match=r"0 files without a partner and 1 ambiguous.*p2"):
        CutoutDataset(dis, "DIS-TR")


def same(a: dict, b: dict) -> bool:
    return torch.equal(a["inputs"], b["inputs"]) and torch.equal(
        a["data_samples"].gt_alpha.data, b["data_samples"].gt_alpha.data)


def test_a_draw_depends_on_seed_epoch_and_index_alone(dis):
    dataset, other = (CutoutDataset(dis, "DIS-TR", AUGMENTED, TASK, seed=5) for _ in range(2))
    draws = [epoch * 3 + index for epoch in range(4) for index in range(3)]
    first = {draw: dataset[draw] for draw in draws}
    for draw in reversed(draws):  # another order, another instance
        assert same(first[draw], other[draw])
        assert first[draw]["data_samples"].name == f"p{draw % 3}"
    assert not all(same(first[0], first[3 * epoch]) for epoch in range(1, 4))
    reseeded = CutoutDataset(dis, "DIS-TR", AUGMENTED, TASK, seed=6)
    assert not all(same(first[draw], reseeded[draw]) for draw in draws)


def test_workers_make_no_difference(dis):
    def batches(workers: int) -> list[dict]:
        np.random.seed(workers)
        torch.manual_seed(workers)
        dataset = CutoutDataset(dis, "DIS-TR", AUGMENTED, TASK, seed=1)
        loader = DataLoader(dataset, 2, sampler=DrawSampler(dataset, seed=1), num_workers=workers,
                            collate_fn=pseudo_collate)
        return [batch for batch, _ in zip(loader, range(4), strict=False)]

    for one, two in zip(batches(0), batches(2), strict=True):
        for a, b in zip(one["inputs"], two["inputs"], strict=True):
            assert torch.equal(a, b)
        for a, b in zip(one["data_samples"], two["data_samples"], strict=True):
            assert a.name == b.name and torch.equal(a.gt_alpha.data, b.gt_alpha.data)


@pytest.fixture
def single(tmp_path, maker):
    """Writes one pair and loads it: ``single(image, mask)`` from arrays or bytes; keywords for ``LoadPair``."""
    def load(image=None, mask=None, **keywords):
        root = tmp_path / "single"
        for name, content, default in (("im/a.jpg", image, maker.picture(0)), ("gt/a.png", mask, maker.mask())):
            content = default if content is None else content
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                maker.write(path, content)
        pipeline = [dict(type=LoadPair, **keywords), dict(type=PackCutout)]
        return CutoutDataset(root, None, pipeline, TASK)[0]
    return load


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_soft_masks_are_kept(single):
    ramp = np.tile(np.arange(40, dtype=np.uint8) * 6, (32, 1))
    sample = single(np.zeros((32, 40, 3), np.uint8), ramp)
    assert np.array_equal(sample["data_samples"].gt_alpha.data[0], ramp)
    assert set(sample["data_samples"].gt_sem_seg.data.unique().tolist()) == {0, 1}


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("keep_mask", [True, False])
def test_masks_of_0_and_1_are_refused(single, maker, cache, keep_mask):
    for _ in range(2):  # nothing of it is cached
        with pytest.raises(ImageError, match=r"a\.png: a 0/1 mask.*255"):
            single(mask=maker.mask() // 255, cache=cache, keep_mask=keep_mask)
    dot = np.zeros((480, 640), np.uint8)
    dot[100, 103] = 255  # one pixel, faint or gone after resizing, is no 0/1 mask
    single(maker.picture(0, 480, 640), dot, cache=cache, keep_mask=keep_mask)
    dot[100, 103] = 1
    with pytest.raises(ImageError, match="0/1 mask"):
        single(maker.picture(0, 480, 640), dot, cache=cache, keep_mask=keep_mask)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("keep_mask", [True, False])
def test_sizes_must_agree(single, maker, cache, keep_mask):
    match = r"a\.png: the mask has 64 x 47 pixels, its picture .*a\.jpg 64 x 48 .*check\.py"
    with pytest.raises(ImageError, match=match):
        single(mask=maker.mask(47, 64), cache=cache, keep_mask=keep_mask)


def test_truncated_empty_and_wrong_files(single, maker):
    jpeg, png = (encoded(Image.fromarray(maker.picture(0, 96, 128)), kind) for kind in ("JPEG", "PNG"))
    for content, text in ((jpeg[:-200], "truncated"), (png[:-200], "truncated"), (b"", "empty"), (b"<html>", "HTML")):
        with pytest.raises(ImageError, match=rf"im[/\\]a\.jpg: .*{text}"):
            single(content)
        with pytest.raises(ImageError, match=rf"gt[/\\]a\.png: .*{text}"):
            single(mask=content)
    with pytest.raises(ImageError, match=r"a\.png: .*colour picture"):
        single(mask=maker.picture(0))


def test_unusual_kinds_of_pictures(single, maker):
    rgb = Image.fromarray(maker.picture(0))
    expected = single(encoded(rgb, "PNG"))["inputs"].float()  # PNG under a .jpg name: read by content
    grey = float(np.asarray(rgb.convert("L")).mean())
    sixteen = np.asarray(rgb.convert("L")).astype(np.uint16) * 257
    for content, mean, tolerance in (
            (encoded(rgb.convert("L"), "PNG"), grey, 1), (encoded(Image.fromarray(sixteen), "PNG"), grey, 1),
            (encoded(rgb.convert("RGBA"), "PNG"), expected.mean(), 0.01),
            (encoded(rgb.quantize(64), "PNG"), expected.mean(), 6),
            (encoded(rgb.convert("CMYK"), "JPEG", quality=95), expected.mean(), 12)):
        inputs = single(content)["inputs"]
        assert inputs.shape == (3, 32, 40) and abs(inputs.float().mean() - mean) <= tolerance
    mask = maker.mask()
    for content in (mask.astype(np.uint16) * 257, np.dstack([mask] * 3)):
        assert single(mask=content)["data_samples"].gt_alpha.data.max() == 255
    with pytest.raises(ImageError, match=r"a\.png: a 16-bit mask with values of at most 255"):
        single(mask=encoded(Image.fromarray(mask.astype(np.uint16)), "PNG"))


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_turned_by_exif_fits_its_upright_mask(single, orientation):
    upright = np.zeros((64, 48), np.uint8)
    upright[8:24, 8:40] = 255
    undo = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.T,
            6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}
    stored = np.ascontiguousarray(undo[orientation](upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    jpeg = encoded(Image.fromarray(stored).convert("RGB"), "JPEG", quality=98, exif=exif)
    sample = single(jpeg, upright)
    difference = sample["inputs"][0].int() - sample["data_samples"].gt_alpha.data[0].int()
    assert difference.abs().max() < 40
    if orientation >= 5:
        with pytest.raises(ImageError, match=r"48 x 64 \(both upright\)"):
            single(jpeg, stored)


@pytest.mark.parametrize("shape", [(1, 1), (3, 20000), (20000, 3)])
def test_extreme_sizes(single, maker, shape):
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2 + 1, : shape[1] // 2 + 1] = 255
    sample = single(np.dstack([mask] * 3), mask)
    assert sample["inputs"].shape == (3, 32, 40)
    kept = single(np.dstack([mask] * 3), mask, keep_mask=True)["data_samples"]
    assert kept.ori_shape == shape and kept.gt_alpha.data.shape == (1, *shape)


def test_a_file_that_goes_away_is_named(dis):
    dataset = CutoutDataset(dis, "DIS-TR", PLAIN, TASK)
    (dis / "DIS-TR/im/p1.jpg").unlink()
    with pytest.raises(ImageError, match=r"p1\.jpg: does not exist"):
        dataset[1]


def test_a_replaced_mask_is_seen_with_a_warm_cache(dis, maker):
    dataset = CutoutDataset(dis, "DIS-TR", PLAIN, TASK)
    path = dis / "DIS-TR/gt/p0.png"
    before, stamp = dataset[0]["data_samples"].gt_alpha.data, path.stat()
    maker.write(path, 255 - read_mask(path))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    after = dataset[0]["data_samples"].gt_alpha.data
    assert (after.int() + before.int() - 255).abs().max() <= 1  # the rounding of the resize
    maker.write(path, maker.mask(47, 64))
    with pytest.raises(ImageError, match="64 x 47"):
        dataset[0]
