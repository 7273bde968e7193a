"""``dense erase`` as a person uses it."""
import io
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
from toy_eraser import eraser_bundle

from dense.cli import main
from dense.inference.text_regions import TextDetector
from dense.io import read_image


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return eraser_bundle(tmp_path_factory.mktemp("bundle") / "negative")


@pytest.fixture
def erase(bundle):
    def run(*arguments):
        return main(["erase", *map(str, arguments), "--bundle", str(bundle), "--backend", "onnxruntime"])

    return run


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8))
    return path


def changed(path, photo):
    return (read_image(path) != read_image(photo)).any(2)


def test_boxes(erase, photo, capsys):
    assert erase(photo, "--boxes", "10,20,30,10", "100,60,20,20") == 0
    assert "photo-erased.png" in capsys.readouterr().err
    where = changed(photo.with_name("photo-erased.png"), photo)
    assert where[20:30, 10:40].mean() > 0.95
    assert where[60:80, 100:120].mean() > 0.95
    assert not where[:, 50:90].any()


def test_no_widening_and_no_seam(erase, photo, tmp_path):
    assert erase(photo, "--boxes", "10,20,30,10", "--dilate", 0, "--feather", 0, "-o", tmp_path / "x.png") == 0
    where = changed(tmp_path / "x.png", photo)
    where[20:30, 10:40] = False
    assert not where.any()


def test_a_folder_with_masks(erase, photo, tmp_path, capsys):
    mask = np.zeros((100, 150), np.uint8)
    mask[20:30, 10:40] = 255
    for name in ("in/a.png", "in/b.png", "in/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(photo.read_bytes())
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks/a.png"), mask)
    cv2.imwrite(str(tmp_path / "masks/b.png"), mask[:50])
    assert erase(tmp_path / "in", "-o", tmp_path / "out", "--mask", tmp_path / "masks") == 1
    err = capsys.readouterr().err
    assert "1 done" in err
    assert "b.png: has 150 x 100 pixels, its mask" in err
    assert "there is no mask c.*" in err
    assert changed(tmp_path / "out/a.png", photo)[20:30, 10:40].mean() > 0.95


def test_preview_asks_no_network(photo, capsys):
    assert main(["erase", str(photo), "--boxes", "10,20,30,10", "--preview"]) == 0
    assert "nothing is" in capsys.readouterr().err
    assert changed(photo.with_name("photo-preview.png"), photo)[22:28, 12:38].mean() > 0.9


def test_text_that_is_found_is_erased(erase, photo, monkeypatch):
    def mask(self, picture):
        out = np.zeros(picture.shape[:2], np.uint8)
        out[20:30, 10:40] = 255
        return out

    monkeypatch.setattr(TextDetector, "__init__", lambda self: None)
    monkeypatch.setattr(TextDetector, "mask", mask)
    assert erase(photo, "--auto") == 0
    assert changed(photo.with_name("photo-erased.png"), photo)[20:30, 10:40].mean() > 0.95


def test_standard_input_and_output(erase, photo, monkeypatch, capfdbinary):
    class Input:
        buffer = io.BytesIO(photo.read_bytes())

    monkeypatch.setattr(sys, "stdin", Input)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert erase("-", "-o", "-", "--boxes", "0,0,20,20") == 0
    out = capfdbinary.readouterr().out
    assert changed(out, photo)[:20, :20].mean() > 0.95


def test_jpeg_on_demand(erase, photo, tmp_path):
    assert erase(photo, "--boxes", "1,1,9,9", "-o", tmp_path / "out.jpg") == 0
    assert (tmp_path / "out.jpg").read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize("wrong", [["--boxes", "1,2,3"], ["--boxes", "1,2,0,5"], ["--boxes", "a,b,c,d"], [],
                                   ["--auto", "--boxes", "1,2,3,4"], ["--boxes", "1,2,3,4", "--dilate", "-1"]])
def test_wrong_usage(erase, photo, wrong):
    with pytest.raises(SystemExit) as stop:
        erase(photo, *wrong)
    assert stop.value.code == 2


def test_contradictions_and_missing_masks(erase, photo, capsys):
    assert erase(photo, "--boxes", "1,2,3,4", "--invert") == 1
    assert "--invert" in capsys.readouterr().err
    assert erase(photo, "--mask", "missing.png") == 1
    assert "missing.png: the mask does not exist" in capsys.readouterr().err


def test_a_picture_above_the_memory_limit(erase, photo, capsys):
    assert erase(photo, "--boxes", "1,2,3,4", "--max-memory", "100K") == 1
    assert "above the limit" in capsys.readouterr().err


def test_networks_of_other_tasks_are_refused(photo, capsys):
    assert main(["erase", str(photo), "--boxes", "1,2,3,4", "--model", "isnet@cutouts"]) == 1
    assert "task cutout, not erase" in capsys.readouterr().err


def test_videos_stay_videos(erase, tmp_path):
    pytest.importorskip("av", reason="videos need the extra 'video'")
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (160, 96))
    for level in (60, 90, 120):
        writer.write(np.full((96, 160, 3), level, np.uint8))
    writer.release()
    assert erase(tmp_path / "a.mp4", "--boxes", "40,30,60,30", "-o", tmp_path / "b.mp4") == 0
    video = cv2.VideoCapture(str(tmp_path / "b.mp4"))
    frames = [frame for done, frame in (video.read() for _ in range(4)) if done]
    assert len(frames) == 3
    assert abs(int(frames[0][45, 70].mean()) - 195) < 12
    assert abs(int(frames[0][10, 10].mean()) - 60) < 12


def test_json_and_sheet(erase, photo, tmp_path):
    import json

    assert erase(photo, "--boxes", "10,20,30,10", "-o", tmp_path / "out", "--json", "--sheet", tmp_path / "s.png") == 0
    assert json.loads((tmp_path / "out/photo.json").read_text())["boxes"] == [[10, 20, 30, 10]]
    assert (tmp_path / "s.png").is_file()
