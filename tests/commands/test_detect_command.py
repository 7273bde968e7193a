"""``dense detect`` as a person uses it."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inference"))
pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
from toy_pictures import detection_bundle, semantic_bundle, write_colours
from written import names, rows

from dense.cli import main
from dense.io.coco_file import read_coco_file
from dense.io.yolo import read_yolo

RED, GREEN = [0.0, 0.0, 48.0, 64.0], [48.0, 0.0, 48.0, 64.0]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return detection_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture
def detect(bundle):
    def run(*arguments):
        return main(["detect", *map(str, arguments), "--bundle", str(bundle), "--backend", "onnxruntime"])

    return run


def test_a_picture_becomes_one_with_boxes_beside_it(detect, tmp_path, capsys):
    (path,) = write_colours(tmp_path, 1)
    assert detect(path) == 0
    assert names(tmp_path) == ["0-detect.png", "0.png"] and "toy (bundle" in capsys.readouterr().err
    drawn, picture = (np.asarray(Image.open(tmp_path / f).convert("RGB")).astype(int)
                      for f in ("0-detect.png", "0.png"))
    assert drawn.shape == picture.shape
    changed = np.abs(drawn - picture).sum(2) > 0
    assert changed[:, 47:49].mean() > 0.9 and not changed[30:60, 10:40].any()  # lines, nothing inside
    assert (drawn[63, 50:90] == (0, 255, 0)).all()
    assert detect(path, "--threshold", 0.99, "-o", tmp_path / "none.png") == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "none.png").convert("RGB")), picture)
    assert detect(path, "--label", "none", "-o", tmp_path / "bare.png") == 0
    bare = np.asarray(Image.open(tmp_path / "bare.png").convert("RGB")).astype(int)
    assert not (np.abs(bare - picture).sum(2) > 0)[6:58, 6:40].any() and changed[6:58, 6:40].any()


def test_everything_at_once_and_going_on(detect, tmp_path, capsys):
    write_colours(tmp_path / "in", 3)
    out, table, coco = tmp_path / "out", tmp_path / "boxes.csv", tmp_path / "boxes.json"
    options = ["-o", out, "--csv", table, "--coco", coco, "--yolo", "--json"]
    assert detect(tmp_path / "in", *options, "--sheet", out / "sheet.png") == 0
    expected = sorted([*(f"{i}.{end}" for i in range(3) for end in ("json", "png", "txt")), "classes.txt", "sheet.png"])
    assert names(out) == expected
    assert (out / "classes.txt").read_text() == "red\ngreen\nblue light\n"
    found = [(r["picture"][-5:], r["class"]) for r in rows(table)]
    assert found == [("0.png", "red"), ("0.png", "green"), ("1.png", "green"), ("1.png", "red"), ("2.png", "green"),
                     ("2.png", "red")]  # blue covers some of the red, and is too little itself
    assert [float(rows(table)[0][k]) for k in ("x", "y", "width", "height")] == RED and rows(table)[0]["time"] == ""
    values = json.loads((out / "1.json").read_text())
    assert values["model"] == "toy" and values["objects"][0] == {"class": "green", "index": 1, "box": GREEN,
                                                                 "score": pytest.approx(100 / 127.5, abs=1e-3)}
    boxes, findings = read_coco_file(coco)
    assert boxes.classes == ("red", "green", "blue light") and not findings.count("error")
    assert [(len(p.boxes), p.width, p.height) for p in boxes.pictures] == [(2, 96, 64)] * 3
    assert list(boxes.pictures[1].boxes[0].xywh) == GREEN and boxes.pictures[1].boxes[0].extra["score"] > 0.7
    yolo, findings = read_yolo(out, tmp_path / "in")
    assert [[list(b.xywh) for b in p.boxes] for p in yolo.pictures] == [[RED, GREEN], [GREEN, RED], [GREEN, RED]]
    assert not findings.all

    before = table.read_text(), coco.read_text()
    assert detect(tmp_path / "in", *options) == 1 and "there already" in capsys.readouterr().err
    (out / "1.txt").unlink()
    (out / "2.png").unlink()
    assert detect(tmp_path / "in", *options, "--skip-existing") == 0
    assert "2 done" in capsys.readouterr().err and names(out) == expected
    assert (table.read_text(), coco.read_text()) == before  # the earlier ones stay, those done again are replaced
    assert detect(tmp_path / "in/0.png", *options, "--overwrite") == 0
    assert len(rows(table)) == 2 and len(json.loads(coco.read_text())["images"]) == 1


def test_classes_threshold_and_top_hold_for_all_that_is_written(detect, tmp_path, capsys):
    write_colours(tmp_path / "in", 3)
    for number, (options, expected) in enumerate((
            (["--classes", "red"], ["red"] * 3), (["--top", 1], ["red", "green", "green"]),
            (["--classes", "red,blue light", "--threshold", 0.01], ["red", "red", "blue light", "red", "blue light"]),
            (["--classes", "red,blue light", "--threshold", 0.01, "--top", 1], ["red"] * 3),
            (["--threshold", "0.79"], []))):
        out = tmp_path / f"out{number}"
        assert detect(tmp_path / "in", "-o", out, "--json", "--csv", out / "a.csv", *options) == 0
        assert [r["class"] for r in rows(out / "a.csv")] == expected
        kept = [o["class"] for i in range(3) for o in json.loads((out / f"{i}.json").read_text())["objects"]]
        assert kept == expected
    capsys.readouterr()
    assert detect(tmp_path / "in", "-o", tmp_path / "x", "--classes", "red,gren") == 1
    err = capsys.readouterr().err
    assert "no class is called 'gren'; did you mean 'green'?" in err and "red, green, blue light" in err


def test_a_picture_called_classes_does_not_replace_the_list_of_classes(detect, tmp_path, capsys):
    paths = write_colours(tmp_path / "in", 3)
    paths[1].rename(tmp_path / "in/classes.png")
    assert detect(tmp_path / "in", "-o", tmp_path / "out", "--yolo") == 1
    err = capsys.readouterr().err
    assert "2 done" in err and "classes.txt: belongs to" in err
    assert names(tmp_path / "out") == ["0.png", "0.txt", "2.png", "2.txt", "classes.txt"]
    assert (tmp_path / "out/classes.txt").read_text().splitlines() == ["red", "green", "blue light"]


def test_results_with_the_ids_of_a_data_set(detect, tmp_path, capsys):
    pytest.importorskip("pycocotools", reason="COCO's own code reads the results")
    write_colours(tmp_path / "in", 2)
    truth = {"images": [{"id": 70 + i, "file_name": f"{i}.png", "width": 96, "height": 64} for i in range(2)],
             "categories": [{"id": 5, "name": "green"}, {"id": 2, "name": "red"}],
             "annotations": [{"id": 1, "image_id": 71, "category_id": 2, "bbox": RED, "area": 3072, "iscrowd": 0}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    options = ["-o", tmp_path / "out", "--coco", tmp_path / "r.json", "--ids", tmp_path / "truth.json"]
    assert detect(tmp_path / "in", *options) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert [(r["image_id"], r["category_id"], r["bbox"]) for r in found] == [
        (70, 2, RED), (70, 5, GREEN), (71, 5, GREEN), (71, 2, RED)]
    from pycocotools.coco import COCO

    assert len(COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "r.json")).anns) == 4
    (tmp_path / "out/1.png").unlink()
    assert detect(tmp_path / "in", *options, "--skip-existing") == 0
    assert json.loads((tmp_path / "r.json").read_text()) == found
    capsys.readouterr()
    (tmp_path / "in/0.png").rename(tmp_path / "in/new.png")
    assert detect(tmp_path / "in", *options, "--overwrite") == 1
    assert "names no such picture" in capsys.readouterr().err
    assert {r["image_id"] for r in json.loads((tmp_path / "r.json").read_text())} == {71}


def test_a_damaged_picture_is_listed_and_the_tables_have_the_others(detect, tmp_path, capsys):
    paths = write_colours(tmp_path / "in", 3)
    paths[1].write_bytes(b"<html>")
    assert detect(tmp_path / "in", "-o", tmp_path / "out", "--csv", tmp_path / "a.csv") == 1
    err = capsys.readouterr().err
    assert f"1 not done:\n  {paths[1]}: is an HTML page" in err and "Traceback" not in err
    assert {r["picture"] for r in rows(tmp_path / "a.csv")} == {str(paths[0]), str(paths[2])}


@pytest.mark.parametrize(("arguments", "words"), [
    (["{in}", "--ids", "x.json"], "--ids is about --coco"),
    (["{in}/0.png", "--yolo", "-o", "-"], "--yolo writes a file beside each picture"),
    (["clip.mp4", "--yolo"], "--yolo writes a file beside each picture"),
    (["{in}", "--csv", "a.txt"], "a table of objects is a .csv"),
    (["{in}", "--csv", "there.csv"], "is there already"),
    (["{in}", "--csv", "there.csv", "--overwrite"], "is no table of objects"),
    (["{in}", "--coco", "there.json", "--overwrite"], "is no file of COCO objects"),
    (["{in}", "--coco", "a.csv"], "a file of COCO objects is a .json"),
    (["{in}", "--coco", "a.json", "--ids", "there.json"], "not COCO's images, annotations and categories"),
])
def test_problems_of_the_user(detect, tmp_path, monkeypatch, capsys, arguments, words):
    write_colours(tmp_path / "in", 1)
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text("a,b\n1,2\n")
    Path("there.json").write_text("[1, 2]")
    assert detect(*[a.replace("{in}", str(tmp_path / "in")) for a in arguments]) == 1
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err
    assert Path("there.csv").read_text() == "a,b\n1,2\n" and not Path("in-detect").exists()


@pytest.mark.parametrize("arguments", [[], ["x", "--threshold", "2"], ["x", "--top", "0"], ["x", "--mode", "tiled"]])
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as end:
        main(["detect", *arguments])
    assert end.value.code == 2


def test_a_network_of_another_task_is_refused(tmp_path, capsys):
    (path,) = write_colours(tmp_path, 1)
    assert main(["detect", str(path), "--bundle", str(semantic_bundle(tmp_path / "b"))]) == 1
    assert "toy is made for the task semantic, not detection" in capsys.readouterr().err


def test_texts_never_take_the_place_of_others(detect, tmp_path, capsys):
    one, other = write_colours(tmp_path / "in", 2)
    other.rename(tmp_path / "in/0.jpg")  # read by content
    assert detect(tmp_path / "in", "-o", tmp_path / "out", "--yolo") == 0
    assert names(tmp_path / "out") == ["0.jpg.png", "0.jpg.txt", "0.png.png", "0.png.txt", "classes.txt"]
    (tmp_path / "out/classes.txt").write_text("cat\n")
    assert detect(one, "-o", tmp_path / "out/9.png", "--yolo") == 1
    assert "classes.txt: names other classes" in capsys.readouterr().err


def test_a_video_shows_the_boxes(detect, tmp_path):
    av = pytest.importorskip("av", reason="videos need the extra 'video'")
    from dense.inference import VideoWriter
    from dense.io import read_image

    with VideoWriter(tmp_path / "clip.mp4", rate=5) as video:
        for path in write_colours(tmp_path / "in", 3):
            video.write(read_image(path))
    assert detect(tmp_path / "clip.mp4", "--csv", tmp_path / "a.csv") == 0
    with av.open(str(tmp_path / "clip-detect.mp4")) as made:
        found = [f.to_ndarray(format="rgb24") for f in made.decode(video=0)]
    assert len(found) == 3 and found[0].shape == (64, 96, 3)
    assert found[0][62, 60:90].mean() < found[0][40, 60:90].mean() - 20  # the rim of the line
    assert [float(r["time"]) for r in rows(tmp_path / "a.csv")] == pytest.approx([0, 0, 0.2, 0.2, 0.4, 0.4])


def test_watching_a_folder(detect, tmp_path):
    write_colours(tmp_path / "in", 2)
    options = "--watch", "--idle", 0.5, "--csv", tmp_path / "a.csv"
    assert detect(tmp_path / "in", "-o", tmp_path / "out", *options) == 0
    assert names(tmp_path / "out") == ["0.png", "1.png"] and len(rows(tmp_path / "a.csv")) == 4


def test_without_weights_it_says_where_some_are(tmp_path, capsys, monkeypatch):
    from dense.weights import shipped

    monkeypatch.setattr(shipped, "list_shipped", dict)
    (path,) = write_colours(tmp_path, 1)
    assert main(["detect", str(path)]) == 1
    err = capsys.readouterr().err
    assert "there are no stageinteractor_r50@objects here. Remedy: -w FILE" in err and "stageinteractor_objects" in err
