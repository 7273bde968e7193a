"""The bundled scenes: complete, labelled with the classes of the class file, small, and made as the script says."""
import json
from pathlib import Path

import numpy as np
import pytest

from dense.datasets.check import check_dataset
from dense.datasets.semantic import SemanticDataset
from dense.io.classes import read_classes
from dense.tasks import SemanticTask

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data" / "scenes"


@pytest.fixture(scope="module")
def manifest() -> dict:
    return json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture
def render(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "data"))
    import _scenes_render

    return _scenes_render


def test_the_set_is_sound():
    report = check_dataset(DATA)
    assert [f for f in report.findings if f.level != "note"] == []
    assert report.pairs == {"train": 80, "val": 24}


def test_every_class_is_in_both_splits_and_in_the_readme(manifest):
    classes = read_classes(DATA / "classes.txt")
    task = SemanticTask(classes=classes.names, palette=classes.colours)
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for column, split in ((2, "train"), (3, "val")):
        data = SemanticDataset(DATA, split, [dict(type="LoadSemantic")], task)
        counts = sum(np.bincount(data[i]["mask"].ravel(), minlength=256) for i in range(len(data)))
        share = 100 * counts / counts.sum()
        assert {p.name for p in data.pairs} == {r["name"] for r in manifest["pictures"] if r["split"] == split}
        for index, name in enumerate(classes.names):
            row = next(line for line in readme.splitlines() if line.startswith(f"| {name} |"))
            assert row.split("|")[column].strip() == f"{share[index]:.1f} %"
            assert share[index] > 1
        assert counts[255] and counts[6:255].sum() == 0


def test_the_folder_is_small_and_says_where_it_comes_from(manifest):
    assert sum(p.stat().st_size for p in DATA.rglob("*") if p.is_file()) <= 6_000_000
    licences = (DATA / "LICENSES.md").read_text(encoding="utf-8")
    assert all(f"## {source}" in licences for source in manifest["sources"]) and "CC0" in licences
    assert len({tuple(r["seed"]) for r in manifest["pictures"]}) == 104


def test_a_scene_depends_on_the_seed_alone(render):
    rng = np.random.default_rng(0)
    textures = {name: 1 + 0.2 * rng.standard_normal((64, 64)).astype(np.float32)
                for name in ("brick", "grass", "gravel", "plain")}
    one, same, other = (render.render(np.random.default_rng(seed), textures, 48, 64) for seed in (1, 1, 2))
    assert one[0].shape == (48, 64, 3) and one[1].shape == (48, 64) and one[0].dtype == one[1].dtype == np.uint8
    assert np.array_equal(one[0], same[0]) and np.array_equal(one[1], same[1])
    assert not np.array_equal(one[1], other[1])
    assert set(np.unique(one[1])) <= {*range(len(render.CLASSES)), render.IGNORE}
    sky = one[1] == render.SKY
    assert sky[0].mean() > 0.3 and not sky[-1].any()


def test_the_classes_are_those_of_the_script_and_the_config(render):
    from dense.engine.settings import Settings, load_config

    classes = read_classes(DATA / "classes.txt")
    assert classes.names == render.CLASSES and classes.colours == render.COLOURS
    pytest.importorskip("mmseg", reason="the config needs the extra 'seg'")
    cfg = load_config("ffnet_scenes", Settings())
    assert tuple(cfg.task["classes"]) == classes.names and cfg.model.network.num_classes == 6
