"""Sessions: one interface, equal outputs, and clear errors, on every backend."""
import importlib
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import make_bundle, make_graph

from dense.backends import BACKENDS, open_session
from dense.backends.torch import TorchSession
from dense.errors import BundleError, ConfigError, DenseError, InputError, MissingDependencyError

ROOT = Path(__file__).resolve().parents[2]
NAMES = [pytest.param(n, marks=pytest.mark.skipif(not b.installed(), reason=f"{n} is not installed"))
         for n, b in BACKENDS.items()]


def picture(*shape):
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 3, 48, 64), (3, 3, 33, 97), (4, 3, 128, 32)])
def test_a_session_gives_what_pytorch_gives(name, shape, made):
    session, batch = open_session(made, name, threads=1), picture(*shape)
    out = session.run({"image": batch})
    assert list(out) == ["alpha"] and out["alpha"].dtype == np.float32
    expected = TorchSession(make_graph(), "cpu")(batch)
    np.testing.assert_allclose(out["alpha"], expected, atol=1e-5)
    assert np.array_equal(session(batch), out["alpha"])
    assert (session.backend, session.device, session.reason) == (name, "cpu", "asked for")
    assert session.describe().startswith(f"{name} {session.version} on cpu")


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_inputs_stay_the_callers(name, made):
    session, batch = open_session(made, name), picture(1, 3, 48, 64)
    before = batch.copy()
    first = session(batch)
    kept = first.copy()
    session(np.zeros_like(batch))
    assert np.array_equal(first, kept) and np.array_equal(batch, before)


@pytest.mark.parametrize("name", NAMES)
def test_views_are_read_rightly(name, made):
    session, batch = open_session(made, name), picture(1, 3, 48, 64)
    view = np.ascontiguousarray(batch.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not view.flags.c_contiguous
    np.testing.assert_allclose(session(view), session(batch), atol=1e-6)


WRONG = {
    "dtype": ({"image": np.zeros((1, 3, 48, 64), np.uint8)}, r"image: uint8 \(1, 3, 48, 64\) does not.* give float32"),
    "rank": ({"image": np.zeros((3, 48, 64), np.float32)}, r"image: float32 \(3, 48, 64\) does not fit"),
    "channels": ({"image": np.zeros((1, 4, 48, 64), np.float32)}, r"that axis may be 3"),
    "batch": ({"image": np.zeros((5, 3, 48, 64), np.float32)}, r"batch 5 does not fit .* 1 to 4"),
    "empty": ({"image": np.zeros((0, 3, 48, 64), np.float32)}, r"batch 0 does not fit"),
    "large": ({"image": np.zeros((1, 3, 48, 129), np.float32)}, r"width 129 does not fit .* 32 to 128"),
    "name": ({"picture": np.zeros((1, 3, 48, 64), np.float32)}, r"takes image, but was given picture"),
    "nothing": ({}, r"takes image, but was given nothing"),
    "list": ({"image": [[1.0]]}, r"a list is no array"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", WRONG)
def test_inputs_that_do_not_fit_are_refused_before_running(name, case, made):
    inputs, words = WRONG[case]
    with pytest.raises(InputError, match=words):
        open_session(made, name).run(inputs)


def test_fixed_sizes_are_kept(tmp_path):
    session = open_session(make_bundle(tmp_path / "b", dynamic=False))
    assert session(picture(1, 3, 48, 64)).shape == (1, 1, 48, 64)
    for shape in ((2, 3, 48, 64), (1, 3, 48, 65)):
        with pytest.raises(InputError, match="that axis may be"):
            session(picture(*shape))


# the choice

def hide(monkeypatch, *packages):
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def test_auto_takes_the_fastest_and_says_so(made, caplog):
    with caplog.at_level(logging.INFO, "dense"):
        session = open_session(made)
    assert session.backend == next(n for n, b in BACKENDS.items() if b.installed())
    assert "the fastest for cpu" in session.reason and session.reason in caplog.text


def test_auto_goes_on_without_a_package_and_says_so(made, monkeypatch):
    pytest.importorskip("onnxruntime")
    hide(monkeypatch, "openvino")
    session = open_session(made)
    assert session.backend == "onnxruntime" and "openvino is not installed" in session.reason


def test_auto_goes_on_where_a_package_is_broken_and_warns(made, monkeypatch, caplog):
    pytest.importorskip("onnxruntime")
    real = importlib.import_module

    def broken(name, *args):
        if name == "dense.backends.openvino":
            raise ImportError("libtbb.so.12: cannot open shared object file")
        return real(name, *args)

    monkeypatch.setattr("dense.backends.session.importlib.import_module", broken)
    session = open_session(made)
    assert session.backend == "onnxruntime" and "openvino failed" in session.reason and "libtbb" in caplog.text
    with pytest.raises(MissingDependencyError, match=r"installed but cannot be imported \(libtbb.*Remedy"):
        open_session(made, "openvino")


def test_a_missing_package_is_named_with_how_to_get_it(made, monkeypatch):
    hide(monkeypatch, *(b.package for b in BACKENDS.values()))
    for name in BACKENDS:
        with pytest.raises(MissingDependencyError, match=rf"{name} needs the package {name}.*pip install 'dense\[dep"):
            open_session(made, name)
    with pytest.raises(MissingDependencyError, match=r"no backend for cpu is installed.*pip install 'dense\[deploy\]'"):
        open_session(made)


@pytest.mark.parametrize(("arguments", "words"), [
    ({"backend": "tensorflow"}, "no backend for bundles is called 'tensorflow'; known: auto, openvino"),
    ({"backend": "torch"}, "torch runs models by name"),
    ({"device": "abacus"}, "no backend runs on 'abacus'"),
    ({"backend": "onnxruntime", "device": "npu"}, "onnxruntime does not run on 'npu'"),
    ({"backend": "onnxruntime", "device": "cuda:first"}, "must be a number"),
    ({"threads": 0}, "threads 0: must be at least 1"),
])
def test_settings_that_cannot_be_are_errors(arguments, words, made):
    with pytest.raises(ConfigError, match=words):
        open_session(made, **arguments)


def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu(made):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    for run in (lambda: open_session(made, device="cuda"), lambda: open_session(made, "onnxruntime", "cuda:0"),
                lambda: open_session(made, "openvino", "gpu"), lambda: TorchSession(make_graph(), "cuda")):
        with pytest.raises(DenseError, match="Remedy"):
            run()


# PyTorch

def test_pytorch_in_half_precision_is_near(made):
    batch = picture(1, 3, 48, 64)
    exact, half = (TorchSession(make_graph(), "cpu", amp=amp)(batch) for amp in (None, "bf16"))
    assert half.dtype == np.float32 and 0 < np.abs(half - exact).max() < 0.1


@pytest.mark.slow
def test_pytorch_compiled_gives_the_same(made):
    import shutil

    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler")
    batch = picture(1, 3, 48, 64)
    np.testing.assert_allclose(TorchSession(make_graph(), "cpu", compile=True)(batch),
                               TorchSession(make_graph(), "cpu")(batch), atol=1e-5)


def test_pytorch_refuses_what_it_cannot_do():
    with pytest.raises(ConfigError, match="amp 'fp8' is unknown"):
        TorchSession(make_graph(), "cpu", amp="fp8")
    with pytest.raises(ConfigError, match="device 'toaster' cannot be used"):
        TorchSession(make_graph(), "toaster")
    with pytest.raises(InputError, match="image: uint8"):
        TorchSession(make_graph(), "cpu")(np.zeros((1, 3, 48, 64), np.uint8))


# without PyTorch

RUN = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "mmengine", "mmcv"):
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Block())
import numpy as np
from dense.backends import BACKENDS, open_session, read_bundle
bundle = read_bundle(sys.argv[1])
image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
for name, backend in BACKENDS.items():
    if backend.installed():
        session = open_session(bundle, name)
        alpha = bundle.task.run(image, session)
        fed, expected = bundle.golden()
        assert alpha.shape == (50, 70) and np.abs(session(fed) - expected).max() < 1e-4
        print("ran on", name)
from dense.cli import main
assert main(["verify", sys.argv[1], "--golden-only"]) == 0
assert not {"torch", "mmengine", "mmcv"} & set(sys.modules)
"""


def test_a_bundle_runs_and_is_verified_where_pytorch_and_mmengine_are_not(made):
    done = subprocess.run([sys.executable, "-c", RUN, made.folder], cwd=ROOT, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ran on") == sum(b.installed() for b in BACKENDS.values()) > 0
    assert "equal within the tolerance" in done.stdout


def test_auto_raises_what_the_first_backend_says_if_all_refuse(made, tmp_path, caplog):
    from dataclasses import replace

    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="cannot load it"):
        open_session(replace(made, folder=tmp_path))


TWO = """
import faulthandler, gc, signal, subprocess, sys
from dense.backends import open_session, read_bundle
faulthandler.enable()  # as pytest does
signal.signal(signal.SIGCHLD, lambda *_: None)  # as loaders do
first, second = (open_session(read_bundle(sys.argv[1]), "openvino") for _ in range(2))
del first
gc.collect()
del second
gc.collect()
for _ in range(5):
    subprocess.run([sys.executable, "-c", ""], check=True)
"""


def test_children_may_end_after_two_openvino_sessions_are_gone(made):
    """Two cores of OpenVINO that overlap leave the thread a stack for signals that is freed: a crash, later."""
    pytest.importorskip("openvino", reason="needs OpenVINO")
    done = subprocess.run([sys.executable, "-c", TWO, made.folder], cwd=ROOT, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
