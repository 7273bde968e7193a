"""``dense volume`` as a person uses it."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inference"))
pytest.importorskip("nibabel", reason="volumes need the extra 'medical' (nibabel)")
pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
import nibabel
from toy_pictures import toy_bundle
from toy_volume_bundle import AFFINE, head, labels_of, volume_bundle, write_heads
from written import names, rows

from dense.cli import main
from dense.io.volume import read_volume


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return volume_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture
def volume(bundle):
    def run(*arguments):
        return main(["volume", *map(str, arguments), "--bundle", str(bundle), "--backend", "onnxruntime"])

    return run


def test_a_volume_becomes_labels_beside_it(volume, tmp_path, capsys):
    (path,) = write_heads(tmp_path, 1)
    assert volume(path) == 0
    assert names(tmp_path) == ["case0-labels.nii.gz", "case0.nii.gz"]
    made = nibabel.load(tmp_path / "case0-labels.nii.gz")
    assert made.get_data_dtype() == np.uint8 and made.affine.tobytes() == nibabel.load(path).affine.tobytes()
    np.testing.assert_array_equal(np.asarray(made.dataobj).T, labels_of(head()[None]))
    err = capsys.readouterr().err
    assert "toy (bundle" in err and f"1 done: {tmp_path / 'case0-labels.nii.gz'}" in err
    assert volume(path) == 1 and "there already" in capsys.readouterr().err
    assert volume(tmp_path / "*.nii.gz", "--skip-existing") == 0
    assert "1 inputs are left out: they are results" in capsys.readouterr().err


def test_everything_at_once_and_going_on(volume, tmp_path, capsys):
    write_heads(tmp_path / "in/a.b", 1)
    write_heads(tmp_path / "in", 2)
    out, table = tmp_path / "out", tmp_path / "ml.csv"
    options = ["-o", out, "--recursive", "--planes", "--surfaces", "ply", "--probabilities", "--json", "--volumes",
               table, "--mode", "plain", "--max-memory", "2G"]
    assert volume(tmp_path / "in", *options) == 0
    files = [f"{case}{end}" for case in ("a.b/case0", "case0", "case1")
             for end in (".json", ".nii.gz", ".planes.png", ".probabilities.npz", ".surfaces/tissue.ply")]
    files += ["a.b/case0.surfaces/bone.ply", "case0.surfaces/bone.ply"]
    assert names(out) == sorted(files)
    labels = np.asarray(nibabel.load(out / "case0.nii.gz").dataobj).T
    probabilities = np.load(out / "case0.probabilities.npz")["probabilities"]
    assert probabilities.dtype == np.float16 and probabilities.shape == (3, *labels.shape)
    np.testing.assert_array_equal(probabilities.argmax(0), labels)
    np.testing.assert_allclose(probabilities.sum(0, dtype=np.float32), 1, atol=2e-3)
    values = json.loads((out / "case0.json").read_text())
    assert values["result"] == "case0.nii.gz" and values["mode"] == "plain" and values["orientation"] == "LAS"
    assert values["size"] == [18, 24, 20] and values["spacing"] == [1.5, 1.5, 2]
    found = rows(table)
    assert [(r["case"][-11:], r["class"]) for r in found] == [
        (c, k) for c in ("ase0.nii.gz", "ase0.nii.gz", "ase1.nii.gz") for k in ("tissue", "bone")]
    assert int(found[2]["voxels"]) == (labels == 1).sum()
    assert float(found[2]["ml"]) == pytest.approx((labels == 1).sum() * 1.5 * 1.5 * 2 / 1000)
    assert values["classes"][0]["ml"] == pytest.approx(float(found[2]["ml"]))

    assert volume(tmp_path / "in", *options, "--skip-existing") == 0
    assert "nothing to do: 3 results are there already" in capsys.readouterr().err
    (out / "case1.planes.png").unlink()
    assert volume(tmp_path / "in", *options, "--skip-existing") == 0
    assert "1 done" in capsys.readouterr().err and names(out) == sorted(files) and rows(table) == found


def test_the_planes_show_the_classes_on_the_right_side(volume, tmp_path):
    values = np.zeros((30, 40, 20), np.int16)
    values[20:28, 5:12, 3:8] = 100  # superior; y 5..12, which is posterior with a growing y; x small
    nibabel.save(nibabel.Nifti1Image(values.T, np.diag([-2.0, 1, 1, 1])), tmp_path / "a.nii")  # x grows to the left
    assert volume(tmp_path / "a.nii", "-o", tmp_path / "out", "--planes") == 0
    picture = np.asarray(Image.open(tmp_path / "out/a.planes.png").convert("RGB")).astype(int)
    red = (picture[..., 0] > picture[..., 1] + 40) & (picture[..., 0] > picture[..., 2] + 40)
    red[-24:] = False  # the legend
    axial, coronal, sagittal = red[22:502, :480], red[22:502, 484:964], red[22:502, 968:]
    ys, xs = np.nonzero(axial)  # 40 x 40 mm: posterior is below, a small x is right, on the left
    assert ys.mean() > 300 and xs.mean() < 200
    ys, xs = np.nonzero(coronal)  # 40 mm wide, 30 high, in the middle
    assert ys.min() >= 60 and ys.mean() < 240 and xs.mean() < 200
    ys, xs = np.nonzero(sagittal)
    assert ys.min() >= 60 and ys.mean() < 240 and xs.mean() > 300


def test_a_file_out_and_several_channels(tmp_path, capsys):
    bundle = volume_bundle(tmp_path / "bundle", 2)
    run = ["--bundle", str(bundle), "--backend", "onnxruntime"]
    write_heads(tmp_path / "in", 2, "b_000{}.nii.gz")
    write_heads(tmp_path / "in", 1, "c_000{}.nii.gz")
    assert main(["volume", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *run]) == 1
    err = capsys.readouterr().err
    assert "c: lacks c_0001 (T2); the network takes 2 channels" in err and "1 done" in err
    both = np.stack([head(), head(bright=0.45)])
    np.testing.assert_array_equal(read_volume(tmp_path / "out/b.nii.gz").values[0], labels_of(both))
    assert main(["volume", str(tmp_path / "in/b_0000.nii.gz"), "-o", str(tmp_path / "x.nii"), *run]) == 0
    assert names(tmp_path / "out") == ["b.nii.gz"]
    np.testing.assert_array_equal(read_volume(tmp_path / "x.nii").values[0], labels_of(both))
    nibabel.save(nibabel.Nifti1Image(head().T, AFFINE), tmp_path / "one.nii")
    assert main(["volume", str(tmp_path / "one.nii"), *run]) == 1
    err = capsys.readouterr().err
    assert "has 1 channel, the network takes 2 (T1, T2). Remedy: files called CASE_0000.nii.gz" in err


def test_a_damaged_volume_is_listed_and_the_others_are_done(volume, tmp_path, capsys):
    paths = write_heads(tmp_path / "in", 3)
    paths[1].write_bytes(paths[1].read_bytes()[:-200])
    nan = head().astype(np.float32)
    nan[3, 4, 5] = np.nan
    nibabel.save(nibabel.Nifti1Image(nan.T, AFFINE), tmp_path / "in/nan.nii.gz")
    table = tmp_path / "ml.csv"
    assert volume(tmp_path / "in", "-o", tmp_path / "out", "--volumes", table) == 1
    err = capsys.readouterr().err
    assert f"2 not done:\n  {paths[1]}: is truncated" in err and "nan.nii.gz: has 1 NaN voxels" in err
    assert "Traceback" not in err and names(tmp_path / "out") == ["case0.nii.gz", "case2.nii.gz"]
    assert {r["case"] for r in rows(table)} == {str(paths[0]), str(paths[2])}
    assert volume(tmp_path / "in/nan.nii.gz", "-o", tmp_path / "out", "--fill", "0") == 0
    expected = labels_of(np.nan_to_num(nan)[None])
    np.testing.assert_array_equal(read_volume(tmp_path / "out/nan.nii.gz").values[0], expected)


def test_memory_step_and_half_change_no_label_here(volume, tmp_path):
    (path,) = write_heads(tmp_path, 1)
    for i, options in enumerate((["--max-memory", "60M"], ["--step", "0.75"], ["--half"], ["--batch", "3"])):
        assert volume(path, "-o", tmp_path / f"{i}.nii.gz", *options) == 0
        np.testing.assert_array_equal(read_volume(tmp_path / f"{i}.nii.gz").values[0], labels_of(head()[None]))


def test_a_dicom_folder_is_a_volume(volume, tmp_path):
    pytest.importorskip("SimpleITK", reason="DICOM needs the extra 'dicom' (SimpleITK)")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "io"))
    from test_dicom import write_series

    write_series(tmp_path / "ct.1", head())
    assert volume(tmp_path / "ct.1", "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["ct.1.nii.gz"]
    np.testing.assert_array_equal(read_volume(tmp_path / "out/ct.1.nii.gz").values[0], labels_of(head()[None]))


@pytest.mark.parametrize(("arguments", "words"), [
    (["none.nii.gz"], "none.nii.gz: does not exist"),
    (["-"], "standard input and output take none"),
    (["{in}", "-o", "-"], "standard input and output take none"),
    (["{in}/case0.nii.gz", "-o", "x.png"], "x.png: is a file instead|done"),
    (["{in}", "-o", "x.nii.gz"], "is one file, the input is not one volume"),
    (["{in}", "--volumes", "ml.txt"], "--volumes ml.txt: a table of volumes is a .csv"),
    (["{in}", "--volumes", "there.csv"], "is there already"),
    (["{in}", "--volumes", "there.csv", "--overwrite"], "is no table of volumes"),
    (["{in}", "-o", "{in}"], "is a folder of inputs"),
    (["empty"], "the folder holds no volume"),
    (["*.nii.gz"], "matches no volume"),
])
def test_problems_of_the_user(volume, tmp_path, monkeypatch, capsys, arguments, words):
    write_heads(tmp_path / "in", 2)
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text("a,b\n1,2\n")
    Path("empty").mkdir()
    Path("x.png").write_bytes(b"")
    assert volume(*[a.replace("{in}", str(tmp_path / "in")) for a in arguments]) == 1
    err = capsys.readouterr().err
    assert any(w in err for w in words.split("|")) and "Traceback" not in err
    assert Path("there.csv").read_text() == "a,b\n1,2\n" and not Path("in-labels").exists()


@pytest.mark.parametrize("arguments", [[], ["x", "--step", "0"], ["x", "--mode", "tiled"], ["x", "--surfaces", "obj"],
                                       ["x", "--max-memory", "much"], ["x", "--batch", "0"]])
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as end:
        main(["volume", *arguments])
    assert end.value.code == 2


def test_networks_of_other_tasks_are_refused_and_refuse_volumes(bundle, tmp_path, capsys):
    (path,) = write_heads(tmp_path, 1)
    assert main(["volume", str(path), "--bundle", str(toy_bundle(tmp_path / "b"))]) == 1
    assert "toy is made for the task cutout, not volume" in capsys.readouterr().err
    assert main(["cutout", str(path), "--bundle", str(bundle)]) == 1


def test_ctrl_c_leaves_only_whole_files(bundle, tmp_path):
    write_heads(tmp_path / "in", 30)
    command = [sys.executable, "-m", "dense", "volume", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--bundle",
               str(bundle), "--backend", "onnxruntime", "--threads", "1", "--planes", "--probabilities"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
    killer = threading.Timer(60, process.kill)
    killer.start()
    while process.poll() is None and not list((tmp_path / "out").glob("*.nii.gz")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    err = process.communicate()[1]
    killer.cancel()
    done = sorted((tmp_path / "out").glob("case*.nii.gz"))
    assert process.returncode == 130 and "all whole; --skip-existing goes on" in err and "Traceback" not in err
    assert 0 < len(done) < 30 and not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]
    for path in done:
        np.asarray(nibabel.load(path).dataobj)


def test_a_full_disk_is_one_line(bundle, tmp_path):
    values = np.random.default_rng(0).integers(0, 300, (64, 64, 64)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    code = ("import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from dense.cli import main\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); sys.exit(main(sys.argv[1:]))")
    for options, words in ([], "the disk is full"), (["--probabilities"], "probabilities cannot be written"):
        command = [sys.executable, "-c", code, "volume", str(tmp_path / "a.nii"), "-o", str(tmp_path / "out"),
                   "--bundle", str(bundle), "--backend", "onnxruntime", "--mode", "plain", *options]
        made = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
        assert made.returncode == 1 and "Traceback" not in made.stderr
        assert words in made.stderr.splitlines()[-1]
        assert list((tmp_path / "out").iterdir()) == []
