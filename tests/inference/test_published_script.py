"""With the legacy options on, masks are those of the published script, on real photographs.

The published weights are not at hand; the shipped small network serves, at its own size and at another one.
"""
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dense import Inferencer, build_model
from dense.cli import main
from dense.io import read_image

skimage = pytest.importorskip("skimage", reason="the photographs are those of the package scikit-image")
DATA = Path(skimage.__file__).parent / "data"
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "retina.jpg")


@torch.inference_mode()
def published_mask(network, image: np.ndarray, size: int) -> np.ndarray:
    """uint8 (H, W), in the steps of the released inference script: bilinear resizing without antialiasing, values cut
    to whole numbers, x / 255 - 0.5, the first map resized back, stretched to its range, cut to whole numbers."""
    x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    x = F.interpolate(x, (size, size), mode="bilinear").type(torch.uint8)
    d1 = network(x / 255.0 - 0.5)[0][0].sigmoid()
    mask = F.interpolate(d1, image.shape[:2], mode="bilinear")[0, 0]
    mask = (mask - mask.min()) / (mask.max() - mask.min())
    return (mask * 255).numpy().astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    return build_model("isnet@cutouts")


@pytest.mark.parametrize("size", [192, 320])
def test_masks_are_those_of_the_published_script(model, size):
    model.task = replace(model.task, size=(size, size))
    inferencer = Inferencer(model, task=dict(min_max=True, cut=True))
    for name in PHOTOGRAPHS:
        image = read_image(DATA / name)
        expected = published_mask(model.network, image, size).astype(np.float32)
        difference = np.abs(inferencer(image).alpha_uint8() - expected)
        print(f"{name} {size}: mean {difference.mean():.3f}, largest {difference.max():.0f} of 255")
        assert expected.std() > 10  # there is something to compare
        assert difference.mean() < 0.25


def test_the_command_does_the_same(model, tmp_path):
    path = DATA / "coffee.png"
    assert main(["cutout", str(path), "-o", str(tmp_path / "mask.png"), "--mask", "--legacy"]) == 0
    expected = published_mask(model.network, read_image(path), 192).astype(np.float32)
    assert np.abs(read_image(tmp_path / "mask.png")[..., 0] - expected).mean() < 0.25
