"""STU-Net's export: batches vary, patches do not; the same labels on every backend; verification on volumes."""
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference import refill

from dense import build_model
from dense.backends import BACKENDS, open_session, read_bundle
from dense.cli import main
from dense.deployment.checks import check_of
from dense.deployment.verify import compare_golden, verify
from dense.deployment.volume_check import Answer
from dense.errors import ConfigError, DatasetError, InputError
from dense.io.volume import Volume, volume_from_array, write_labels, write_values
from dense.tasks.golden import golden_volume
from dense.tasks.volume import VolumeTask
from dense.weights.files import write_weights

SIZE = (32, 32, 32)
SETTINGS = {"name": "stunet_small", "width": 0.25, "num_classes": 3,
            "pool": [[2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 1, 1], [1, 1, 1]]}
TASK = VolumeTask(size=SIZE, spacing=None, channels=("T1",), classes=("background", "a", "b"), mirror=(2,))


def make_data(root, count=2) -> None:
    """A data set in nnU-Net's layout, of small golden volumes."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        values = golden_volume((40, 36, 44), seed=index)
        volume = volume_from_array(values, (1.0, 1.0, 1.0), np.eye(4))
        write_values(root / f"imagesTr/c{index}_0000.nii.gz", values[0], volume)
        write_labels(root / f"labelsTr/c{index}.nii.gz", np.digitize(values[0], (0.5, 1.5)).astype(np.uint8), volume)
    (root / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "T1"}, "labels": {"background": 0, "a": 1, "b": 2}}))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="exporting needs the extra 'deploy'")
    folder = tmp_path_factory.mktemp("volumes")
    model = build_model("stunet_small", **{k: v for k, v in SETTINGS.items() if k != "name"})
    refill(model.network)
    write_weights(folder / "w.safetensors", model.network.state_dict(),
                  {"class": "STUNet", "network": SETTINGS, "task": TASK.to_dict()})
    make_data(folder / "data")
    assert main(["export", "stunet_small", "-w", str(folder / "w.safetensors"), "-o", str(folder / "bundle"),
                 "--no-verify"]) == 0
    return folder


@pytest.mark.slow
def test_what_the_bundle_says(exported):
    bundle = read_bundle(exported / "bundle")
    assert bundle.task == TASK
    assert [(t.name, t.shape) for t in (*bundle.inputs, *bundle.outputs)] == [
        ("patches", ("batch", 1, *SIZE)), ("logits", ("batch", 3, *SIZE))]
    assert bundle.shapes == {"batch": (1, 1, 64)}


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_vary_and_patches_do_not(exported, backend):
    pytest.importorskip(backend)
    graph = build_model("stunet_small", weights=exported / "w.safetensors").graph()
    session = open_session(read_bundle(exported / "bundle"), backend, threads=1)
    for count in (1, 3):
        x = np.stack([golden_volume(SIZE, seed=i) for i in range(count)])
        with torch.no_grad():
            expected = graph(torch.from_numpy(x)).numpy()
        assert np.abs(session(x) - expected).max() < 1e-4 * np.abs(expected).max()
    with pytest.raises(InputError, match="patches"):
        session(golden_volume((32, 32, 64))[None])


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_bundle_and_model_give_the_same_labels(exported, backend):
    pytest.importorskip(backend)
    model = build_model("stunet_small", weights=exported / "w.safetensors")
    session = open_session(read_bundle(exported / "bundle"), backend, threads=1)
    values = golden_volume((41, 50, 37), seed=5)

    def forward(batch):
        with torch.no_grad():
            return model(torch.from_numpy(batch)).numpy()

    expected = model.task.segment(values, (1, 1, 1), forward, batch=2)
    assert len(np.unique(expected)) == 3
    found = read_bundle(exported / "bundle").task.segment(values, (1, 1, 1), session, batch=2)
    assert (found != expected).mean() < 1e-4


@pytest.mark.slow
def test_verification_on_volumes(exported, capsys):
    report = verify(exported / "bundle", data=exported / "data")
    assert report.passed, report
    assert report.pictures == 2
    assert 0 < report.figures["torch"]["DSC"] < 1
    assert all(abs(c.deltas["DSC"]) < 1e-3 for c in report.data)
    assert main(["verify", str(exported / "bundle"), "--data", str(exported / "data"), "--limit", "1"]) == 0
    assert "1 volumes of" in capsys.readouterr().out
    assert (exported / "bundle/verify.html").is_file()


@pytest.mark.slow
def test_another_set_is_refused(exported, tmp_path):
    make_data(tmp_path / "d", 1)
    (tmp_path / "d/dataset.json").write_text(json.dumps({
        "channel_names": {"0": "T1"}, "labels": {"background": 0, "a": 1, "c": 2}}))
    with pytest.raises(DatasetError, match="the classes are background, a, c"):
        verify(exported / "bundle", data=tmp_path / "d")


@pytest.mark.slow
def test_size_of_an_export_has_three_numbers(exported, tmp_path):
    command = ["export", "stunet_small", "-w", str(exported / "w.safetensors"), "-o", str(tmp_path / "b"), "--size"]
    assert main([*command, "32", "32"]) != 0
    from dense.deployment.export import replace_size

    with pytest.raises(ConfigError, match="it takes depth height width"):
        replace_size(TASK, (32, 32))
    assert replace_size(TASK, (16, 32, 64)).size == (16, 32, 64)


def make_answer(labels, margins):
    return Answer(np.array(labels, np.uint8).reshape(1, 1, -1), np.array(margins, np.float16).reshape(1, 1, -1))


def test_labels_that_differ_count_by_their_margin():
    check = check_of(TASK)
    expected = make_answer([0, 1, 2, 1], [0.5, 0.25, 0.5, 1])
    assert check.difference(make_answer([0, 1, 2, 1], [0, 0, 0, 0]), expected) == (0.0, 0.0)
    assert check.difference(make_answer([0, 2, 1, 1], [0, 0, 0, 0]), expected) == (0.25, 0.375 / 4)
    assert check.difference(make_answer([0, 1, 2, 1], [np.inf] * 4), expected) == (np.inf, np.inf)


def test_output_that_is_not_finite_is_a_difference():
    check = check_of(replace(TASK, mirror=()))
    volume = Volume(golden_volume(SIZE), (1.0, 1.0, 1.0))
    broken = check.run(volume, lambda batch: np.full((len(batch), 3, *SIZE), np.nan, np.float32))
    good = check.run(volume, lambda batch: np.repeat(batch, 3, 1) * np.array([0, 1, -1.0]).reshape(3, 1, 1, 1))
    assert np.isfinite(good.margins).all() and good.margins.max() > 0.5
    assert check.difference(broken, good) == (np.inf, np.inf)


def test_panels_show_the_slice_that_differs():
    check = check_of(TASK)
    volume = Volume(golden_volume(SIZE), (1.0, 1.0, 1.0))
    labels = np.zeros(SIZE, np.uint8)
    other = labels.copy()
    other[7, 4:20, 4:20] = 1
    answers = [Answer(a, np.full(SIZE, 0.5, np.float16)) for a in (labels, other)]
    panel = check.panel(volume, labels, *answers)
    assert panel.shape == (200, 1000, 3)
    assert panel[:, 800:].max() == 255 and panel[:, 400:600].max() == max(TASK.palette[0])


@pytest.mark.slow
def test_of_large_golden_outputs_a_part_is_kept_and_compared(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("dense.deployment.export.GOLDEN", 60_000)
    folder = tmp_path / "b"
    command = ["export", "stunet_small", "-w", str(exported / "w.safetensors"), "-o", str(folder), "--no-verify"]
    assert main(command) == 0
    bundle = read_bundle(folder)
    assert bundle.golden_step == 2
    whole, part = read_bundle(exported / "bundle").golden()[1], bundle.golden()[1]
    assert np.array_equal(part, whole[:, :, ::2, ::2, ::2])
    assert verify(folder, use_data=False).passed
    part[0, 1, 3, 3, 3] += 1
    np.save(folder / "golden/output.npy", part)
    comparison, _ = compare_golden(bundle, "onnxruntime")
    assert not comparison.passed
