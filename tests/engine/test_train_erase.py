"""Training and testing of the text eraser on generated scenes, with fonts that matplotlib brings."""
import json
import shutil
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from dense import build_model
from dense.engine.settings import Settings
from dense.engine.test import test as run_test
from dense.engine.train import train
from dense.evaluation.erase import ERASE_MEASURES
from dense.tasks import EraseTask

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    y, x = np.indices((150, 200))
    for seed, part in enumerate(("train", "val")):
        (folder / part / "backgrounds").mkdir(parents=True)
        (folder / part / "fonts").mkdir()
        shutil.copy(FONTS / "DejaVuSans.ttf", folder / part / "fonts")
        picture = np.stack([120 + 60 * np.sin(y / 20 + c + seed) + 50 * np.cos(x / 15 + c) for c in range(3)], 2)
        cv2.imwrite(str(folder / part / "backgrounds" / "a.png"), picture.clip(0, 255).astype(np.uint8))
    return folder


def settings(root, work_dir, **values):
    options = ["train_dataloader.batch_size=2", "val_dataloader.dataset.length=2", "test_dataloader.dataset.length=3",
               "train_dataloader.dataset.settings.size=(48,48)", "val_dataloader.dataset.settings.size=(52,60)",
               "test_dataloader.dataset.settings.size=(52,60)", "model.network.width=0.25"]
    return Settings(data_root=str(root), work_dir=str(work_dir), workers=0, options=options, **values)


def test_the_small_config_trains_and_its_weights_are_tested(root, tmp_path):
    best = train("deeperaser_small", settings(root, tmp_path / "work", max_iters=4, val_interval=2))
    assert best is not None
    log = [json.loads(line) for line in (tmp_path / "work/log.jsonl").read_text().splitlines()]
    assert {"val/PSNR_in", "val/SSIM_in", "val/left"} <= set(log[-1])
    assert (tmp_path / "work/pictures/val_000004.png").is_file()
    model = build_model("deeperaser", weights=tmp_path / "work/best.safetensors")
    assert (model.network.width, model.network.stride, model.network.iterations) == (0.25, 2, 2)
    assert model.task == EraseTask(size=(256, 256))
    rows = run_test("deeperaser_small", tmp_path / "work/best.safetensors", settings(root, tmp_path / "test"))
    assert set(rows["trained"]) == set(ERASE_MEASURES)
    assert rows["trained"]["PSNR_out"] > rows["trained"]["PSNR_in"]
    assert len((tmp_path / "test/test.csv").read_text().splitlines()) == 4


def test_the_full_config_is_whole(root):
    from dense.config import read_config
    from dense.registry import MODELS

    config = read_config("deeperaser_synthetic")
    model = MODELS.build(dict(config.model, task=config.task))
    assert sum(p.numel() for p in model.network.parameters()) == 1438512
