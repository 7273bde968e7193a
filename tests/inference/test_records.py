"""What is written beside results: JSON and contact sheets."""
import json
from pathlib import Path

import numpy as np
import pytest

from dense.errors import DenseError
from dense.inference import CutoutResult
from dense.inference.provenance import provenance
from dense.inference.sheets import Sheet
from dense.inference.sidecars import WithSidecar, sidecar_of
from dense.inference.sinks import CutoutWriter, files_of, is_done
from dense.io import read_image


def box_result(source="in/a.jpg", height=40, width=60):
    alpha = np.zeros((height, width), np.float32)
    alpha[10:20, 5:35] = 1
    alpha[20, 5:35] = 0.25
    return CutoutResult(np.full((height, width, 3), 90, np.uint8), source, 1.25, alpha=alpha)


def test_to_dict():
    assert box_result().to_dict() == {
        "source": "in/a.jpg", "width": 60, "height": 40, "seconds": 1.25,
        "alpha": {"coverage": round((300 + 7.5) / 2400, 6), "partial": 30 / 2400, "box": [5, 10, 30, 10]}}
    empty = CutoutResult(np.zeros((4, 5, 3), np.uint8), "x", alpha=np.zeros((4, 5), np.float32)).to_dict()["alpha"]
    assert empty == {"coverage": 0.0, "partial": 0.0, "box": None}


def test_provenance_of_a_bundle(model):
    facts = json.loads(json.dumps(provenance(model)))
    assert facts["model"] == "toy" and facts["device"] == "cpu" and facts["mode"] == "global"
    assert facts["weights"]["sha256"] == model.bundle.files["model.onnx"] and facts["task"]["kind"] == "cutout"
    assert facts["backend"].startswith("onnxruntime ")


def test_a_sidecar_is_beside_the_result(tmp_path):
    writer = WithSidecar(CutoutWriter(), {"dense": "1", "model": "m"})
    target = tmp_path / "a.jpg.png"
    assert not is_done(writer, target) and files_of(writer, target)[-1] == target
    assert writer.write(box_result(), target) == target
    values = json.loads((tmp_path / "a.jpg.json").read_text())
    assert values["model"] == "m" and values["result"] == "a.jpg.png" and values["alpha"]["box"] == [5, 10, 30, 10]
    assert is_done(writer, target)
    sidecar_of(target).unlink()
    assert not is_done(writer, target) and is_done(CutoutWriter(), target)
    writer.write(box_result(), target)
    writer.write(box_result("in/b.jpg"), target)  # our own may be replaced
    assert json.loads((tmp_path / "a.jpg.json").read_text())["source"] == "in/b.jpg"


@pytest.mark.parametrize("text", ["{}", "no json", '{"dense": 1}'])
def test_a_foreign_json_is_not_replaced(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DenseError, match=r"a\.json: is there and was not written by dense\. Remedy"):
        WithSidecar(CutoutWriter()).write(box_result(), tmp_path / "a.png")
    assert (tmp_path / "a.json").read_text() == text and not (tmp_path / "a.png").exists()


def test_a_sheet_is_bounded_and_ordered(tmp_path):
    sheet = Sheet(rows=3, height=40)
    assert not sheet.write(tmp_path / "none.png") and not (tmp_path / "none.png").exists()
    for number in (10, 2, 1, 7):
        image = np.full((400, 300, 3), 20 * number, np.uint8)
        sheet.add(CutoutResult(image, f"in/{number}.png", alpha=np.full((400, 300), 0.5, np.float32)))
    assert sheet.count == 4 and sheet.write(tmp_path / "sheet.png")
    picture = read_image(Path(tmp_path / "sheet.png"))
    assert picture.shape == (3 * (22 + 40), 3 * 60 + 2 * 4, 3)
    assert [int(picture[22 + 20 + 62 * row, 30, 0]) for row in range(3)] == [20, 40, 200]
    assert abs(int(picture[42, 64 + 30, 0]) - 128) <= 1  # alpha
