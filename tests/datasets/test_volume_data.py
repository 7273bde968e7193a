"""Volumes: nnU-Net's folders and lists, folds, preparation and its cache, and what is wrong with people's files."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="volumes need the extra 'medical'")

from volumes import draw_volume, make_set, save

from dense.datasets.volume import VolumeDataset
from dense.datasets.volume_cache import VolumeCache, find_places, prepare_labels
from dense.datasets.volume_cases import VolumeCase, read_dataset_json, read_list, split_cases
from dense.errors import DatasetError, DenseError, ImageError
from dense.tasks import VolumeTask

TASK = VolumeTask(size=(16, 16, 16), spacing=(2.0, 1.0, 1.5), channels=("C0",), classes=("background", "ball", "box"))
TRAIN = [dict(type="RandomVolumeSpatial"), dict(type="VolumePatch"), dict(type="RandomVolumeNoise"),
         dict(type="RandomVolumeMirror"), dict(type="PackVolume")]
PLAIN = [dict(type="PackVolume", mode="plain")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """Six cases that no test changes."""
    return make_set(tmp_path_factory.mktemp("volumes") / "data")


def names(dataset) -> list[str]:
    return [c.name for c in dataset.cases]


# folders, lists, folds

def test_nnunet_s_folders(shared):
    data = VolumeDataset(shared, None, PLAIN, TASK)
    assert names(data) == [f"a{i}" for i in range(6)] and len(data) == 6
    assert data.metainfo["classes"] == TASK.classes
    packed = data[2]
    sample, (values, labels) = packed["data_samples"], draw_volume(2)
    assert np.array_equal(packed["inputs"][0].numpy(), values) and np.array_equal(sample.gt_labels.numpy(), labels)
    assert sample.spacing == pytest.approx((2.0, 1.0, 1.5)) and sample.mode == "plain" and sample.name == "a2"


def test_folds_are_nnunet_s(shared):
    # of sklearn 1.7.2, KFold(5, shuffle=True, random_state=12345) on 12 names in order
    cases = [VolumeCase(f"c{i:02}", (Path("x"),), Path("y")) for i in range(12)]
    expected = [[0, 3, 8], [7, 10, 11], [6, 9], [1, 4], [2, 5]]
    for fold, held_out in enumerate(expected):
        assert [c.name for c in split_cases(cases, "val", fold)] == [f"c{i:02}" for i in held_out]
        assert {c.name for c in split_cases(cases, "train", fold)} == {c.name for c in cases} - {
            f"c{i:02}" for i in held_out}
    parts = [n for f in range(3) for n in names(VolumeDataset(shared, "val", task=TASK, fold=f, folds=3))]
    assert sorted(parts) == [f"a{i}" for i in range(6)]


def test_a_listing_of_splits_is_followed(tmp_path):
    make_set(tmp_path, 3, splits=[{"train": ["a0"], "val": ["a1", "a2"]}, {"train": ["a2"], "val": ["b"]}])
    assert names(VolumeDataset(tmp_path, "val", task=TASK)) == ["a1", "a2"]
    with pytest.raises(DatasetError, match=r"splits_final.json: b, of fold 1, is not among the cases"):
        VolumeDataset(tmp_path, "val", task=TASK, fold=1)
    with pytest.raises(DatasetError, match=r"has no fold 2.*fold=0 to 1"):
        VolumeDataset(tmp_path, "val", task=TASK, fold=2)


def test_the_test_part_and_lists(tmp_path, shared):
    make_set(tmp_path, 2, part="Ts")
    assert names(VolumeDataset(tmp_path, "test", task=TASK)) == ["a0", "a1"]
    rows = [{"image": f"imagesTr/a{i}_0000.nii.gz", "label": f"labelsTr/a{i}.nii.gz"} for i in (4, 1)]
    assert names(VolumeDataset(shared, None, task=TASK, cases=rows)) == ["a4", "a1"]
    (tmp_path / "list.json").write_text(json.dumps([dict(rows[0], name="one")]))
    data = VolumeDataset(shared, None, PLAIN, TASK, cases=tmp_path / "list.json")
    assert names(data) == ["one"] and data[0]["data_samples"].gt_labels.max() == 2


def test_label_values_of_both_versions_of_dataset_json(tmp_path):
    two = {"channel_names": {"1": "b", "0": "a"}, "labels": {"background": 0, "x": 7, "y": 2, "ignore": 9}}
    (tmp_path / "2.json").write_text(json.dumps(two))
    found = read_dataset_json(tmp_path / "2.json")
    assert (found.channels, found.classes, found.values, found.ignore) == (
        ("a", "b"), ("background", "y", "x"), (0, 2, 7), 9)
    one = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "tumour"}}
    (tmp_path / "1.json").write_text(json.dumps(one))
    found = read_dataset_json(tmp_path / "1.json")
    assert (found.channels, found.classes, found.ignore) == (("CT",), ("background", "liver", "tumour"), None)


@pytest.mark.parametrize(("labels", "message"), [
    ({"background": 0, "whole": [1, 2]}, "'whole' is a region"), ({"a": 1, "b": 2}, "0 for the background"),
    ({"background": 0, "a": 1, "b": 1}, "different number"), ({"background": 0, "a": -1}, "whole numbers"),
    ([], "no \"l")])
def test_descriptions_that_cannot_be_used(tmp_path, labels, message):
    (tmp_path / "d.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": labels}))
    with pytest.raises(DatasetError, match=message):
        read_dataset_json(tmp_path / "d.json")


def test_ignored_and_scattered_label_values(tmp_path):
    make_set(tmp_path, 1, labels={"background": 0, "ball": 5, "ignore": 9}, stored=(0, 5, 9))
    task = replace(TASK, classes=("background", "ball"), palette=())
    labels = VolumeDataset(tmp_path, None, PLAIN, task)[0]["data_samples"].gt_labels.numpy()
    assert np.array_equal(labels, np.array([0, 1, -1])[draw_volume(0)[1]])


# preparation

def test_prepared_volumes_are_the_task_s(shared, own_cache):
    data = VolumeDataset(shared, None, TRAIN, replace(TASK, spacing=(1.5, 1.5, 1.5)))
    case = data.cache.get(data.cases[3])
    expected = data.task.prepare(draw_volume(3)[0], (2.0, 1.0, 1.5))
    assert np.array_equal(case.values, expected.values) and case.values.dtype == np.float32
    assert case.labels.shape == expected.shape == (37, 21, 26)
    assert isinstance(case.values, np.memmap) and not case.values.flags.writeable
    for index, places in case.places.items():
        assert index in (1, 2) and (case.labels[tuple(places.T)] == index).all()
        assert len(places) == (case.labels == index).sum()


STORED = np.load(Path(__file__).resolve().parents[1] / "data" / "nnunet_labels_resampled.npz")


@pytest.mark.parametrize("name", sorted({k.split("/")[0] for k in STORED}))
def test_nnunet_s_own_resampled_labels(name):
    # by tests/oracles/make_nnunet_labels_reference.py
    source, spacing, target = (STORED[f"{name}/{k}"] for k in ("source", "spacing", "target"))
    task = replace(TASK, spacing=tuple(target), crop=False, classes=tuple(map(str, range(5))), palette=())
    prepared = task.prepare(np.ones(source.shape, np.float32), tuple(spacing))
    differing = prepare_labels(source, prepared, task) != STORED[f"{name}/labels"]
    # two to one along x, there are ties, which its rounding in float64 sometimes decides and sometimes does not
    assert np.count_nonzero(differing) == (8 if name == "coarser" else 0)


def test_the_cache_is_used_and_depends_on_files_and_settings(tmp_path, own_cache, monkeypatch):
    make_set(tmp_path / "data", 1)
    folder = own_cache.parent / "volumes"
    data = VolumeDataset(tmp_path / "data", None, TRAIN, TASK)
    data[0]
    entries = {p for p in folder.glob("??/*") if p.is_dir()}
    assert len(entries) == 1
    made = []
    make = VolumeCache._make
    monkeypatch.setattr(VolumeCache, "_make", lambda self, case, entry: made.append(entry) or make(self, case, entry))
    VolumeDataset(tmp_path / "data", None, TRAIN, replace(TASK, size=(8, 8, 8), step=0.3, mirror=()))[0]
    assert not made  # what does not change the prepared volume does not count
    VolumeDataset(tmp_path / "data", None, TRAIN, replace(TASK, order=1))[0]
    assert len(made) == 1
    save(tmp_path / "data/labelsTr/a0.nii.gz", draw_volume(0)[1] // 2)
    assert VolumeDataset(tmp_path / "data", None, TRAIN, TASK).cache.get(data.cases[0]).places.keys() == {1}
    assert len(made) == 2


def test_a_damaged_entry_and_a_cache_that_cannot_be_written(shared, own_cache):
    data = VolumeDataset(shared, None, TRAIN, TASK, cache=own_cache / "here")
    data[0]
    entry, = (p for p in (own_cache / "here").glob("??/*") if p.is_dir())
    (entry / "values.npy").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"of a0 is damaged.*delete that folder"):
        data[0]
    (own_cache / "file").write_text("")
    with pytest.raises(DenseError, match=r"file.*cannot be written"):
        VolumeDataset(shared, None, TRAIN, TASK, cache=own_cache / "file")[0]


def test_many_places_are_a_sample():
    labels = np.ones((30, 30, 30), np.int16)
    labels[0], labels[1] = 0, -1
    places = find_places(labels, 3)
    assert list(places) == [1] and places[1].shape == (10_000, 3) and len(np.unique(places[1], axis=0)) == 10_000
    assert places[1][:, 0].min() >= 2


# what is wrong with people's files

def spoil_nan(root):
    values = draw_volume(0)[0]
    values[5, 5, 5] = np.nan
    save(root / "imagesTr/a0_0000.nii.gz", values)


def spoil_cut(root):
    path = root / "imagesTr/a0_0000.nii.gz"
    path.write_bytes(path.read_bytes()[:3000])


@pytest.mark.parametrize(("spoil", "message"), [
    (spoil_nan, r"a0_0000.nii.gz: has 1 NaN voxels.*Remedy"), (spoil_cut, r"a0_0000.nii.gz: "),
    (lambda r: save(r / "labelsTr/a0.nii.gz", draw_volume(0)[1], (2.0, 1.0, 1.0)),
     r"a0.nii.gz: has voxels of .*1\.0\) mm .*a0_0000.nii.gz of .*1\.5\).*Remedy"),
    (lambda r: save(r / "labelsTr/a0.nii.gz", draw_volume(0)[1][:-1]), r"a0.nii.gz: has 28 x 34 x 29 voxels.*Remedy"),
    (lambda r: save(r / "labelsTr/a0.nii.gz", draw_volume(0)[1] + 3),
     r"a0.nii.gz: has values that are no class: 3 \(\d+ voxels\), 4 .*dataset.json has 0, 1, 2"),
    (lambda r: save(r / "labelsTr/a0.nii.gz", draw_volume(0)[1] * np.float32(0.5)), r"no class: 0.5 \(\d+ voxels\)")])
def test_bad_files_are_named_with_a_remedy(tmp_path, spoil, message):
    make_set(tmp_path, 2)
    spoil(tmp_path)
    for pipeline in (TRAIN, PLAIN):
        data = VolumeDataset(tmp_path, None, pipeline, TASK)
        with pytest.raises(ImageError, match=message):
            data[0]
        data[1]


def test_all_that_is_wrong_is_said_at_the_end(tmp_path):
    make_set(tmp_path, 4)
    spoil_nan(tmp_path)
    save(tmp_path / "labelsTr/a2.nii.gz", draw_volume(2)[1][1:])
    data, seen = VolumeDataset(tmp_path, None, TRAIN, TASK), []
    with pytest.raises(DatasetError, match=r"(?s)2 of 4 cases cannot be used:\n.*a0_0000.*\n.*a2.nii.gz"):
        data.prepare(lambda done, total: seen.append((done, total)))
    assert seen == [(i, 4) for i in range(1, 5)]
    VolumeDataset(tmp_path, None, PLAIN, TASK).prepare()  # nothing is prepared for what is read whole


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda r: (r / "dataset.json").unlink(), r"(?s)has no dataset.json.*imagesTr.*--data-root"),
    (lambda r: (r / "labelsTr/a1.nii.gz").unlink(), "a1 has no labels"),
    (lambda r: (r / "imagesTr/a1_0000.nii.gz").unlink(), "a1 has no image"),
    (lambda r: (r / "imagesTr/a1_0000.nii.gz").rename(r / "imagesTr/a1.nii.gz"), "does not end with the channel"),
    (lambda r: (r / "imagesTr/a1_0000.nii.gz").rename(r / "imagesTr/a1_0001.nii.gz"), r"a1 has the channels \[1\]"),
    (lambda r: (r / "splits_final.json").write_text("{"), "splits_final.json: cannot be read")])
def test_bad_folders(tmp_path, spoil, message):
    make_set(tmp_path, 5)
    spoil(tmp_path)
    with pytest.raises(DatasetError, match=message):
        VolumeDataset(tmp_path, "train", task=TASK)


def test_what_does_not_go_together(shared, tmp_path):
    with pytest.raises(DatasetError, match="classes background, ball, box are not those of the task, background, x"):
        VolumeDataset(shared, None, task=replace(TASK, classes=("background", "x"), palette=()))
    with pytest.raises(DatasetError, match="channels C0 are not those of the task, CT"):
        VolumeDataset(shared, None, task=replace(TASK, channels=("CT",)))
    with pytest.raises(DatasetError, match="6 cases cannot be cut into 7 folds"):
        VolumeDataset(shared, "train", task=TASK, folds=7)
    with pytest.raises(DatasetError, match="no split is called 'validation'"):
        VolumeDataset(shared, "validation", task=TASK)
    with pytest.raises(DatasetError, match="x is there twice"):
        read_list([{"image": "a", "label": "b", "name": "x"}] * 2, tmp_path)
    with pytest.raises(DatasetError, match="has no labels"):
        VolumeDataset(shared, None, task=TASK, cases=[{"image": "imagesTr/a0_0000.nii.gz"}])


# draws

def test_a_draw_depends_on_seed_epoch_and_index_alone(shared):
    data, again = (VolumeDataset(shared, None, TRAIN, TASK, seed=3, length=8) for _ in range(2))
    for draw in (0, 5, 7, 8, 21):
        one, other = data[draw], again[draw]
        assert np.array_equal(one["inputs"], other["inputs"])
        assert np.array_equal(one["data_samples"].gt_labels, other["data_samples"].gt_labels)
    assert not np.array_equal(data[0]["inputs"], data[8]["inputs"])
    assert not np.array_equal(data[0]["inputs"], VolumeDataset(shared, None, TRAIN, TASK, seed=4)[0]["inputs"])
    assert data[7]["data_samples"].name == "a1"  # cases take turns
