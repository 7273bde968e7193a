"""The shipped eraser beats OpenCV's inpainting on the bundled scenes, and changes nothing outside of the mask."""
from pathlib import Path

import cv2
import numpy as np
import pytest

from dense import Inferencer
from dense.cli import main
from dense.datasets.erase import EraseDataset
from dense.datasets.transforms import CustomMask, LoadErase
from dense.evaluation.erase import evaluate_erased
from dense.io import Picture, read_image

ROOT = Path(__file__).resolve().parents[2] / "data/erase"


@pytest.mark.skipif(not ROOT.is_dir(), reason="the bundled scenes are in the repository only")
def test_it_beats_both_inpainters():
    eraser = Inferencer("deeperaser@text", threads=1)
    scenes = EraseDataset(ROOT, "val", [LoadErase(), CustomMask(1.0, {"polygon": 1.0})])
    rows = {"network": [], "telea": [], "ns": []}
    for index in range(len(scenes)):
        scene = scenes[index]
        image, truth, mask = (np.ascontiguousarray(scene[k]) for k in ("image", "truth", "mask"))
        region = eraser.task.region(mask)
        results = {kind: eraser.task.paste(image, region, cv2.inpaint(image, region, 3, method) / np.float32(255))
                   for kind, method in (("telea", cv2.INPAINT_TELEA), ("ns", cv2.INPAINT_NS))}
        results["network"] = eraser(Picture(image, str(index), mask=mask)).image
        assert (results["network"] == image)[region == 0].all()
        for kind, result in results.items():
            rows[kind].append(evaluate_erased(result, truth, region, image))
    for measure in ("PSNR_in", "SSIM_in"):
        means = {kind: np.mean([row[measure] for row in found]) for kind, found in rows.items()}
        assert means["network"] > max(means["telea"], means["ns"]), (measure, means)


def test_the_command_needs_no_weights(tmp_path, capsys):
    picture = np.full((80, 200, 3), 200, np.uint8)
    cv2.putText(picture, "text", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.8, (30, 30, 30), 4)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    assert main(["erase", str(tmp_path / "a.png"), "--boxes", "10,5,150,70"]) == 0
    assert "deeperaser@text (shipped weights)" in capsys.readouterr().err
    result = read_image(tmp_path / "a-erased.png")
    assert (result < 100).mean() < 0.3 * (picture < 100).mean()
