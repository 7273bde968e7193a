"""Volumes by slabs: the same labels as with all in memory at once, within memory, and what is said of bad input."""
import errno
import os
import shutil
import sys
import tracemalloc

import numpy as np
import pytest

from dense.errors import DenseError, ImageError, InputError, MissingDependencyError
from dense.io.volume import Volume
from dense.tasks import task_from_dict
from dense.tasks.volume import VolumeTask
from dense.tasks.volume_blend import Blending, read_patch, softmax
from dense.tasks.volume_plan import Box, patch_weights, plan_volume, summed_weights
from dense.tasks.volume_prepare import input_resampling, output_resampling
from dense.tasks.volume_resample import coarse_axis, find_scipy
from dense.tasks.volume_sums import TemporaryArray

MIB = 1 << 20


def toy_values(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """(C, Z, Y, X) float32, smooth, so that classes form regions."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(0, 1, n) for n in shape[1:]), indexing="ij", sparse=True)
    out = np.empty(shape, np.float32)
    for channel in out:
        channel[...] = 0.02 * rng.standard_normal(channel.shape, np.float32)
        for _ in range(4):
            f = rng.normal(0, 4, 3)
            channel += np.sin(sum(a * g for a, g in zip(f, grid, strict=True)) * 2 + rng.random()).astype(np.float32)
    return out


def toy_network(classes: int, seed: int = 1):
    """Logits of the voxel, its square and two of its neighbours: turned round, it gives others."""
    weights = np.random.default_rng(seed).normal(size=(classes, 4)).astype(np.float32)

    def forward(batch: np.ndarray) -> np.ndarray:
        x = batch.mean(1)
        features = np.stack([x, x * x, np.roll(x, 1, 1), np.roll(x, 2, 3)])
        return np.einsum("kf,fn...->nk...", weights, features)

    return forward


def segment_whole(task: VolumeTask, values: np.ndarray, spacing: tuple, forward, mode: str = "mirrored") -> tuple:
    """Labels and what they are the largest of, float64, all of the volume at once: the plain way."""
    prepared = task.prepare(values, spacing)
    plan = task.plan_for(prepared, mode)
    total = np.zeros((len(task.classes), *plan.padded))
    count = np.zeros(plan.padded)
    weights = patch_weights(task.size, task.gaussian).astype(np.float64)
    for box in plan.boxes():
        for flips in plan.flips:
            output = forward(task.tensor(prepared, plan, box, flips)[None])[0]
            output = softmax(output) if task.generation == 1 else output
            total[(slice(None), *box.slices)] += np.flip(output, [1 + a for a in flips]) * weights
        count[box.slices] += weights * len(plan.flips)
    total = (total / count)[(slice(None), *Box(plan.offset, plan.shape).slices)]
    if plan.shape != prepared.crop.size:
        total = np.stack([back_to(output_resampling(task, prepared), c) for c in total])
    values = np.zeros((len(task.classes), *prepared.source))
    values[0] = 1
    inside = values.transpose(0, *(1 + a for a in task.transpose))
    inside[(slice(None), *prepared.crop.slices)] = total
    return values.argmax(0), values


def back_to(resampling, values: np.ndarray) -> np.ndarray:
    from skimage.transform import resize

    if resampling.coarse is None:
        return resize(values, resampling.target, 1, mode="edge", anti_aliasing=False)
    values = np.moveaxis(values, resampling.coarse, 0)
    shape = [n for a, n in enumerate(resampling.target) if a != resampling.coarse]
    values = np.stack([resize(v, shape, 1, mode="edge", anti_aliasing=False) for v in values])
    count = resampling.target[resampling.coarse]
    nearest = np.floor((np.arange(count) + 0.5) * len(values) / count).astype(int)
    return np.moveaxis(values[nearest], 0, resampling.coarse)


def assert_same_labels(labels: np.ndarray, wanted: np.ndarray, values: np.ndarray) -> None:
    """Equal, but where two classes are equal within float32."""
    at = np.nonzero(labels != wanted)
    if len(at[0]):
        second, first = np.sort(values[(slice(None), *at)], axis=0)[-2:]
        assert (first - second < 1e-5).all(), f"{len(at[0])} labels differ"
        assert len(at[0]) < 1e-4 * labels.size


CASES = {
    "plain": dict(),
    "resampled": dict(spacing=(1.2, 0.8, 1.1)),
    "coarser_source": dict(spacing=(2.3, 1.9, 1.6)),
    "coarse_axis": dict(spacing=(1.0, 1.0, 1.0), task=dict(spacing=(3.4, 1.1, 1.0))),
    "coarse_last": dict(spacing=(1.0, 1.0, 4.0), task=dict(spacing=(1.2, 1.1, 4.0))),
    "second_axis": dict(shape=(1, 20, 75, 30), spacing=(1.5, 1.2, 1.6)),
    "last_axis": dict(shape=(1, 18, 25, 90), spacing=(1.2, 1.2, 1.6)),
    "transposed": dict(shape=(1, 30, 25, 70), spacing=(1.0, 1.2, 1.7), task=dict(transpose=(2, 0, 1))),
    "smaller": dict(shape=(1, 9, 40, 11), spacing=(1.5, 1.1, 1.5)),
    "generation_1": dict(spacing=(1.2, 1.7, 1.1), task=dict(generation=1)),
    "cropped": dict(shape=(2, 40, 40, 40), spacing=(1.2, 1.5, 1.5), border=7, task=dict(masked=(True, False))),
    "no_gaussian": dict(task=dict(gaussian=False, step=0.7)),
}


def make_case(name: str) -> tuple[VolumeTask, np.ndarray, tuple]:
    case = CASES[name]
    values = toy_values(case.get("shape", (1, 45, 33, 38)))
    if border := case.get("border"):
        values[:, :border - 2] = values[:, :, -border:] = values[..., :border] = 0
    channels = tuple("ab"[:len(values)])
    settings = dict(size=(16, 16, 16), channels=channels, classes=("background", *"klmno")) | case.get("task", {})
    return VolumeTask(**settings), values, case.get("spacing", (1.5, 1.5, 1.5))


@pytest.mark.parametrize("name", CASES)
def test_slabs_give_the_labels_of_the_whole_volume(name):
    task, values, spacing = make_case(name)
    forward = toy_network(len(task.classes))
    labels = task.segment(values, spacing, forward, batch=3)
    assert labels.shape == values.shape[1:] and labels.dtype == np.uint8
    assert len(np.unique(labels)) > 2
    assert_same_labels(labels, *segment_whole(task, values, spacing, forward))


@pytest.mark.slow
def test_labels_of_a_larger_volume_by_slabs():
    task = VolumeTask(size=(64, 64, 64), spacing=(1.5, 1.5, 1.5), classes=("background", "a", "b", "c"))
    values, spacing, forward = toy_values((1, 256, 128, 128)), (1.1, 1.4, 1.4), toy_network(4)
    labels = task.segment(values, spacing, forward, batch=8)
    assert_same_labels(labels, *segment_whole(task, values, spacing, forward))


def test_axis_that_is_worked_off_first():
    first = {name: _blending(name).order[0] for name in ("plain", "second_axis", "last_axis", "transposed")}
    assert first == {"plain": 0, "second_axis": 1, "last_axis": 2, "transposed": 0}


def _blending(name: str, **arguments) -> Blending:
    task, values, spacing = make_case(name)
    prepared = task.prepare(values, spacing)
    return Blending(task, prepared, task.plan_for(prepared, "plain"), toy_network(len(task.classes)), **arguments)


@pytest.mark.parametrize("name", ["plain", "cropped", "transposed", "coarse_axis", "generation_1"])
def test_probabilities_come_slab_by_slab(name):
    task, values, spacing = make_case(name)
    forward, slabs = toy_network(len(task.classes)), []
    labels = task.segment(values, spacing, forward, probabilities=lambda rows, array: slabs.append((rows, array)))
    assert [rows.start for rows, _ in slabs] == [0, *(rows.stop for rows, _ in slabs[:-1])]
    assert slabs[-1][0].stop == len(labels)
    found = np.concatenate([array for _, array in slabs], 1)
    assert found.dtype == np.float32 and found.shape == (len(task.classes), *labels.shape)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    _, wanted = segment_whole(task, values, spacing, forward)
    if task.generation == 2:
        outside = (wanted[0] == 1) & (wanted[1:] == 0).all(0)
        wanted = np.where(outside, wanted, softmax(wanted))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_array_equal(found.argmax(0), labels)
    assert_same_labels(labels, task.segment(values, spacing, forward), wanted)


def test_batches_and_modes():
    task, values, spacing = make_case("resampled")
    forward, sizes = toy_network(len(task.classes)), []

    def counted(batch: np.ndarray) -> np.ndarray:
        assert batch.dtype == np.float32 and batch.flags.c_contiguous
        sizes.append(len(batch))
        return forward(batch)

    labels = [task.segment(values, spacing, counted, batch=n) for n in (1, 5, 8, 24)]
    assert max(sizes) == 24 and all((found == labels[0]).mean() > 0.9999 for found in labels)
    plain = task.segment(values, spacing, forward, mode="plain")
    assert_same_labels(plain, *segment_whole(task, values, spacing, forward, "plain"))
    assert (plain != labels[0]).any()
    with pytest.raises(ValueError, match="mode"):
        task.segment(values, spacing, forward, mode="tiled")


def test_progress_counts_patches():
    task, values, spacing = make_case("plain")
    seen = []
    task.segment(values, spacing, toy_network(6), batch=3, say=lambda *at: seen.append(at))
    count = task.plan(values.shape[1:], "mirrored").count
    assert seen == [(n, count) for n in range(1, count + 1)]


def test_what_pipelines_call():
    task, values, spacing = make_case("transposed")
    forward = toy_network(len(task.classes))
    prepared = task.inputs(Volume(values, spacing))
    plan = task.plan_for(prepared, "mirrored")
    assert plan.overview is None and plan.size == task.size and task.plan(task.size, "mirrored").size == task.size

    def run_all(tensors):
        return [forward(tensor[None])[0] for tensor in tensors]

    labels = task.finish(prepared, plan, None, run_all)
    np.testing.assert_array_equal(labels, task.segment(values, spacing, forward, batch=8))
    np.testing.assert_array_equal(labels, task.run(prepared, forward, batch=8))
    assert task_from_dict(task.to_dict()) == task


def test_patches_are_padded_and_turned_round():
    values = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5) + 1
    plan = plan_volume((3, 4, 5), (8, 8, 8), 0.5, (0, 2))
    assert plan.flips == ((), (0,), (2,), (0, 2)) and plan.offset == (2, 2, 1) and plan.count == 1
    (box,) = plan.boxes()
    patch = read_patch(values, plan, box)
    np.testing.assert_array_equal(patch[:, 2:5, 2:6, 1:6], values)
    assert np.count_nonzero(patch) == values.size
    turned = read_patch(values, plan, box, (0, 2), np.full_like(patch, 7))
    np.testing.assert_array_equal(turned, patch[:, ::-1, :, ::-1])


def test_weights_of_a_voxel_are_the_product_of_those_of_its_axes():
    plan = plan_volume((40, 22, 16), (16, 16, 16), 0.5, ())
    total = np.zeros(plan.padded)
    for box in plan.boxes():
        total[box.slices] += patch_weights(plan.size)
    z, y, x = (summed_weights(plan, axis) for axis in range(3))
    np.testing.assert_allclose(total, z[:, None, None] * y[:, None] * x, rtol=1e-5)


@pytest.mark.parametrize(("spacing", "other", "axis"), [
    ((1, 1, 1), (1, 1, 1), None), ((4, 1, 1), (1, 1, 1), 0), ((3, 1, 1), (1, 1, 1), None),
    ((1, 1, 1), (1, 1, 5), 2), ((4, 4, 1), (1, 1, 5), None), ((1, 4, 1), (5, 1, 1), 1)])
def test_coarse_axis(spacing, other, axis):
    assert coarse_axis(spacing, other, 3) == axis


def test_generations_ask_for_the_coarse_axis_in_their_own_order():
    values = toy_values((1, 20, 20, 20))
    for generation, axis in ((1, 2), (2, 0)):
        task = VolumeTask(spacing=(4, 1, 1), generation=generation)
        prepared = task.prepare(values, (1, 1, 4))
        assert input_resampling(task, prepared.crop.size, prepared.spacing).coarse == 2
        assert output_resampling(task, prepared).coarse == axis


# ---- memory


def test_sums_in_a_file_give_the_same_labels(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    task = VolumeTask(size=(32, 32, 32), classes=tuple(f"class {i}" for i in range(40)))
    values, spacing, forward = toy_values((1, 70, 50, 60)), (1.3, 1.5, 1.6), toy_network(40)
    caplog.set_level("INFO")
    wanted = task.segment(values, spacing, forward, "plain")
    assert "temporary file" not in caplog.text
    found = task.segment(values, spacing, forward, "plain", max_memory=20 * MIB)
    assert "temporary file" in caplog.text and str(tmp_path) in caplog.text
    np.testing.assert_array_equal(found, wanted)
    assert not list(tmp_path.iterdir())


def test_memory_stays_that_of_a_slab():
    task = VolumeTask(size=(16, 16, 16), spacing=None, classes=tuple(f"class {i}" for i in range(24)))
    values, forward = toy_values((1, 256, 48, 48)), toy_network(24)
    task.segment(values[:, :32], (1, 1, 1), forward, "plain")
    tracemalloc.start()
    task.segment(values, (1, 1, 1), forward, "plain")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    everything = 24 * values.nbytes
    assert peak < everything / 4, f"{peak / MIB:.1f} MiB"


def test_sums_in_half_precision_take_half_of_the_memory():
    peaks = []
    task = VolumeTask(size=(16, 16, 16), spacing=None, classes=tuple(f"class {i}" for i in range(64)))
    values, forward = toy_values((1, 32, 64, 64)), toy_network(64)
    for half in (False, True):
        task.segment(values[:, :16], (1, 1, 1), forward, "plain", half=half)
        tracemalloc.start()
        task.segment(values, (1, 1, 1), forward, "plain", half=half)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 0.75 * peaks[0]


def test_too_little_memory_says_how_much_is_enough():
    task, values, spacing = make_case("plain")
    with pytest.raises(ImageError, match=r"raise --max-memory to \d+ MiB") as error:
        task.segment(values, spacing, toy_network(6), max_memory=MIB)
    enough = int(str(error.value).split("raise --max-memory to ")[1].split()[0]) + 1
    task.segment(values, spacing, toy_network(6), max_memory=enough * MIB)


def test_a_full_disk_is_an_error_with_a_remedy(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    task = VolumeTask(size=(32, 32, 32), classes=tuple(f"class {i}" for i in range(40)))
    with pytest.raises(DenseError, match=r"No space left.*TMPDIR"):
        task.segment(toy_values((1, 70, 50, 60)), (1.5, 1.5, 1.5), toy_network(40), "plain", max_memory=20 * MIB)
    assert not list(tmp_path.iterdir())


def test_file_systems_that_cannot_take_space_at_once(monkeypatch, tmp_path):
    def unable(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    array = TemporaryArray((3, 50), np.float32)
    assert array.array.shape == (3, 50) and not array.array.any()
    array.array[1] = 7
    array.leave()
    assert array.array.sum() == 350
    array.close()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(DenseError, match="No space left"):
        TemporaryArray((3, 50), np.float32)


# ---- bad and unusual input


@pytest.mark.parametrize(("values", "spacing", "words"), [
    (np.full((1, 9, 9, 9), np.nan, np.float32), (1, 1, 1), "729 of 729 values are NaN or infinite"),
    (np.full((1, 9, 9, 9), np.inf), (1, 1, 1), "NaN or infinite.*Remedy"),
    (np.ones((3, 9, 9, 9)), (1, 1, 1), r"3 channels, but the network takes 1 \(CT\)"),
    (np.ones((9, 9)), (1, 1, 1), "neither a picture"),
    (np.ones((1, 0, 9, 9)), (1, 1, 1), "shape"),
    (np.ones((1, 9, 9, 9), complex), (1, 1, 1), "complex128"),
    (np.ones((1, 9, 9, 9)), (1, 0, 1), "spacing"),
])
def test_bad_values_are_errors(values, spacing, words):
    with pytest.raises(ImageError, match=words):
        VolumeTask(size=(8, 8, 8)).segment(values, spacing, toy_network(2))


def test_errors_name_the_volume():
    with pytest.raises(ImageError, match=r"^brain\.nii\.gz: has 2 channels"):
        VolumeTask().inputs(Volume(np.ones((2, 9, 9, 9)), (1, 1, 1), name="brain.nii.gz"))


def test_colours_out_of_range_are_an_error():
    task = VolumeTask(normalisation=("rgb",))
    with pytest.raises(ImageError, match="holds 0 to 300"):
        task.prepare(np.linspace(0, 300, 27).reshape(1, 3, 3, 3), (1, 1, 1))


def test_networks_that_do_not_fit_are_errors():
    task, values, spacing = make_case("plain")
    with pytest.raises(InputError, match="6 classes"):
        task.segment(values, spacing, toy_network(7))
    with pytest.raises(DenseError, match="not finite"):
        task.segment(values, spacing, lambda batch: np.full((len(batch), 6, 16, 16, 16), np.nan, np.float32))


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("value", [0, 7])
def test_volumes_without_contrast(generation, value):
    task = VolumeTask(size=(16, 16, 16), generation=generation, masked=(True,))
    values = np.full((1, 20, 20, 20), value, np.int16)
    prepared = task.prepare(values, (1, 1, 1))
    assert prepared.crop == Box((0, 0, 0), (20, 20, 20)) and not prepared.values.any()
    assert not task.segment(values, (1, 1, 1), toy_network(2)).any()


def test_ct_in_a_mask_is_what_its_generation_makes_of_it():
    values = np.zeros((1, 12, 12, 12), np.float32)
    values[0, 2:10, 3:9, 4:8] = 100
    values[0, 5, 5, 5] = 900  # clipped
    settings = dict(size=(8, 8, 8), spacing=None, normalisation=("ct",), intensities=((-50, 500, 40, 20),), crop=False,
                    masked=(True,))
    for generation, around in ((1, 0), (2, -2)):
        found = VolumeTask(generation=generation, **settings).prepare(values, (1, 1, 1)).values[0]
        assert found[0, 0, 0] == around and found[3, 4, 5] == 3 and found[5, 5, 5] == 23


def test_values_are_not_changed_and_types_do_not_matter():
    task, values, spacing = make_case("cropped")
    values = np.rint(values * 100).astype(np.int16)
    kept = values.copy()
    values.setflags(write=False)
    labels = task.segment(values, spacing, toy_network(6))
    np.testing.assert_array_equal(values, kept)
    for dtype in (np.float32, np.float64, np.int32):
        np.testing.assert_array_equal(task.segment(kept.astype(dtype), spacing, toy_network(6)), labels)
    one = VolumeTask(size=(16, 16, 16))
    found, wanted = (one.segment(v, spacing, toy_network(2)) for v in (kept[0], kept[:1]))
    np.testing.assert_array_equal(found, wanted)


def test_many_classes_need_uint16():
    classes = tuple(f"class {i}" for i in range(300))
    task = VolumeTask(size=(8, 8, 8), spacing=None, normalisation=("none",), classes=classes)

    def forward(batch: np.ndarray) -> np.ndarray:
        return (np.arange(300)[:, None, None, None] == batch[:, :1]).astype(np.float32)

    values = np.full((1, 9, 9, 9), 299, np.int16)
    values[0, :, :4] = 257
    labels = task.segment(values, (1, 1, 1), forward)
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, values[0])


def test_a_single_thin_slice_is_not_lost():
    task = VolumeTask(size=(8, 8, 8), spacing=(5, 1, 1))
    assert task.prepare(toy_values((1, 1, 20, 20)), (1, 1, 1)).shape == (1, 20, 20)


def test_scipy_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dense\[medical\]'"):
        find_scipy()
