"""Transforms: picture and mask move together, ranges hold, randomness comes from the given generator."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.datasets.transforms import (
    CopyPaste,
    LoadPair,
    PackCutout,
    RandomCrop,
    RandomFlip,
    RandomPhotometric,
    RandomRotate,
)
from dense.registry import TRANSFORMS
from dense.tasks import CutoutTask

TASK = CutoutTask(size=(48, 64))
PAIR = SimpleNamespace(name="a", image="im/a.jpg", mask="gt/a.png")


class LoadBlobs:
    """In place of LoadPair: pairs are seeds here."""

    def __call__(self, results: dict) -> dict:
        mask = blobs(results["pair"])
        return results | {"image": np.dstack([mask] * 3), "mask": mask}


def pasting(**settings) -> CopyPaste:
    paste = CopyPaste(**settings)
    paste.load = LoadBlobs()
    return paste


def blobs(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros((48, 64), np.uint8)
    for _ in range(3):
        y, x = rng.integers(0, 40), rng.integers(0, 50)
        mask[y:y + rng.integers(4, 20), x:x + rng.integers(4, 30)] = 255
    return mask


GEOMETRY = (RandomFlip(0.5, 0.5), RandomCrop(probability=1.0), RandomRotate(30, probability=1.0))
RANDOM = (*GEOMETRY, RandomPhotometric(grey=0.5), pasting(probability=1.0))


def results_of(seed: int, rng_seed: int = 0) -> dict:
    """The picture shows the mask in all three channels."""
    mask = blobs(seed)
    return {"image": np.dstack([mask] * 3), "mask": mask, "task": TASK, "pair": PAIR, "pairs": [3, 4, 5, 6],
            "ori_shape": mask.shape, "rng": np.random.default_rng(rng_seed)}


@given(seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_geometry_is_the_same_for_picture_and_mask(seed):
    results = results_of(seed, seed)
    for transform in GEOMETRY:
        results = transform(results)
        image, mask = results["image"], results["mask"]
        assert image.dtype == mask.dtype == np.uint8 and image.shape == (48, 64, 3) and mask.shape == (48, 64)
        assert np.abs(image.astype(int) - mask[..., None]).max() <= 1
    sample = PackCutout()(results)
    assert sample["inputs"].is_contiguous() and sample["data_samples"].gt_alpha.data.is_contiguous()


@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
def test_the_generator_decides_alone(transform):
    outputs = []
    for seed in (1, 1, 2, 3, 4):
        np.random.seed(len(outputs))
        out = transform(results_of(0, seed))
        outputs.append((out["image"].copy(), out["mask"].copy()))
    assert all(np.array_equal(a, b) for a, b in zip(*outputs[:2], strict=True))
    assert any(not np.array_equal(outputs[0][0], other[0]) for other in outputs[2:])
    assert transform.random and not LoadPair.random and not PackCutout.random


def test_flips():
    base = results_of(5)
    for arguments, expected in (((1, 0), base["mask"][:, ::-1]), ((0, 1), base["mask"][::-1]),
                                ((1, 1), base["mask"][::-1, ::-1]), ((0, 0), base["mask"])):
        assert np.array_equal(RandomFlip(*arguments)(dict(base))["mask"], expected)
    flips = [not np.array_equal(RandomFlip()(results_of(5, s))["mask"], base["mask"]) for s in range(400)]
    assert 0.4 < np.mean(flips) < 0.6


def test_pasting_adds_the_object_and_keeps_the_rest():
    box = np.zeros((48, 64), np.uint8)
    box[8:24, 8:40] = 255

    class Load(LoadBlobs):
        def __call__(self, results):
            return results | {"image": np.full((48, 64, 3), 200, np.uint8), "mask": box}

    paste = pasting(probability=1.0, scale=(1.0, 1.0))
    paste.load = Load()
    for seed in range(40):
        empty = {"mask": np.zeros((48, 64), np.uint8), "image": np.zeros((48, 64, 3), np.uint8)}
        results = results_of(2, seed) | empty
        out = paste(results)
        ys, xs = np.nonzero(out["mask"] > 128)
        assert (np.ptp(ys) + 1, np.ptp(xs) + 1) == pytest.approx((16, 32), abs=2)  # whole, though moved
        assert len(ys) == pytest.approx(16 * 32, rel=0.15)
        assert (out["image"][out["mask"] == 255] == 200).all() and not out["image"][out["mask"] == 0].any()
        assert not results["mask"].any()  # what was given is not written on


def test_pasting_unites_masks_and_spares_crowded_pictures():
    grown = 0
    for seed in range(30):
        before = results_of(seed, seed)
        after = pasting(probability=1.0)(before)
        assert (after["mask"] >= before["mask"]).all()
        grown += (after["mask"] > 128).sum() > (before["mask"] > 128).sum()
        crowded = pasting(probability=1.0, most=0.0)(before)
        assert np.array_equal(crowded["mask"], before["mask"])
    assert grown > 20
    unpasted = [pasting(probability=0.5)(r := results_of(1, s))["mask"] is r["mask"] for s in range(400)]
    assert 0.4 < np.mean(unpasted) < 0.6


def test_pasting_an_empty_mask_changes_nothing():
    paste = pasting(probability=1.0)
    paste.load = lambda results: results | {"mask": np.zeros((48, 64), np.uint8)}
    results = results_of(1)
    assert paste(results)["mask"] is results["mask"]


def test_crops_keep_foreground():
    crop = RandomCrop(scale=(0.4, 0.5), probability=1.0, least=0.9)
    whole, cropped = 0, 0
    for seed in range(60):
        results = results_of(1, seed)
        mask = np.zeros((48, 64), np.uint8)
        mask[2:8, 3:9] = 255
        results |= {"mask": mask, "image": np.dstack([mask] * 3)}
        out = crop(results)["mask"]
        whole += np.array_equal(out, mask)
        cropped += not np.array_equal(out, mask)
        # a crop enlarges by at least two each way: what was kept covers more than 90 % of four times the object
        assert np.array_equal(out, mask) or (out > 128).sum() > 0.85 * 4 * (mask > 128).sum()
    assert whole > 0 and cropped > 0


def test_crop_of_a_larger_picture_comes_back_to_the_size_of_the_task():
    for probability in (0.0, 1.0):
        results = results_of(2)
        results["image"], results["mask"] = np.zeros((96, 128, 3), np.uint8), np.zeros((96, 128), np.uint8)
        out = RandomCrop(probability=probability)(results)
        assert out["image"].shape == (48, 64, 3) and out["mask"].shape == (48, 64)


def test_rotation_labels_what_is_mirrored_at_the_border():
    results = results_of(0, 3)
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :12] = 255  # the object reaches the border
    results |= {"mask": mask, "image": np.dstack([mask] * 3)}
    out = RandomRotate(20, probability=1.0)(results)
    assert np.array_equal(out["image"][..., 0] > 128, out["mask"] > 128) and (out["mask"][:, 0] > 128).all()
    assert np.array_equal(RandomRotate(20, probability=0.0)(results_of(3))["mask"], blobs(3))


def noise(seed: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, (48, 64, 3), dtype=np.uint8)


def test_photometric_is_the_identity_without_strength():
    for image in (noise(), np.full((48, 64, 3), 255, np.uint8), np.zeros((48, 64, 3), np.uint8)):
        results = results_of(0) | {"image": image.copy()}
        out = RandomPhotometric(0, 0, 0, 0, 0)(results)
        assert np.array_equal(out["image"], image) and np.array_equal(out["mask"], blobs(0))


@pytest.mark.parametrize("grey", [0.0, 1.0])
@pytest.mark.parametrize("high", [100, 256])
def test_photometric_equals_a_plain_formula(grey, high):
    for seed in range(10):
        image = noise(seed, high)
        out = RandomPhotometric(0.2, 0.2, 0.3, 0.1, grey)(results_of(0, seed) | {"image": image})["image"]
        rng = np.random.default_rng(seed)
        b, c, s = (1 + rng.uniform(-v, v) for v in (0.2, 0.2, 0.3))
        gains = 1 + rng.uniform(-0.1, 0.1, 3)
        bright = max(1.0, np.percentile(image[::8, ::8], 95))
        b = min(b, (255 - 128 * (1 - c)) / (c * bright))
        x = image.astype(np.float64)
        luma = (x @ np.array([0.299, 0.587, 0.114]))[..., None]
        x = luma + (0.0 if grey else s) * (x - luma)
        x = (x * gains / gains.mean() * b - 128) * c + 128
        assert out.dtype == np.uint8 and np.abs(out - np.clip(x, 0, 255)).max() <= 1  # OpenCV uses fixed point


def test_photometric_burns_nothing_out():
    rng = np.random.default_rng(0)
    bright = np.clip(rng.normal(220, 20, (96, 128, 3)), 0, 255).astype(np.uint8)
    for seed in range(40):
        out = RandomPhotometric(0.4, 0.2, 0.0, 0.0, 0.0)(results_of(0, seed) | {"image": bright})["image"]
        assert (out == 255).mean() < 0.12


def test_pack_shapes():
    full = np.zeros((90, 120), np.uint8)
    full[10:50, 10:50] = 200
    sample = PackCutout()(results_of(0) | {"full_mask": full, "ori_shape": full.shape})
    assert sample["inputs"].shape == (3, 48, 64) and sample["inputs"].dtype == torch.uint8
    element = sample["data_samples"]
    assert element.ori_shape == (90, 120) and element.gt_alpha.data.shape == (1, 90, 120)
    assert element.gt_alpha.data.dtype == torch.uint8 and int(element.gt_alpha.data.max()) == 200
    assert element.gt_sem_seg.data.dtype == torch.int64 and int(element.gt_sem_seg.data.sum()) == 1600
    assert (element.name, element.image_path, element.mask_path) == ("a", "im/a.jpg", "gt/a.png")
    masks = PackCutout(inputs="mask")(results_of(0))
    assert masks["inputs"].shape == (1, 48, 64) and torch.equal(masks["inputs"], masks["data_samples"].gt_alpha.data)


def test_names_are_registered():
    for name in ("LoadPair", "PackCutout", "RandomCrop", "RandomFlip", "RandomPhotometric", "RandomRotate"):
        assert TRANSFORMS.get(name).__name__ == name
