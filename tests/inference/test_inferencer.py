"""One network, whatever holds the pictures: one in, one out; many in, a stream in their order."""
import io
import logging
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
from toy_pictures import SIZE, disc, toy_bundle, write_pictures

from dense import Inferencer, build_model
from dense.errors import BundleError, ConfigError, DenseError, ImageError, MissingDependencyError, WeightsError
from dense.inference import CutoutResult
from dense.inference.network import Network, is_out_of_memory
from dense.io import read_picture
from dense.weights.shipped import list_shipped

ROOT = Path(__file__).resolve().parents[2]


def expected(image: np.ndarray) -> np.ndarray:
    small = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(small.mean(2).astype(np.float32) / 255, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def test_one_picture_however_it_is_given(model, tmp_path):
    image = disc()
    path = tmp_path / "disc.png"
    cv2.imwrite(str(path), image)
    given = [path, str(path), image, Image.fromarray(image), Image.open(path), read_picture(path), path.read_bytes(),
             image[..., 0], image[..., :1], np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])]
    for value in given:
        result = model(value)
        assert isinstance(result, CutoutResult)
        assert result.alpha.dtype == np.float32 and result.alpha.shape == image.shape[:2]
        np.testing.assert_allclose(result.alpha, expected(image), atol=1e-5)
        np.testing.assert_array_equal(result.image, image)
        assert result.seconds > 0
    assert model(path).source == str(path)


def test_transparent_arrays_are_laid_over_white_like_files(model):
    clear = np.zeros((20, 30, 4), np.uint8)
    assert (model(clear).image == 255).all()
    assert (model(Image.fromarray(clear)).image == 255).all()


def test_many_pictures_keep_their_order(model, tmp_path):
    paths = write_pictures(tmp_path / "in", 12)
    (tmp_path / "names.txt").write_text("".join(f"in/{p.name}\n" for p in reversed(paths)))
    arrays = [cv2.imread(str(p))[..., ::-1] for p in paths]
    for inputs, order in ((tmp_path / "in", paths), (f"{tmp_path}/in/*.png", sorted(paths)), (paths, paths),
                          (iter(paths), paths), (f"@{tmp_path}/names.txt", paths[::-1]), (arrays, None),
                          ((a for a in arrays), None)):
        results = list(model(inputs))
        if order:
            assert [Path(r.source) for r in results] == order
        else:
            assert [r.image.shape for r in results] == [a.shape for a in arrays]
    assert model(tmp_path / "in").total == 12


def test_folders_below_on_demand(model, tmp_path):
    write_pictures(tmp_path / "a/b", 2)
    with pytest.raises(DenseError, match="holds no picture; --recursive"):
        model(tmp_path)
    assert len(list(model(tmp_path, recursive=True))) == 2


def test_batches_give_the_same_as_single_pictures_and_are_true_batches(bundle, tmp_path):
    write_pictures(tmp_path, 7)
    alphas, sizes = {}, []
    for batch in (1, 3):
        model = Inferencer(bundle, backend="onnxruntime", batch=batch, threads=1)
        run = model.session.run
        model.session.run = lambda inputs, run=run: (sizes.append(len(inputs["image"])), run(inputs))[1]
        alphas[batch] = [r.alpha for r in model(tmp_path)]
    assert sizes == [1] * 7 + [3, 3, 1]
    for one, three in zip(*alphas.values(), strict=True):
        np.testing.assert_array_equal(one, three)


def test_whole_pictures_are_batched_by_size(bundle):
    model = Inferencer(bundle, backend="onnxruntime", mode="whole", batch=2, threads=1)
    shapes = []
    run = model.session.run
    model.session.run = lambda inputs: (shapes.append(inputs["image"].shape), run(inputs))[1]
    pictures = [disc(64, 96), disc(96, 64), disc(64, 96), disc(96, 64)]
    assert [r.alpha.shape for r in model(pictures)] == [p.shape[:2] for p in pictures]
    assert shapes == [(2, 3, 64, 96), (2, 3, 96, 64)]


def test_tiles_are_as_in_the_task(bundle):
    model = Inferencer(bundle, backend="onnxruntime", mode="tiled", batch=3, threads=1)
    image = disc(300, 420)
    np.testing.assert_allclose(model(image).alpha, model.task.run(image, model.session, "tiled"), atol=1e-6)
    assert np.abs(model(image).alpha - image[..., 0] / 255).mean() < 0.3 * np.abs(expected(image)
                                                                                  - image[..., 0] / 255).mean()


@pytest.mark.parametrize("mode", ["global", "whole", "tiled"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 1500), (1500, 1), (2, 900)])
def test_extreme_shapes(bundle, mode, shape):
    image = np.full((*shape, 3), 51, np.uint8)
    result = Inferencer(bundle, backend="onnxruntime", mode=mode, threads=1)(image)
    np.testing.assert_allclose(result.alpha, np.full(shape, 0.2, np.float32), atol=1e-4)
    assert result.rgba().shape == (*shape, 4) and result.plot(50).shape[0] == 50


def test_damaged_pictures_are_told_at_the_end_and_the_others_are_done(model, tmp_path):
    paths = write_pictures(tmp_path, 6)
    paths[1].write_bytes(b"no picture")
    paths[4].write_bytes(paths[3].read_bytes()[:200])
    results, seen = model(tmp_path), []
    with pytest.raises(DenseError, match="2 inputs were not done") as error:
        seen.extend(r.source for r in results)
    assert seen == [str(paths[i]) for i in (0, 2, 3, 5)]
    assert f"{paths[1]}: is text" in str(error.value) and f"{paths[4]}: the PNG is truncated" in str(error.value)
    skipping = model(tmp_path, errors="skip")
    assert len(list(skipping)) == 4 and len(skipping.failures) == 2


def test_generators_are_not_run_ahead_without_bound(model):
    asked = []

    def pictures():
        for i in range(100):
            asked.append(i)
            yield disc()

    results = model(pictures())
    next(results)
    assert len(asked) < 20
    results.close()


@pytest.mark.parametrize(("value", "words"), [
    (np.zeros((4, 5, 3)), "an array of float64"), (np.zeros((4, 5, 2), np.uint8), "is no picture"),
    (np.zeros((0, 5, 3), np.uint8), "is no picture"), (np.zeros(5, np.uint8), "is no picture"), (b"", "is empty"),
    ("nowhere.png", "nowhere.png: does not exist"), (7, "int: is no picture"), ("nowhere/*.png", "matches no picture"),
    ("@nowhere.txt", "the list does not exist"), (Image.new("F", (3, 3)), "no known range"), ("", "is no path"),
    (io.StringIO("x"), "was opened as text"), (torch.zeros(3, 4, 4), "of a tensor its .numpy()")])
def test_what_is_no_picture_is_refused(model, value, words):
    with pytest.raises(DenseError, match="; ") as error:
        model(value)
    assert words in str(error.value)


def test_an_open_file_is_one_picture(model, tmp_path):
    (path,) = write_pictures(tmp_path, 1)
    with open(path, "rb") as file:
        result = model(file)
    np.testing.assert_array_equal(result.alpha, model(path).alpha)
    assert result.source == str(path)


def test_things_in_a_list_that_are_no_picture_are_told(model):
    results = model([disc(), 5, None, "nowhere.png"], errors="skip")
    assert len(list(results)) == 1
    assert [f.source for f in results.failures] == ["picture 1", "picture 2", "nowhere.png"]


def test_a_picture_above_the_memory_limit_is_refused_and_a_tight_limit_only_slows(bundle):
    model = Inferencer(bundle, backend="onnxruntime", max_memory=24 * 100 * 101, threads=1)
    assert len(list(model([disc(100, 100)] * 5))) == 5
    with pytest.raises(ImageError, match=r"above the limit of 0 MiB; .*--max-memory"):
        model(disc(200, 100))


# -- devices and memory

class Greedy:
    """A session whose device holds ``room`` pictures."""

    device = "cuda:0"

    def __init__(self, room: int, error: Exception):
        self.room, self.error, self.sizes = room, error, []

    def __call__(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return batch[:, :1]

    def describe(self):
        return "greedy on cuda:0"


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError(),
                                   RuntimeError("Failed to allocate memory for requested buffer of size 8")])
def test_out_of_memory_halves_the_batch_for_good_and_says_so(error, caplog):
    session = Greedy(3, error)
    network = Network(session, 8)
    tensors = [np.full((3, 4, 4), i, np.float32) for i in range(10)]
    with caplog.at_level(logging.WARNING, "dense"):
        outputs = network(tensors)
    assert [o[0, 0, 0] for o in outputs] == list(range(10))
    assert session.sizes == [8, 4, 2, 2, 2, 2, 2] and network.batch == 2
    assert "out of memory with a batch of 8 at 4 x 4; going on with 4" in caplog.text


def test_out_of_memory_with_one_picture_fails_that_picture_only(bundle):
    whole = Inferencer(bundle, mode="whole", backend="onnxruntime", threads=1)
    session = whole.network.session

    class Small(Greedy):
        def __call__(self, batch):
            if batch.shape[-1] > 200:
                raise RuntimeError("CUDA out of memory")
            return session(batch)

    whole.network.session = Small(9, RuntimeError())
    results = whole([disc(), disc(64, 640), disc()], errors="skip")
    assert len(list(results)) == 2
    assert "out of memory with a single window of 64 x 640; use mode 'global'" in results.failures[0].reason


def test_other_errors_are_not_taken_for_memory():
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    with pytest.raises(KeyError):
        Network(Greedy(0, KeyError("x")), 4)([np.zeros((3, 4, 4), np.float32)])


def test_a_bundle_of_fixed_shape_is_fed_its_batch_and_no_other_size(tmp_path, caplog):
    fixed = toy_bundle(tmp_path / "fixed", shapes={})
    model = Inferencer(fixed, backend="onnxruntime", batch=4, threads=1)
    assert model.network.batch == 1 and "takes batches of at most 1" in caplog.text
    assert model(disc()).alpha.shape == (90, 120)
    with pytest.raises(DenseError, match=r"takes 64 x 64 .*, not 96 x 128; use a mode of one size"):
        Inferencer(fixed, backend="onnxruntime", mode="whole")(disc())


@pytest.mark.parametrize(("arguments", "error", "words"), [
    (dict(name_or_bundle="isnet"), ConfigError, "has no weights, its output would mean nothing"),
    (dict(name_or_bundle="isnte", weights="x.pth"), DenseError, "x.pth: no such weights file"),
    (dict(name_or_bundle="isnte"), ConfigError, "no model is called 'isnte'"),
    (dict(name_or_bundle=5), ConfigError, "int is neither a model's name"),
    (dict(name_or_bundle="isnet@nothing"), WeightsError, f"shipped: {', '.join(list_shipped())}"),
    (dict(name_or_bundle="isnet@cutouts", backend="openvino"), ConfigError, "dense export"),
    (dict(name_or_bundle="isnet@cutouts", device="cuda:7"), ConfigError, "device 'cuda:7' cannot be used"),
    (dict(name_or_bundle="isnet@cutouts", device="toaster"), ConfigError, "device 'toaster' cannot be used"),
    (dict(name_or_bundle="isnet@cutouts", mode="tiles"), ConfigError, "global, whole, tiled"),
    (dict(name_or_bundle="isnet@cutouts", batch=0), ConfigError, "batch 0: must be at least 1"),
    (dict(name_or_bundle="isnet@cutouts", jobs=0), ConfigError, "jobs 0: must be at least 1"),
    (dict(name_or_bundle="no/such/bundle"), BundleError, "no such bundle"),
    (dict(name_or_bundle="{bundle}", backend="torch"), ConfigError, "a bundle does not run on torch"),
    (dict(name_or_bundle="{bundle}", weights="x.pth"), ConfigError, "holds its weights"),
    (dict(name_or_bundle="{bundle}", device="cuda", backend="onnxruntime"), ConfigError, "has no CUDA"),
    (dict(name_or_bundle="{bundle}", backend="tvm"), ConfigError, "known: auto")])
def test_wrong_settings(bundle, arguments, error, words):
    if torch.cuda.is_available():
        pytest.skip("asks for a GPU that is not there")
    arguments = {k: str(bundle) if v == "{bundle}" else v for k, v in arguments.items()}
    with pytest.raises(error, match=r"Remedy|; |known|must be") as caught:
        Inferencer(**arguments)
    assert words in str(caught.value)


def test_a_network_that_serves_training_only_is_refused():
    with pytest.raises(ConfigError, match="serves training only"):
        Inferencer(build_model("isnet_gt_encoder", width=0.125))


def test_a_missing_backend_says_how_to_get_it(bundle, monkeypatch):
    monkeypatch.setattr("dense.backends.session.Backend.installed", lambda self: False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dense\[deploy\]'"):
        Inferencer(bundle, backend="onnxruntime")


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "mmengine", "mmcv", "safetensors"):
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
"""


def test_a_bundle_needs_neither_torch_nor_mmengine(bundle, tmp_path):
    (picture,) = write_pictures(tmp_path, 1)
    code = BLOCKED + (
        "from dense.cli import main\n"
        "from dense import Inferencer\n"
        f"a = Inferencer({str(bundle)!r}, backend='onnxruntime')({str(picture)!r})\n"
        f"code = main(['cutout', {str(picture)!r}, '-o', {str(tmp_path / 'out')!r}, '--bundle', {str(bundle)!r}])\n"
        "print(a.alpha.shape, code, [m for m in ('torch', 'mmengine') if m in sys.modules])\n"
        f"print(main(['cutout', {str(picture)!r}]))\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.splitlines() == ["(70, 100) 0 []", "1"], done.stderr
    assert (tmp_path / "out/0.png").is_file()
    assert "needs PyTorch and mmengine" in done.stderr and "or run a bundle" in done.stderr


@pytest.mark.parametrize("mode", ["global", "tiled"])
def test_output_that_is_not_finite_is_a_failure_and_no_picture(bundle, monkeypatch, mode):
    model = Inferencer(bundle, backend="onnxruntime", mode=mode)
    run = type(model.session).run
    monkeypatch.setattr(type(model.session), "run", lambda self, inputs: {
        name: value * np.nan for name, value in run(self, inputs).items()})
    with pytest.raises(ImageError, match="not finite"):
        model(disc())


@pytest.mark.parametrize("device", [0, ""])
def test_a_device_that_is_not_there_is_never_the_cpu_in_its_place(bundle, device):
    with pytest.raises(ConfigError, match="device"):
        Inferencer(bundle, backend="onnxruntime", device=device)
