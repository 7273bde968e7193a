"""Volumes through the inferencer: sources, cases, order, failures, memory, results."""
import threading

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="volumes need the extra 'medical' (nibabel)")
pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")
import nibabel
from toy_volume_bundle import AFFINE, head, labels_of, volume_bundle, volume_task, write_heads

from dense import Inferencer
from dense.errors import ConfigError, DenseError, ImageError
from dense.inference import VolumeResult
from dense.inference.network import Network
from dense.inference.probabilities import Probabilities
from dense.inference.sources import Item
from dense.inference.volume_pipeline import VolumePipeline
from dense.inference.volume_sources import VolumeSource
from dense.io.volume import read_volume, volume_from_array


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return volume_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture(scope="module")
def volumes(bundle):
    return Inferencer(bundle, backend="onnxruntime", threads=1, mode="plain")


def test_a_file_gives_a_result(volumes, tmp_path):
    (path,) = write_heads(tmp_path, 1)
    result = volumes(path)
    assert isinstance(result, VolumeResult) and result.source == str(path) and result.volume.dtype == np.uint8
    np.testing.assert_array_equal(result.volume, labels_of(head()[None]))
    np.testing.assert_array_equal(result.affine, AFFINE)
    assert result.spacing == (2, 1.5, 1.5) and result.probabilities is None and result.seconds > 0
    counts = np.bincount(result.volume.ravel())
    assert [(e.name, e.voxels) for e in result.extents()] == [("tissue", counts[1]), ("bone", counts[2])]
    assert result.ml()["bone"] == pytest.approx(counts[2] * 4.5 / 1000)
    np.testing.assert_array_equal(result.mask("bone"), result.volume == 2)
    assert result.surface(2).volume_ml == pytest.approx(result.ml()["bone"] + result.ml()["tissue"], rel=0.6)
    assert result.surface("tissue").volume_ml == pytest.approx(result.ml()["tissue"], rel=0.1)
    assert len(result.panels()) == 3 and result.plot(200).shape[0] == 200 + 22 + 24
    again = read_volume(result.save(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(again.values[0], result.volume)
    assert result.save(tmp_path / "planes.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ImageError, match=r"written as \.nii\.gz or \.nii"):
        result.save(tmp_path / "out.jpg")
    with pytest.raises(ValueError, match="no class is called"):
        result.mask("kidney")


def test_arrays_images_and_volumes(volumes):
    expected = labels_of(head()[None])
    for given in (head(), head()[None], head().astype(np.float64)):
        np.testing.assert_array_equal(volumes(given, spacing=(2, 1.5, 1.5)).volume, expected)
    np.testing.assert_array_equal(volumes(volume_from_array(head(), (1, 1, 1))).volume, expected)
    result = volumes(nibabel.Nifti1Image(head().T, AFFINE))
    np.testing.assert_array_equal(result.volume, expected)
    np.testing.assert_array_equal(result.affine, AFFINE)
    with pytest.raises(ImageError, match="an array has no spacing"):
        volumes(head())
    with pytest.raises(ImageError, match="is no volume"):
        volumes(7)


def test_lists_folders_and_patterns_stream_in_order(volumes, tmp_path):
    paths = write_heads(tmp_path / "in", 4)
    for given in (paths, tmp_path / "in", tmp_path / "in/*.nii.gz"):
        results = volumes(given)
        assert [r.source for r in results] == [str(p) for p in paths] and results.total == 4
    (tmp_path / "list.txt").write_text("".join(f"in/{p.name}\n" for p in paths[:2]))
    assert len(list(volumes(f"@{tmp_path / 'list.txt'}"))) == 2
    assert [r.source for r in volumes([head(), paths[0]], spacing=(1, 1, 1))] == ["volume 0", str(paths[0])]


def test_failures_do_not_end_the_others(volumes, tmp_path):
    paths = write_heads(tmp_path, 3)
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    results = volumes([*paths, tmp_path / "none.nii"], errors="skip")
    assert [r.source for r in results] == [str(paths[0]), str(paths[2])]
    assert [(f.source, f.reason[:12]) for f in results.failures] == [
        (str(paths[1]), "is truncated"), (str(tmp_path / "none.nii"), "does not exi")]
    with pytest.raises(DenseError, match=r"1 inputs were not done.*\n.*is truncated"):
        list(volumes(paths))
    with pytest.raises(ImageError, match=r"case1\.nii\.gz: is truncated"):
        volumes(paths[1])
    nan = head().astype(np.float32)
    nan[0, 0, :3] = np.nan
    with pytest.raises(ImageError, match="has 3 NaN"):
        volumes(nan, spacing=(1, 1, 1))
    assert volumes(nan, spacing=(1, 1, 1), fill=60).volume[0, 0, :4].tolist() == [1, 1, 1, 0]


def test_files_of_channels_are_a_case(tmp_path):
    model = Inferencer(volume_bundle(tmp_path / "bundle", 2), backend="onnxruntime", threads=1, mode="plain")
    paths = write_heads(tmp_path / "in", 2, "a_000{}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.stack([head(), head()], -1).T.transpose(3, 2, 1, 0).T, AFFINE),
                 tmp_path / "broken.nii")  # two channels on another axis
    expected = labels_of(np.stack([head(), head(bright=0.45)]))
    (result,) = model(tmp_path / "in")
    assert result.source == str(tmp_path / "in/a")
    np.testing.assert_array_equal(result.volume, expected)
    for given in (paths[0], tuple(paths), np.stack([head(), head(bright=0.45)])):
        np.testing.assert_array_equal(model(given, spacing=(2, 1.5, 1.5)).volume, expected)
    assert len(list(model(paths))) == 1
    assert len(list(model([tuple(paths), paths[0]]))) == 2
    with pytest.raises(ImageError, match=r"has 1 channel, the network takes 2 \(T1, T2\)"):
        model(head(), spacing=(1, 1, 1))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_probabilities_on_request(volumes, tmp_path, dtype):
    (path,) = write_heads(tmp_path, 1)
    result = volumes(path, probabilities=dtype, folder=tmp_path)
    found = result.probabilities.array()
    assert found.dtype == dtype and found.shape == (3, *result.volume.shape)
    logits = np.stack([0 * head(), head() - 50.0, 2 * head() - 250.0]) / 10
    expected = np.exp(logits - logits.max(0))
    np.testing.assert_allclose(found, expected / expected.sum(0), atol=1e-3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]  # the temporary file has no name
    stored = read_volume(result.probabilities.save(tmp_path / "p.nii.gz", result.given))
    np.testing.assert_array_equal(stored.values, found.astype(np.float32))
    np.testing.assert_array_equal(stored.affine, AFFINE)
    with np.load(result.probabilities.save(tmp_path / "p.npz", result.given), allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["probabilities"], found)
    with pytest.raises(ConfigError, match=r"written as \.npz"):
        result.probabilities.save(tmp_path / "p.txt", result.given)


def test_probabilities_that_do_not_fit_are_refused_beforehand(tmp_path):
    with pytest.raises(DenseError, match=r"need .* GiB while they come, .* GiB are free"):
        Probabilities(105, (100_000, 10_000, 10_000), folder=tmp_path)
    with pytest.raises(ConfigError, match="must be float16 or float32"):
        Probabilities(2, (1, 1, 1), "int8")


class Recorder:
    """A session whose network says when it runs."""

    backend, version, device, reason = "toy", "1", "cpu", "asked for"

    def __init__(self):
        self.calls, self.second = 0, threading.Event()

    def __call__(self, batch):
        self.calls += 1
        if self.calls > 8:  # patches of a head
            self.second.set()
        return np.concatenate([0 * batch, batch - 50, 2 * batch - 250], axis=1)

    def describe(self):
        return "toy 1 on cpu"


def item(name, load, size=0):
    return Item(name, name, load, base=name, size=lambda: size)


@pytest.mark.parametrize(("size", "ahead"), [(0, True), (1 << 40, False)])
def test_the_next_volume_is_read_beside_the_network_if_both_fit(size, ahead):
    session, order = Recorder(), []

    def load(name):
        def read():
            order.append(f"read {name}")
            return volume_from_array(head(), (1, 1, 1), name=name)

        return read

    def then(result, item):
        order.append(f"wrote {item.name}")
        return item.name

    items = [item(name, load(name), size) for name in "abc"]
    pipeline = VolumePipeline(volume_task(), Network(session), "plain", then=then,
                              say=lambda name, done, total: order.append(f"{name} {done}/{total}") if done == 1 else 0)
    assert [w.outcome for w in pipeline.run(items)] == ["a", "b", "c"]
    ran = [order.index(f"{name} 1/8") for name in "abc"]
    assert (order.index("read b") < ran[0]) in ((True, False) if ahead else (False,))
    if not ahead:
        assert [o for o in order if o[0] in "rw"] == [f"{w} {n}" for n in "abc" for w in ("read", "wrote")]


def test_writing_goes_on_beside_the_network():
    session, seen = Recorder(), []

    def then(result, item):
        if item.name == "a":
            seen.append(session.second.wait(20))  # the network of b begins while a is written
        return item.name

    items = [item(n, lambda n=n: volume_from_array(head(), (1, 1, 1), name=n)) for n in "ab"]
    works = VolumePipeline(volume_task(), Network(session), "plain", then=then).run(items)
    assert [w.outcome for w in works] == ["a", "b"] and seen == [True]


def test_an_interrupt_counts_what_was_written():
    session, calls = Recorder(), []

    def say(name, done, total):
        calls.append(name)
        if name == "b":
            raise KeyboardInterrupt

    items = [item(n, lambda n=n: volume_from_array(head(), (1, 1, 1), name=n)) for n in "abc"]
    works = VolumePipeline(volume_task(), Network(session), "plain", then=lambda r, i: i.name, say=say).run(items)
    assert next(works).outcome == "a"
    with pytest.raises(KeyboardInterrupt):
        next(works)
    assert "c" not in calls


def test_results_come_as_they_are_done(volumes, tmp_path):
    """Without a writer a result does not wait for the next volume's network."""
    session = Recorder()
    items = [item(n, lambda n=n: volume_from_array(head(), (1, 1, 1), name=n)) for n in "ab"]
    works = VolumePipeline(volume_task(), Network(session), "plain").run(items)
    assert next(works).outcome.source == "a"
    assert session.calls == 8
    works.close()


def test_output_that_is_not_finite_fails_that_volume_only():
    class Broken(Recorder):
        def __call__(self, batch):
            return super().__call__(batch) / (0 if batch.max() > 290 else 1)

    with np.errstate(all="ignore"):
        first, second = VolumePipeline(volume_task(), Network(Broken()), "plain").run(
            [item("a", lambda: volume_from_array(head(), (1, 1, 1))),
             item("b", lambda: volume_from_array(head(bright=0.5), (1, 1, 1)))])
    assert "not finite" in first.failure.reason and second.failure is None


def test_options_of_volumes_are_refused_elsewhere(volumes, bundle, tmp_path):
    from toy_pictures import toy_bundle

    cutouts = Inferencer(toy_bundle(tmp_path / "b"), backend="onnxruntime")
    picture = np.zeros((64, 64, 3), np.uint8)
    for options in ({"spacing": (1, 1, 1)}, {"fill": 0}, {"probabilities": "float16"}):
        with pytest.raises(ConfigError, match="about volumes"):
            cutouts(picture, **options)
    with pytest.raises(ConfigError, match="half is about sums"):
        Inferencer(tmp_path / "b", backend="onnxruntime", half=True)
    with pytest.raises(ConfigError, match="takes no mask"):
        volumes(head(), spacing=(1, 1, 1), mask="auto")


def test_sources_say_what_is_not_there(tmp_path):
    find = VolumeSource().find
    (tmp_path / "empty/below").mkdir(parents=True)
    for given, words in ((tmp_path / "none.nii", "does not exist"), (tmp_path / "empty", "--recursive"),
                         (tmp_path / "*.nii", "matches no volume"), (f"@{tmp_path}/none.txt", "list does not exist"),
                         ("", "is no path"), (b"abc", "is no volume")):
        with pytest.raises(DenseError, match=words):
            find(given if isinstance(given, str | bytes) else str(given))


def test_a_model_of_pytorch_gives_what_its_task_says(tmp_path):
    torch = pytest.importorskip("torch")
    from dense.models.stunet import STUNet, VolumeModel

    torch.manual_seed(0)
    network = STUNet(name="stunet_small", width=0.25, num_classes=3, pool=((2, 2, 2), (2, 2, 2), *((1, 1, 1),) * 3))
    for head_of_classes in network.seg_outputs:  # so that no class wins everywhere
        torch.nn.init.normal_(head_of_classes.weight)
        torch.nn.init.zeros_(head_of_classes.bias)
    model = VolumeModel(network=network, task=volume_task(size=16, normalisation=("zscore",), spacing=(2, 2, 2)))
    (path,) = write_heads(tmp_path, 1)
    seen = []
    result = Inferencer(model, threads=1, batch=2)(path, say=lambda name, done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 1 and len(set(np.unique(result.volume))) > 1
    session = Inferencer(model, threads=1).session
    expected = model.task.segment(head()[None], (2, 1.5, 1.5), session)
    np.testing.assert_array_equal(result.volume, expected)
