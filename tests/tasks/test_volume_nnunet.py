"""The volume task against nnU-Net's own functions, whose results are stored."""
import json

import numpy as np
import pytest
from nnunet_reference import DATA, case_names, settings_of, stored, task_of, toy_forward

from dense.tasks.volume import VolumeTask
from dense.tasks.volume_plan import patch_weights, plan_volume, window_starts
from dense.tasks.volume_prepare import content_box
from dense.tasks.volume_resample import Resampling, coarse_axis, resample


def names(kind: str) -> list[str]:
    return sorted({key.split("/")[1] for key in stored("functions") if key.startswith(kind + "/")})


def test_windows_start_where_both_generations_place_them():
    rows = json.loads((DATA / "nnunet_starts.json").read_text())
    assert len(rows) > 200
    for length, patch, step, starts in rows:
        assert list(window_starts(length, patch, step)) == starts, (length, patch, step)
    assert window_starts(110, 64, 0.5) == (0, 23, 46)


@pytest.mark.parametrize("size", names("gaussian"))
def test_gaussian(size):
    found = patch_weights(tuple(map(int, size.split("-"))))
    np.testing.assert_allclose(found, stored("functions")[f"gaussian/{size}"], rtol=1e-5)
    half = stored("functions")[f"half_gaussian/{size}"]
    found = patch_weights(half.shape, half=True)
    assert found.dtype == np.float16 and found.min() > 0
    np.testing.assert_array_equal(found, half)


def test_padding():
    for length, patch, before, after in stored("functions")["pad"]:
        plan = plan_volume((length, 40, 40), (patch, 40, 40), 0.5, ())
        assert plan.offset[0] == before and plan.padded[0] - plan.shape[0] - before == after


@pytest.mark.parametrize("name", names("crop"))
def test_crop(name):
    box = content_box(stored("functions")[f"crop/{name}/values"])
    wanted = stored("functions")[f"crop/{name}/box"]
    assert [[s.start, s.stop] for s in box.slices] == wanted.tolist()


@pytest.mark.parametrize("name", names("resample"))
def test_resampling(name):
    values, spacings, data, probabilities = (
        stored("functions")[f"resample/{name}/{key}"] for key in ("values", "spacings", "data", "probabilities"))
    spacing, target = map(tuple, spacings)
    values = values.astype(np.float32)
    found = np.empty(data.shape, np.float32)
    there = Resampling(values.shape, data.shape, 3, 0, coarse_axis(spacing, target, 3))
    resample(lambda a, b: values[a:b], there, found)
    assert np.abs(found - data).max() <= 1e-6 * np.ptp(data)
    found = np.empty(probabilities.shape, np.float32)
    back = Resampling(data.shape, values.shape, 1, 0, coarse_axis(target, spacing, 3))
    resample(lambda a, b: data[a:b], back, found)
    assert np.abs(found - probabilities).max() <= 1e-6 * np.ptp(probabilities)


@pytest.mark.parametrize("name", names("normalise"))
def test_normalisation(name):
    values, wanted = (stored("functions")[f"normalise/{name}/{key}"] for key in ("values", "generation2"))
    kind = {"masked": "zscore", "constant": "zscore"}.get(name, name)
    task = VolumeTask(normalisation=(kind,), masked=(name == "masked",), intensities=((-40, 130, 32.5, 41),),
                      spacing=None, crop=False)
    found = task.prepare(values, (1, 1, 1)).values[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", case_names())
def test_labels_of_generation_2(case):
    settings = settings_of(case)
    labels = task_of(settings).segment(stored("labels")[f"{case}/values"], settings["spacing"], toy_forward(case))
    wanted = stored("labels")[f"{case}/full"]
    assert labels.shape == wanted.shape and labels.dtype == np.uint8
    assert np.count_nonzero(labels != wanted) <= 1  # a tie within rounding


@pytest.mark.parametrize("case", case_names())
def test_labels_of_generation_2_with_its_sums_in_float16(case, caplog):
    settings = settings_of(case)
    labels = task_of(settings).segment(stored("labels")[f"{case}/values"], settings["spacing"], toy_forward(case),
                                       half=True)
    assert np.count_nonzero(labels != stored("labels")[f"{case}/half"]) <= 1
    assert "half precision" in caplog.text


@pytest.mark.parametrize("case", [c for c in case_names() if f"{c}/one" in stored("labels")])
def test_labels_of_generation_1(case):
    settings = settings_of(case)
    task = task_of(settings, generation=1)
    labels = task.segment(stored("labels")[f"{case}/values"], settings["spacing"], toy_forward(case), batch=4)
    assert np.count_nonzero(labels != stored("labels")[f"{case}/one"]) <= 1


def test_half_precision_is_told_apart_from_full():
    assert any((stored("labels")[f"{c}/half"] != stored("labels")[f"{c}/full"]).any() for c in case_names())
