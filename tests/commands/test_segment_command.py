"""``dense segment`` as a person uses it."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inference"))
pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
from toy_pictures import semantic_bundle, toy_bundle, write_colours
from written import names, rows

from dense.cli import main
from dense.inference import segment_writer
from dense.io.rle import decode_rle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return semantic_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture
def segment(bundle):
    def run(*arguments):
        return main(["segment", *map(str, arguments), "--bundle", str(bundle), "--backend", "onnxruntime"])

    return run


def test_a_picture_becomes_an_overlay_beside_it(segment, tmp_path, capsys):
    (path,) = write_colours(tmp_path, 1)
    assert segment(path) == 0
    assert names(tmp_path) == ["0-segment.png", "0.png"] and "toy (bundle" in capsys.readouterr().err
    with Image.open(tmp_path / "0-segment.png") as image:
        assert image.mode == "RGB" and image.width == 96 and image.height > 64  # the legend
        r, g, b = image.getpixel((10, 10))
        assert r > 200 and g == b == 0
    assert segment(path, "--no-legend", "--opacity", 0, "-o", tmp_path / "plain.png") == 0
    plain, picture = (np.asarray(Image.open(tmp_path / f).convert("RGB")) for f in ("plain.png", "0.png"))
    np.testing.assert_array_equal(plain[:, 60:], picture[:, 60:])


def test_everything_at_once_and_going_on(segment, tmp_path, capsys):
    write_colours(tmp_path / "in", 3)
    out, areas = tmp_path / "out", tmp_path / "areas.csv"
    options = ["-o", out, "--what", "labels,overlay,masks", "--areas", areas, "--json"]
    assert segment(tmp_path / "in", *options, "--sheet", out / "sheet.png") == 0
    each = ["json", "labels", "masks/green.png", "masks/red.png", "overlay.png", "png"]
    each.remove("labels")
    expected = [f"{i}.{end}" for i in range(3) for end in each]
    expected += [f"{i}.masks/blue_light.png" for i in (1, 2)] + ["sheet.png"]
    assert names(out) == sorted(expected)
    labels = np.asarray(Image.open(out / "2.png"))
    assert set(np.unique(labels)) == {0, 1, 2} and Image.open(out / "2.overlay.png").mode == "RGB"
    np.testing.assert_array_equal(np.asarray(Image.open(out / "2.masks/blue_light.png")), 255 * (labels == 2))
    values = json.loads((out / "2.json").read_text())
    assert values["model"] == "toy" and values["result"] == "2.png"
    for found in values["segments"]:
        np.testing.assert_array_equal(decode_rle(found["rle"]), labels == found["index"])
    table = rows(areas)
    assert [(r["picture"][-5:], r["class"]) for r in table] == [
        (f"{i}.png", c) for i in range(3) for c in ("red", "green", "blue light")]
    assert int(table[-1]["pixels"]) == (labels == 2).sum() and table[2]["share"] == "0.000000"

    assert segment(tmp_path / "in", *options) == 1 and "there already" in capsys.readouterr().err
    (out / "1.masks").rename(tmp_path / "away")
    (out / "2.png").unlink()
    assert segment(tmp_path / "in", *options, "--skip-existing") == 0
    assert "2 done" in capsys.readouterr().err and names(out) == sorted(expected)
    assert rows(areas) == table  # the earlier rows stay, those done again are replaced
    assert segment(tmp_path / "in", *options, "--skip-existing") == 0
    assert "nothing to do: 3 results are there already" in capsys.readouterr().err
    assert segment(tmp_path / "in/0.png", *options, "--overwrite") == 0
    assert len(rows(areas)) == 3


def test_a_damaged_picture_is_listed_and_the_table_has_the_others(segment, tmp_path, capsys):
    paths = write_colours(tmp_path / "in", 3)
    paths[1].write_bytes(b"<html>")
    assert segment(tmp_path / "in", "-o", tmp_path / "out", "--areas", tmp_path / "a.csv") == 1
    err = capsys.readouterr().err
    assert f"1 not done:\n  {paths[1]}: is an HTML page" in err and "Traceback" not in err
    assert {r["picture"] for r in rows(tmp_path / "a.csv")} == {str(paths[0]), str(paths[2])}


@pytest.mark.parametrize(("arguments", "words"), [
    (["{in}", "--what", "mask"], "'mask' is none of overlay, labels, colours, masks"),
    (["{in}", "--what", "masks"], "Remedy: --what labels,masks"),
    (["{in}", "--what", "labels,labels"], "give each kind once"),
    (["{in}", "--what", "labels", "--format", "webp"], "labels are written as .png"),
    (["{in}/0.png", "--what", "labels", "-o", "x.jpg"], "labels are written as .png"),
    (["{in}/0.png", "--what", "colours", "-o", "x.jpg"], "JPEG changes the colours"),
    (["{in}/0.png", "--what", "labels,overlay", "-o", "-"], "standard output takes one kind"),
    (["{in}", "--areas", "areas.txt"], "a table of areas is a .csv"),
    (["{in}", "--areas", "there.csv"], "is there already"),
    (["{in}", "--areas", "there.csv", "--overwrite"], "is no table of areas"),
    (["clip.mp4", "--what", "labels"], "a video shows the overlay or the colours"),
])
def test_problems_of_the_user(segment, tmp_path, monkeypatch, capsys, arguments, words):
    write_colours(tmp_path / "in", 1)
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text("a,b\n1,2\n")
    assert segment(*[a.replace("{in}", str(tmp_path / "in")) for a in arguments]) == 1
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err
    assert Path("there.csv").read_text() == "a,b\n1,2\n" and not Path("in-segment").exists()


@pytest.mark.parametrize("arguments", [[], ["x", "--opacity", "2"], ["x", "--mode", "tiled"]])
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as end:
        main(["segment", *arguments])
    assert end.value.code == 2


def test_a_network_of_another_task_is_refused(tmp_path, capsys):
    (path,) = write_colours(tmp_path, 1)
    assert main(["segment", str(path), "--bundle", str(toy_bundle(tmp_path / "b"))]) == 1
    assert "toy is made for the task cutout, not semantic" in capsys.readouterr().err


def test_extra_files_never_take_the_place_of_results(segment, tmp_path, capsys):
    one, other = write_colours(tmp_path / "in", 2)
    other.rename(tmp_path / "in/0.labels.png")
    assert segment(tmp_path / "in", "-o", tmp_path / "out", "--what", "overlay,labels") == 1
    assert "0.labels.png: belongs to" in capsys.readouterr().err
    assert one.exists()


def test_a_video_shows_the_overlay_with_a_legend(segment, tmp_path):
    pytest.importorskip("av", reason="videos need the extra 'video'")
    from dense.inference import VideoWriter
    from dense.io import read_image

    frames = [read_image(p) for p in write_colours(tmp_path / "in", 3)]
    with VideoWriter(tmp_path / "clip.mp4", rate=5) as video:
        for frame in frames:
            video.write(frame)
    assert segment(tmp_path / "clip.mp4", "--areas", tmp_path / "a.csv") == 0
    import av

    with av.open(str(tmp_path / "clip-segment.mp4")) as made:
        found = [f.to_ndarray(format="rgb24") for f in made.decode(video=0)]
    assert len(found) == 3 and found[0].shape[1] == 96 and found[0].shape[0] > 64
    assert found[0][10, 80, 1] > 180 > 60 > found[0][10, 80, 0] and len(rows(tmp_path / "a.csv")) == 9
    assert segment(tmp_path / "clip.mp4", "--what", "labels", "--format", "png", "-o", tmp_path / "f") == 0
    assert len(names(tmp_path / "f")) == 3


def test_watching_a_folder(segment, tmp_path):
    write_colours(tmp_path / "in", 2)
    options = "--watch", "--idle", 0.5, "--areas", tmp_path / "a.csv"
    assert segment(tmp_path / "in", "-o", tmp_path / "out", *options) == 0
    assert names(tmp_path / "out") == ["0.png", "1.png"] and len(rows(tmp_path / "a.csv")) == 6


def test_the_default_model_is_the_shipped_one(tmp_path, capsys):
    pytest.importorskip("mmseg", reason="FFNet needs the extra 'seg'")
    scene = Path(__file__).resolve().parents[2] / "data/scenes/val/images/val000.jpg"
    assert main(["segment", str(scene), "-o", str(tmp_path / "a.png"), "--what", "labels"]) == 0
    assert "@scenes (shipped weights), torch" in capsys.readouterr().err
    truth = np.asarray(Image.open(scene.parents[1] / "masks/val000.png"))
    found = np.asarray(Image.open(tmp_path / "a.png"))
    assert (found == truth)[truth != 255].mean() > 0.9


def test_names_of_masks_are_their_own_after_folding():
    assert len(set(segment_writer.mask_names(["a b", "a_b", "A/b"]))) == 3
