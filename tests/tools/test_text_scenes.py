"""Scenes as files: what the tool writes is what the data set of files reads."""
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from dense.io.texts import find_files, load_texts

ROOT = Path(__file__).resolve().parents[2]
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def test_scenes_are_written_in_a_layout_that_is_read(tmp_path):
    for folder in ("val/fonts", "val/backgrounds"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(FONT, tmp_path / "val/fonts")
    noise = np.random.default_rng(0).integers(60, 190, (20, 30, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "val/backgrounds/a.png"), cv2.resize(noise, (300, 200)))
    command = [sys.executable, str(ROOT / "tools/data/make_text_scenes.py"), "-o", str(tmp_path / "out"), "--root",
               str(tmp_path), "--count", "3", "--size", "90", "120", "--sheet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = find_files(tmp_path / "out")
    assert len(files) == 3
    assert (tmp_path / "out/sheet.png").is_file()
    for one in files:
        image, clean, polygons = load_texts(one)
        assert image.shape == (90, 120, 3)
        differs = np.abs(image.astype(int) - clean).max(2) > 60
        region = np.zeros((90, 120), np.uint8)
        for polygon in polygons:
            cv2.fillPoly(region, [polygon], 1)
        assert not differs.any() or region[differs].mean() > 0.9


def test_missing_photographs_are_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "tools/data/make_text_scenes.py"), "-o", str(tmp_path / "out"), "--root",
               str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "make_text_sources" in done.stderr
    assert "Traceback" not in done.stderr
