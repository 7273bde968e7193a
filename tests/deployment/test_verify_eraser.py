"""Verification of erasers on pictures with and without text."""
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
from toy_eraser import eraser_bundle

from dense.deployment.checks import check_of
from dense.deployment.verify import verify
from dense.evaluation.erase import psnr
from dense.tasks import EraseTask

DATA = Path(__file__).resolve().parents[2] / "data" / "erase"


def test_pictures_are_compared_and_broken_ones_listed(tmp_path):
    shutil.copytree(DATA, tmp_path / "data")
    (tmp_path / "data/val/all_images/000001.jpg").write_bytes(b"nonsense")
    report = verify(eraser_bundle(tmp_path / "bundle"), data=tmp_path / "data", limit=None)
    assert report.passed
    assert report.pictures == 15
    assert [name for name, _ in report.unread] == ["000001"]
    assert {"PSNR", "SSIM"} == set(next(iter(report.figures.values())))


def test_all_texts_are_masked_and_one_level_does_not_count():
    check = check_of(EraseTask())
    files, place = check.find(DATA)
    assert place.endswith("val")
    image, clean = check.read(files[0])
    differs = np.abs(image[..., :3].astype(int) - clean).max(2) > 60
    assert image[..., 3][differs].mean() > 0.95 * 255
    erased = EraseTask().run(image, lambda batch: batch[:, :3] / 255)
    assert np.array_equal(erased, image[..., :3])
    assert check.difference(np.minimum(erased, 254) + 1, np.minimum(erased, 254)) == (0.0, 0.0)
    far = check.difference(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 52, np.uint8))
    assert far == pytest.approx((0.2, 0.2))
    row = check.measure(erased, clean)
    assert check.summary([row, row])["PSNR"] == psnr(erased, clean)
    assert check.panel(image, clean, erased, clean).shape == (200, 1000, 3)
