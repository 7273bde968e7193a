"""``dense cutout`` as a person uses it."""
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inference"))
pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
from toy_pictures import toy_bundle, write_pictures

from dense.cli import main
from dense.inference.results import RESULTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return toy_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture
def cutout(bundle):
    def run(*arguments):
        return main(["cutout", *map(str, arguments), "--bundle", str(bundle), "--backend", "onnxruntime"])

    return run


def test_a_folder(cutout, tmp_path, capsys):
    write_pictures(tmp_path / "in", 3)
    assert cutout(tmp_path / "in", "-o", tmp_path / "out", "--batch", 2) == 0
    out, err = capsys.readouterr()
    assert out == "" and "toy (bundle " in err and "onnxruntime" in err and "(asked for)" in err
    assert f"3 done into {tmp_path / 'out'}" in err
    rgba = np.asarray(Image.open(tmp_path / "out/2.png"))
    assert rgba.shape == (80, 100, 4) and rgba[40, 50, 3] > 250 and rgba[0, 0, 3] == 0


@pytest.mark.parametrize(("options", "mode", "corner"), [
    (["--mask"], "L", 0), (["--background", "#102030"], "RGB", (16, 32, 48)), (["--format", "webp"], "RGBA", None),
    (["--format", "tiff", "--mode", "tiled"], "RGBA", (0, 0, 0, 0)), (["--background", "blur"], "RGB", None)])
def test_options(cutout, tmp_path, options, mode, corner):
    write_pictures(tmp_path / "in", 2)
    assert cutout(tmp_path / "in", "-o", tmp_path / "out", *options) == 0
    suffix = {"webp": ".webp", "tiff": ".tiff"}.get(options[1] if len(options) > 1 else "", ".png")
    with Image.open(tmp_path / f"out/1{suffix}") as image:
        assert image.mode == mode and image.size == (100, 75)
        assert corner is None or image.getpixel((0, 0)) == corner


def test_tiles_are_the_mode_tiled(cutout, tmp_path):
    (tmp_path / "in").mkdir()
    stripes = np.zeros((200, 260, 3), np.uint8)
    stripes[20:180, 30:230:5] = 255  # thinner than the toy's pixels
    cv2.imwrite(str(tmp_path / "in/a.png"), stripes)
    alphas = {}
    for name, options in {"global": [], "mode": ["--mode", "tiled"], "tiles": ["--tiles"],
                          "both": ["--tiles", "--mode", "tiled"]}.items():
        assert cutout(tmp_path / "in", "-o", tmp_path / name, "--mask", *options) == 0
        alphas[name] = np.asarray(Image.open(tmp_path / name / "a.png"))
    assert np.array_equal(alphas["tiles"], alphas["mode"]) and np.array_equal(alphas["both"], alphas["mode"])
    errors = {name: np.abs(alpha.astype(float) - stripes[..., 0]).mean() for name, alpha in alphas.items()}
    assert errors["tiles"] < 0.7 * errors["global"]


def test_a_damaged_picture_is_listed_at_the_end(cutout, tmp_path, capsys):
    paths = write_pictures(tmp_path / "in", 4)
    paths[1].write_bytes(b"<html>")
    assert cutout(tmp_path / "in", "-o", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert "3 done into" in err and f"1 not done:\n  {paths[1]}: is an HTML page" in err
    assert "Traceback" not in err and len(list((tmp_path / "out").iterdir())) == 3
    paths[1].write_bytes(paths[2].read_bytes())
    assert cutout(tmp_path / "in", "-o", tmp_path / "out", "--skip-existing") == 0
    assert f"1 done: {tmp_path / 'out/1.png'}, 3 were there already" in capsys.readouterr().err
    assert cutout(tmp_path / "in", "-o", tmp_path / "out", "--skip-existing") == 0
    assert "nothing to do: 4 results are there already" in capsys.readouterr().err


def test_all_pictures_damaged(cutout, tmp_path, capsys):
    (path,) = write_pictures(tmp_path / "in", 1)
    path.write_bytes(b"")
    assert cutout(path) == 1
    assert "0 done\n1 not done:" in capsys.readouterr().err
    assert [p.name for p in path.parent.iterdir()] == ["0.png"]


@pytest.mark.parametrize(("arguments", "words"), [
    (["nowhere.jpg"], "nowhere.jpg: does not exist"), (["{in}", "-o", "{in}"], "is a folder of inputs"),
    (["{in}", "--tiles", "--mode", "whole"], "--tiles is --mode tiled"),
    (["{in}", "--background", "#xyz"], "neither a colour nor a file"), (["{in}", "--device", "cuda"], "has no CUDA"),
    (["{in}", "--model", "isnet"], "--bundle holds model and weights"), (["{in}", "--max-memory", "1K"], "--max-mem"),
    (["-", "{in}"], "need -o FOLDER"), (["{in}/0.png", "{in}/0.png", "-o", "x.png"], "give a folder")])
def test_problems_of_the_user(cutout, tmp_path, monkeypatch, capsys, arguments, words):
    import onnxruntime

    if "cuda" in arguments and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("asks for a GPU that is not there")
    write_pictures(tmp_path / "in", 1)
    monkeypatch.chdir(tmp_path)
    assert cutout(*[a.replace("{in}", str(tmp_path / "in")) for a in arguments]) == 1
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err


@pytest.mark.parametrize("arguments", [[], ["x", "--batch", "0"], ["x", "--mode", "tiles"], ["x", "--format", "gif"],
                                       ["x", "--skip-existing", "--overwrite"], ["x", "--max-memory", "much"]])
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as end:
        main(["cutout", *arguments])
    assert end.value.code == 2


def command(*arguments, **options):
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    return subprocess.Popen([sys.executable, "-m", "dense", "cutout", *map(str, arguments)], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_standard_input_and_output(bundle, tmp_path):
    (path,) = write_pictures(tmp_path, 1)
    process = command("-", "-o", "-", "--bundle", bundle, stdin=subprocess.PIPE)
    out, err = process.communicate(path.read_bytes(), timeout=60)
    assert process.returncode == 0, err
    assert Image.open(io.BytesIO(out)).size == (100, 70)
    process = command("-", "-o", "-", "--bundle", bundle, stdin=subprocess.PIPE)
    out, err = process.communicate(b"no picture", timeout=60)
    assert process.returncode == 1 and out == b"" and b"standard input: is text" in err
    process = command("-", "-o", "-", "--bundle", bundle, "--max-memory", "100K", stdin=subprocess.PIPE)
    out, err = process.communicate(path.read_bytes(), timeout=60)
    assert process.returncode == 1 and out == b"" and b"above the limit of 0 MiB" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_standard_output_that_is_full_is_one_line(bundle, tmp_path):
    (path,) = write_pictures(tmp_path, 1)
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "dense", "cutout", str(path), "-o", "-", "--bundle", str(bundle)],
                              env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: standard output: cannot be written (No space left")


@pytest.mark.parametrize(("options", "words"), [
    (["--mask", "--background", "white"], "--mask writes the alpha, which has no --background"),
    (["--watch", "--overwrite"], "--watch leaves out what is done"), (["--watch", "-o", "-"], "not standard output"),
    (["--idle", "3"], "--idle ends --watch, which was not asked for")])
def test_options_that_contradict_each_other(cutout, tmp_path, options, words, capsys):
    write_pictures(tmp_path / "in", 1)
    assert cutout(tmp_path / "in", *options) == 1
    assert words in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_model_of_another_task_is_refused(bundle, tmp_path, capsys, monkeypatch):
    (path,) = write_pictures(tmp_path, 1)
    monkeypatch.setattr("dense.tasks.cutout.CutoutTask.kind", "other")
    monkeypatch.setitem(RESULTS, "other", RESULTS["cutout"])
    assert main(["cutout", str(path), "--bundle", str(bundle)]) == 1
    assert "toy is made for the task other, not cutout" in capsys.readouterr().err


def test_ctrl_c_leaves_whole_files_and_skip_existing_goes_on(bundle, tmp_path):
    rng = np.random.default_rng(0)
    count = 200
    (tmp_path / "in").mkdir()
    noise = rng.integers(0, 256, (700, 900, 3), dtype=np.uint8)
    for i in range(count):  # noise compresses badly: writing takes a while
        os.link(_write(tmp_path / "noise.jpg", noise), tmp_path / f"in/{i:03}.jpg")
    out = tmp_path / "out"
    process = command(tmp_path / "in", "-o", out, "--bundle", bundle, "--backend", "onnxruntime", "--threads", 1)
    end = time.monotonic() + 60
    while time.monotonic() < end and not (out.exists() and any(out.glob("0*.png"))):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"--skip-existing goes on" in err and b"Traceback" not in err
    done = sorted(out.iterdir())
    assert 0 < len(done) < count
    for path in done:  # nothing half written, nothing temporary
        assert path.suffix == ".png" and not path.name.startswith(".")
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (700, 900, 4)
    for path in sorted((tmp_path / "in").iterdir())[len(done) + 3:]:
        path.unlink()
    assert main(["cutout", str(tmp_path / "in"), "-o", str(out), "--skip-existing", "--bundle", str(bundle)]) == 0
    assert len(list(out.iterdir())) >= len(done) + 1


def _write(path: Path, array: np.ndarray) -> Path:
    if not path.exists():
        cv2.imwrite(str(path), array)
    return path


def test_the_default_model_is_the_shipped_one(tmp_path, capsys):
    (path,) = write_pictures(tmp_path, 1)
    assert main(["cutout", str(path), "-o", str(tmp_path / "a.png")]) == 0
    err = capsys.readouterr().err
    assert "isnet@cutouts (shipped weights), torch" in err and json.dumps(str(tmp_path / "a.png"))[1:-1] in err


def test_json_and_a_sheet(cutout, tmp_path, capsys):
    write_pictures(tmp_path / "in", 2)
    (tmp_path / "in/1.png").rename(tmp_path / "in/0.webp")  # found by content; two inputs of one name
    out = tmp_path / "out"
    assert cutout(tmp_path / "in", "-o", out, "--json", "--sheet", out / "sheet.png") == 0
    assert sorted(p.name for p in out.iterdir()) == ["0.png.json", "0.png.png", "0.webp.json", "0.webp.png",
                                                     "sheet.png"]
    values = json.loads((out / "0.webp.json").read_text())
    assert values["source"].endswith("0.webp") and values["result"] == "0.webp.png" and values["model"] == "toy"
    assert values["width"] == 100 and len(values["weights"]["sha256"]) == 64 and values["alpha"]["box"]
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size == (3 * 240 + 8, 2 * (160 + 22))
    assert cutout(tmp_path / "in", "-o", out, "--json") != 0
    assert "are there already" in capsys.readouterr().err
    (out / "0.png.json").unlink()
    assert cutout(tmp_path / "in", "-o", out, "--json", "--skip-existing") == 0
    assert "1 done" in capsys.readouterr().err and (out / "0.png.json").exists()
    assert cutout(tmp_path / "in", "-o", out, "--json", "--skip-existing") == 0
    assert "nothing to do: 2 results are there already" in capsys.readouterr().err


def test_a_result_gives_way_to_the_sheet(cutout, tmp_path):
    (path,) = write_pictures(tmp_path / "in", 1)
    path.rename(tmp_path / "in/sheet.png")
    assert cutout(tmp_path / "in", "-o", tmp_path / "out", "--sheet", tmp_path / "out/sheet.png") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["sheet.png", "sheet.png.png"]


def test_what_json_and_sheets_refuse(cutout, tmp_path, capsys):
    path, other = write_pictures(tmp_path / "in", 2)
    (tmp_path / "there.png").write_bytes(b"x")
    for arguments, message in (
            ([path, "-o", "-", "--json"], "standard output has none"),
            ([path, "-o", tmp_path / "a.png", "--sheet", path, "--overwrite"], "is an input"),
            ([tmp_path / "in", "-o", tmp_path / "o", "--sheet", other, "--overwrite"], "is an input"),
            ([path, "-o", tmp_path / "a.png", "--sheet", tmp_path / "a.png"], "is the result"),
            ([path, "-o", tmp_path / "a.png", "--sheet", tmp_path / "there.png"], "is there already"),
            ([path, "-o", tmp_path / "a.png", "--sheet", tmp_path / "sheet.tiff"], "a sheet is a .png")):
        assert cutout(*arguments) != 0
        err = capsys.readouterr().err
        assert message in err and "Traceback" not in err
    assert not (tmp_path / "a.png").exists() and (tmp_path / "there.png").read_bytes() == b"x"


def test_a_foreign_json_fails_its_picture_only(cutout, tmp_path, capsys):
    write_pictures(tmp_path / "in", 2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/1.json").write_text("[]")
    assert cutout(tmp_path / "in", "-o", tmp_path / "out", "--json", "--overwrite") == 1
    assert "1.json: is there and was not written by dense" in capsys.readouterr().err
    assert (tmp_path / "out/0.png").exists() and not (tmp_path / "out/1.png").exists()


def test_colours_legacy_and_alpha_of_the_input(cutout, tmp_path):
    dark = np.zeros((40, 50, 4), np.uint8)
    dark[..., :3] = np.random.default_rng(0).integers(0, 5, (40, 50, 3))
    dark[:, 25:, 3] = 255
    Image.fromarray(dark).save(tmp_path / "a.png")

    def result(*options):
        assert cutout(tmp_path / "a.png", "-o", tmp_path / "out.png", "--overwrite", *options) == 0
        return np.asarray(Image.open(tmp_path / "out.png"))

    assert (result()[:, :25, 3] == 0).all() and result()[:, 27:, 3].max() < 10
    assert result("--legacy")[:, :25, 3].max() == 0  # what the input hides stays hidden
    assert result("--ignore-alpha")[..., 3].max() < 10 and result("--ignore-alpha", "--legacy")[..., 3].max() == 255
    np.testing.assert_array_equal(result("--colours", "original")[..., :3], dark[..., :3])
    assert (result()[:, :15, :3] == 0).all()
