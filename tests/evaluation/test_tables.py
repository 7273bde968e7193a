"""Tables and pictures that an evaluation leaves."""
from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from folders import NAMES, make_folders

from dense.evaluation.folder import Evaluation, evaluate_folders
from dense.evaluation.report import write_report
from dense.evaluation.tables import best, escape_latex, foot, latex, markdown
from dense.io import read_image


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    return make_folders(tmp_path)


def evaluation(root: Path, *folders: str, names="dis", **options) -> Evaluation:
    return evaluate_folders([root / name for name in folders], root / "data", names, jobs=1, **options)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_markdown(root):
    found = evaluation(root, "soft_net", "hard", labels=["soft|net", "hard"])
    lines = markdown(found).splitlines()
    assert cells(lines[0]) == ["", "maxF ↑", "wF ↑", "MAE ↓", "S ↑", "meanE ↑", "HCE ↓", "images"]
    assert lines[2].startswith(r"| soft\|net |")
    soft, hard = (line.split(" | ")[1:] for line in lines[2:4])
    for column, name in enumerate(found.settings.names):
        values = [result.figures[name] for result in found.results]
        winner = values.index((min if name in ("MAE", "HCE") else max)(values))
        shown = [soft[column].strip(), hard[column].strip()]
        assert shown[winner] == f"**{values[winner]:.{0 if name == 'HCE' else 3}f}**"
        assert "*" not in shown[1 - winner]
    assert cells(lines[5]) == ["HCE in parts", "FP points", "FP regions", "FN points", "FN regions"]
    figures = found.results[1].figures
    assert [float(cell) for cell in cells(lines[8])[1:]] == pytest.approx(
        [figures[f"HCE_{part}"] for part in ("fp_points", "fp_independent", "fn_points", "fn_independent")], abs=0.05)


def test_latex_of_names_with_underscores(root):
    text = latex(evaluation(root, "soft_net", "hard", labels=["soft_net & 50%", "hard"]))
    assert r"soft\_net \& 50\% & " in text
    assert not [line for line in text.splitlines() if "soft_net" in line and not line.startswith("%")]
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    head, *rows = [line for line in text.splitlines() if line.endswith(r"\\")][:3]
    assert head.startswith(r"Method & maxF $\uparrow$ & wF $\uparrow$ & MAE $\downarrow$")
    assert {len(re.split(r"(?<!\\)&", row)) for row in (head, *rows)} == {7}
    assert sum(row.count(r"\textbf{") for row in rows) == 6
    assert escape_latex("a_b\\c^~{}#$") == r"a\_b\textbackslash{}c\textasciicircum{}\textasciitilde{}\{\}\#\$"


def test_equal_figures_are_both_best(root):
    found = evaluation(root, "soft_net", "hard", names="MAE")
    found.results[1].figures["MAE"] = found.results[0].figures["MAE"] + 1e-6
    assert best(found.results, "MAE") == {0, 1}
    assert best(found.results[:1], "MAE") == set()
    assert r"\textbf" not in latex(evaluation(root, "hard", names="MAE"))


def test_nothing_is_best_where_the_images_differ(root):
    (root / "hard" / "p_2.png").unlink()
    found = evaluation(root, "soft_net", "hard", names="MAE,HCE")
    assert best(found.results, "MAE") == set() and "**" not in markdown(found)
    table = [line.split(" & ") for line in latex(found).splitlines() if " & " in line][:3]
    assert [row[-1].removesuffix(r" \\") for row in table] == ["images", "6", "5"]
    assert r"\textbf" not in latex(found)
    (root / "soft_net" / "p_2.png").unlink()
    assert "images" not in latex(evaluation(root, "soft_net", "hard", names="MAE")).split("%")[0]


def test_pictures_of_an_earlier_report_are_removed(root):
    out = root / "out"
    write_report(evaluation(root, "soft_net", "hard", names="MAE,maxF"), out, worst=1)
    (out / "scatter_mine.png").write_bytes(b"kept")
    assert (out / "scatter_MAE.png").is_file() and (out / "hard" / "worst_MAE.png").is_file()
    write_report(evaluation(root, "soft_net", "hard", names="maxF"), out, worst=1)
    assert {p.name for p in out.glob("scatter_*")} == {"scatter_maxF.png", "scatter_mine.png"}
    assert [p.name for p in (out / "hard").glob("worst_*")] == ["worst_maxF.png"]
    write_report(evaluation(root, "hard", names="maxF"), out, worst=1)
    assert {p.name for p in out.glob("scatter_*")} == {"scatter_mine.png"}


def test_the_foot_counts_and_lists(root):
    for name in NAMES[2:5]:
        (root / "hard" / f"{name}.png").unlink()
    text = foot(evaluation(root, "soft_net", "hard", names="MAE"))
    assert "hard: 3 of 6 images evaluated; 3 without a prediction" in text
    assert all(f"{name}.png: no prediction of this name" in text for name in NAMES[2:5])
    assert "their figures do not compare" in text
    short = foot(evaluation(root, "hard", names="MAE"), examples=1)
    assert "- ... and 2 more without a prediction" in short and "p_4" not in short
    assert "soft_net: 1 image: empty ground truth: F is 0" in text


def test_one_is_no_plural(root):
    for name in ("x", "y"):
        shutil.copy(root / "hard" / "p_0.png", root / "hard" / f"{name}.png")
    found = evaluation(root, "hard", names="MAE")
    assert "; 2 predictions without a ground truth" in foot(found)
    assert "- ... and 1 more prediction without a ground truth" in foot(found, examples=1)
    (root / "hard" / "y.png").unlink()
    assert "; 1 prediction without a ground truth" in foot(evaluation(root, "hard", names="MAE"))


def test_a_method_without_results_stays_in_the_table(root):
    for name in NAMES:
        (root / "hard" / f"{name}.png").write_bytes(b"")
    found = evaluation(root, "soft_net", "hard", names="MAE,HCE")
    assert cells(markdown(found).splitlines()[3]) == ["hard", "-", "-", "0"]
    write_report(found, root / "out")
    assert not (root / "out" / "hard").exists()


def test_report(root):
    found = evaluation(root, "soft_net", "hard", names="maxF,HCE")
    out = root / "out"
    write_report(found, out, worst=2)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "curves.png", "hard/per_image.csv", "hard/per_image.json", "hard/worst_HCE.png", "scatter_HCE.png",
        "scatter_maxF.png", "soft_net/per_image.csv", "soft_net/per_image.json", "soft_net/worst_HCE.png",
        "summary.json", "summary.md", "summary.tex"]
    summary = json.loads((out / "summary.json").read_text())
    for method, result in zip(summary["methods"], found.results, strict=True):
        assert method["figures"] == result.figures and method["images"] == 6 and method["problems"] == []
        with open(out / method["name"] / "per_image.csv", newline="") as file:
            table = list(csv.DictReader(file))
        objects = json.loads((out / method["name"] / "per_image.json").read_text())
        assert [row["name"] for row in table] == [row["name"] for row in objects] == NAMES
        for row, entry, original in zip(table, objects, result.rows, strict=True):
            assert float(row["maxF"]) == entry["maxF"] == original["maxF"]
            assert int(row["HCE"]) == entry["HCE"] == sum(int(row[f"HCE_{part}"]) for part in (
                "fp_points", "fp_independent", "fn_points", "fn_independent"))
    for picture in out.rglob("*.png"):
        assert read_image(picture).std() > 5
    with_pictures = read_image(out / "hard" / "worst_HCE.png").shape
    found.pictures = None
    write_report(found, out, worst=1)
    without = read_image(out / "hard" / "worst_HCE.png").shape
    assert with_pictures[1] > 1.3 * without[1] and with_pictures[0] > 1.8 * without[0]  # four panels, two rows


def test_no_curves_without_counts(root):
    write_report(evaluation(root, "hard"), root / "out", worst=0)
    assert (root / "out" / "curves.png").is_file()
    write_report(evaluation(root, "hard", names="MAE"), root / "out", worst=0)
    assert not (root / "out" / "curves.png").exists()  # that of the earlier run would be taken for this one's
    assert not list((root / "out").rglob("worst_*"))


def test_three_methods_are_compared_in_pairs(root):
    found = evaluation(root, "soft_net", "hard", names="MAE,maxF_image,maxF")
    found.results.append(found.results[0])
    write_report(found, root / "out", worst=0)
    assert {p.name for p in (root / "out").glob("scatter_*")} == {"scatter_MAE.png", "scatter_maxF.png"}
    picture = read_image(root / "out" / "scatter_MAE.png")
    assert picture.shape[1] > 2.5 * picture.shape[0]
