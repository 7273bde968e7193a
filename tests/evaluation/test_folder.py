"""Folders of predictions: figures, problems, going on, processes that die."""
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from folders import NAMES, make_folders

from dense.errors import ConfigError, DatasetError, DenseError
from dense.evaluation import folder as module
from dense.evaluation.folder import evaluate_folders
from dense.evaluation.measures import GROUPS, MEASURES, evaluate_pair, resolve, summarise
from dense.evaluation.pool import Died, work
from dense.io import read_mask


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    return make_folders(tmp_path)


def direct(folder: Path, names=GROUPS["all"], **options) -> list[dict]:
    truths = folder.parent / "data" / "gt"
    return [evaluate_pair(read_mask(folder / f"{n}.png"), read_mask(truths / f"{n}.png"), names, **options)
            for n in NAMES]


def kinds(result) -> list[tuple[str, str]]:
    return [(problem.name, problem.kind) for problem in result.method.problems]


@pytest.mark.parametrize("truths", ["data", "data/gt"])
def test_figures_are_those_of_the_functions(root, truths):
    evaluation = evaluate_folders([root / "soft_net", root / "hard"], root / truths, jobs=1)
    assert evaluation.complete and evaluation.total == 12 and evaluation.reused == 0
    assert evaluation.pictures == root / "data" / "im"
    for result, name in zip(evaluation.results, ("soft_net", "hard"), strict=True):
        rows = direct(root / name)
        assert result.method.name == name
        assert [row["name"] for row in result.rows] == NAMES
        for row, expected in zip(result.rows, rows, strict=True):
            assert {column: row[column] for column in expected} == expected
        assert {k: result.figures[k] for k in MEASURES} == summarise(rows, GROUPS["all"])
        assert result.figures["HCE"] == pytest.approx(sum(v for k, v in result.figures.items() if k.startswith("HCE_")))
    assert [row["note"] for row in evaluation.results[0].rows][:2] == ["empty ground truth: F is 0", ""]


def test_of_a_data_set(root):
    rows = direct(root / "soft_net")
    figures = summarise(rows, GROUPS["all"])
    for name in ("meanF", "adpF", "wF", "MAE", "S", "meanE", "adpE", "HCE", "IoU", "BIoU"):
        assert figures[name] == pytest.approx(np.mean([row[name] for row in rows]))
    # the maximum is that of a mean curve: no better than the mean of the images' own maxima
    assert figures["maxE"] <= np.mean([row["maxE"] for row in rows])
    assert figures["maxF_image"] <= np.mean([row["maxF"] for row in rows])
    assert figures["maxF"] != figures["maxF_image"]


def test_stretching_is_asked_for(root):
    (result,) = evaluate_folders([root / "soft_net"], root / "data", "fast", stretched=True, jobs=1).results
    assert result.figures == summarise(direct(root / "soft_net", GROUPS["fast"], stretched=True), GROUPS["fast"])
    assert result.figures != summarise(direct(root / "soft_net", GROUPS["fast"]), GROUPS["fast"])


def test_nothing_is_skipped_silently(root):
    folder = root / "soft_net"
    (folder / "p_0.png").unlink()
    (folder / "p_1.png").write_bytes((folder / "p_1.png").read_bytes()[:60])
    cv2.imwrite(str(folder / "p_2.png"), np.zeros((10, 12), np.uint8))
    cv2.imwrite(str(folder / "other.png"), np.zeros((10, 12), np.uint8))
    (folder / "p_3.bmp").write_bytes(b"")
    cv2.imwrite(str(root / "data" / "gt" / "p_4.png"), np.ones((48, 56), np.uint8))
    evaluation = evaluate_folders([folder], root / "data" / "gt", "MAE", jobs=1)
    (result,) = evaluation.results
    assert [row["name"] for row in result.rows] == ["p_5"]
    assert sorted(kinds(result)) == [("other", "extra"), ("p_0", "missing"), ("p_1", "unreadable"), ("p_2", "size"),
                                     ("p_3", "ambiguous"), ("p_4", "unreadable")]
    details = {problem.name: problem.detail for problem in result.method.problems}
    assert str(folder / "p_1.png") in details["p_1"]
    assert "12x10" in details["p_2"] and "104x96" in details["p_2"] and "--resize" in details["p_2"]
    assert "0 and 1" in details["p_4"] and str(root / "data" / "gt" / "p_4.png") in details["p_4"]
    assert not evaluation.complete


def test_an_extra_prediction_alone_is_no_failure(root):
    cv2.imwrite(str(root / "hard" / "other.png"), np.zeros((10, 12), np.uint8))
    evaluation = evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1)
    assert evaluation.complete and kinds(evaluation.results[0]) == [("other", "extra")]


def test_resizing_is_linear_and_noted(root):
    truth = read_mask(root / "data" / "gt" / "p_3.png")
    half = np.tile(np.linspace(0, 255, 28).astype(np.uint8), (24, 1))
    cv2.imwrite(str(root / "hard" / "p_3.png"), half)
    (result,) = evaluate_folders([root / "hard"], root / "data", "MAE,HCE", resize=True, jobs=1).results
    row = next(row for row in result.rows if row["name"] == "p_3")
    scaled = np.rint(cv2.resize(half.astype(np.float32), (56, 48))).astype(np.uint8)
    expected = evaluate_pair(scaled, truth, ("MAE", "HCE"))
    assert {k: row[k] for k in expected} == expected
    assert row["note"] == "scaled from 28x24"


def test_masks_of_any_kind_are_read(root):
    """16-bit, colour and transparent files hold the same mask as the 8-bit one."""
    plain = read_mask(root / "soft_net" / "p_3.png")
    cv2.imwrite(str(root / "soft_net" / "p_3.png"), plain.astype(np.uint16) * 257)
    plain = read_mask(root / "soft_net" / "p_4.png")
    cv2.imwrite(str(root / "soft_net" / "p_4.png"), np.dstack([np.full((*plain.shape, 3), 255, np.uint8), plain]))
    changed = evaluate_folders([root / "soft_net"], root / "data", "dis", jobs=1).results[0].figures
    make_folders(root)
    assert changed == evaluate_folders([root / "soft_net"], root / "data", "dis", jobs=1).results[0].figures


def test_a_prediction_of_labels_is_noted(root):
    mask = read_mask(root / "hard" / "p_3.png")
    cv2.imwrite(str(root / "hard" / "p_3.png"), (mask > 0).astype(np.uint8))
    (result,) = evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1).results
    assert result.rows[3]["note"].startswith("prediction of 0 and 1")


@pytest.mark.parametrize(("folders", "truths", "words"), [
    (["none"], "data", "none: the folder does not exist"),
    (["hard"], "none", "does not exist"),
    (["data"], "data/gt", "no predictions .* gt, im"),
    (["strange"], "data/gt", "none of its 1 pictures has the name of one of the 6 ground truths"),
    (["hard", "hard"], "data", "given twice"),
    (["hard"], "splits", "name a split: DIS-VD"),
    (["broken"], "data", "none of 1 predictions could be evaluated.*broken"),
])
def test_nothing_to_evaluate_is_explained(root, folders, truths, words):
    (root / "strange").mkdir()
    cv2.imwrite(str(root / "strange" / "x.png"), np.zeros((4, 4), np.uint8))
    (root / "broken").mkdir()
    (root / "broken" / "p_1.png").write_bytes(b"text")
    for inner in ("im", "gt"):
        (root / "splits" / "DIS-VD" / inner).mkdir(parents=True)
    with pytest.raises(DenseError, match=words):
        evaluate_folders([root / name for name in folders], root / truths, "MAE", jobs=1)


def test_names_of_methods(root):
    (root / "a").mkdir()
    (root / "hard").rename(root / "a" / "masks")
    (root / "b").mkdir()
    (root / "soft_net").rename(root / "b" / "masks")
    folders = [root / "a" / "masks", root / "b" / "masks"]
    methods = [r.method for r in evaluate_folders(folders, root / "data", "MAE", jobs=1).results]
    assert [(m.name, m.key) for m in methods] == [("a/masks", "a_masks"), ("b/masks", "b_masks")]
    methods = [r.method for r in evaluate_folders(folders, root / "data", "MAE", labels=["x/1", "x:1"], jobs=1).results]
    assert [m.key for m in methods] == ["x_1", "x_1_2"]
    for labels in (["one"], ["same", "same"]):
        with pytest.raises(ConfigError, match="a name of its own"):
            evaluate_folders(folders, root / "data", "MAE", labels=labels, jobs=1)


def test_names_of_measures():
    assert resolve("all") == tuple(MEASURES)
    assert resolve("dis") == ("maxF", "wF", "MAE", "S", "meanE", "HCE")
    assert resolve("hce, MAE,fast") == ("HCE", "MAE", "maxF", "meanF", "adpF", "IoU")
    for names, words in (("maxG", "unknown metrics maxG; known: .*maxF.*did you mean"), ("", "no metric")):
        with pytest.raises(ConfigError, match=words):
            resolve(names)


def test_a_later_run_goes_on(root, monkeypatch):
    journal = root / "out" / "journal.jsonl"
    first = evaluate_folders([root / "hard"], root / "data", "MAE,maxF", jobs=1, journal=journal)
    text = journal.read_text()
    lines = text.splitlines(keepends=True)
    assert len(lines) == len(NAMES)
    journal.write_text("".join(lines[:2]) + "{}\n" + lines[3][: len(lines[3]) // 2])  # killed while it wrote
    done = []
    original = module.evaluate_item
    monkeypatch.setattr(module, "evaluate_item",
                        lambda settings, item: done.append(item.name) or original(settings, item))
    again = evaluate_folders([root / "hard"], root / "data", "MAE,maxF", jobs=1, journal=journal)
    assert sorted(done) == NAMES[2:] and again.reused == 2
    assert again.results[0].rows == first.results[0].rows and again.results[0].figures == first.results[0].figures
    assert journal.read_text() == text
    done.clear()
    assert evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1, journal=journal).reused == 6
    assert done == []
    evaluate_folders([root / "hard"], root / "data", "MAE,S", jobs=1, journal=journal)  # one that is not there yet
    assert sorted(done) == NAMES


def test_what_changed_is_computed_anew(root):
    journal = root / "journal.jsonl"
    evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1, journal=journal)
    os.replace(root / "soft_net" / "p_3.png", root / "hard" / "p_3.png")
    assert evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1, journal=journal).reused == 5
    assert evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1, journal=journal, stretched=True).reused == 0
    mask = read_mask(root / "data" / "gt" / "p_4.png")
    cv2.imwrite(str(root / "data" / "gt" / "p_4.png"), 255 - mask)
    assert evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1, stretched=True, journal=journal).reused == 5


def test_an_interruption_keeps_what_is_done(root, monkeypatch):
    journal = root / "journal.jsonl"
    original, calls = module.evaluate_item, []

    def stop(settings, item):
        calls.append(item)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(settings, item)

    with monkeypatch.context() as patch:
        patch.setattr(module, "evaluate_item", stop)
        with pytest.raises(KeyboardInterrupt):
            evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1, journal=journal)
    assert len([json.loads(line) for line in journal.read_text().splitlines()]) == 3
    assert evaluate_folders([root / "hard"], root / "data", "MAE", jobs=1, journal=journal).reused == 3


def die_at_three(item: int) -> int:
    if item == 3:
        os._exit(7)
    return item * item


def refuse(item: int) -> int:
    raise DatasetError(f"item {item}")


def test_a_process_that_dies_costs_one_item():
    found = list(work(die_at_three, [[0, 1], [2, 3], [4], [5]], 2))
    assert found.count(Died(3)) == 1
    assert sorted(x for x in found if not isinstance(x, Died)) == [0, 1, 4, 16, 25]


def test_errors_of_the_work_arrive():
    with pytest.raises(DatasetError, match=r"item [12]"):
        list(work(refuse, [[1], [2]], 2))
