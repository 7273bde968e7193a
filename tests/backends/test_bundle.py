"""Bundles are read back as they were written, and whatever is wrong with one is an error that says so."""
import dataclasses
import json
import shutil
import subprocess

import numpy as np
import pytest
from tiny_bundle import rehash, write_description

from dense.backends import is_bundle, open_session, read_bundle
from dense.errors import BundleError


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made.folder, tmp_path / "b")


def test_a_bundle_is_read_as_it_was_written(made, folder):
    found = read_bundle(folder)
    assert dataclasses.replace(found, folder=made.folder) == made
    assert read_bundle(folder / "bundle.json") == found
    assert json.loads(json.dumps(found.to_dict())) == json.loads((folder / "bundle.json").read_text())
    assert found.limits(found.inputs[0]) == [(1, 4), (3, 3), (32, 128), (32, 128)]
    golden_in, golden_out = found.golden()
    assert golden_in.shape == (1, 3, 48, 64) and golden_out.std() > 0 and golden_out.max() <= 1


def test_what_a_bundle_is(folder, tmp_path):
    assert is_bundle(folder) and is_bundle(str(folder)) and is_bundle(folder / "bundle.json")
    assert not is_bundle(tmp_path) and not is_bundle(folder / "model.onnx") and not is_bundle("isnet")


def edit(change):
    """A change of bundle.json."""
    def apply(folder):
        values = json.loads((folder / "bundle.json").read_text())
        change(values)
        write_description(folder, values, rehash=False)
    return apply


def flip_byte(folder):
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


def move_file(name):
    def change(values):
        values["files"][name] = values["files"].pop("model.onnx")
        values["model"] = name
    return edit(change)


BAD = {
    "folder missing": (shutil.rmtree, r"no such bundle.*dense export"),
    "no description": (lambda f: (f / "bundle.json").unlink(), r"no bundle, it has no bundle\.json"),
    "not JSON": (lambda f: (f / "bundle.json").write_text("{"), r"bundle\.json: damaged"),
    "not text": (lambda f: (f / "bundle.json").write_bytes(b"\xff\xfe\x00"), r"bundle\.json: damaged"),
    "other JSON": (lambda f: (f / "bundle.json").write_text("[1]"), r"not the description of a bundle"),
    "other format": (edit(lambda v: v.update(format="x")), r"not the description of a bundle"),
    "newer version": (edit(lambda v: v.update(version=2)), r"version 2 of the format.*--upgrade"),
    "a version that is none": (edit(lambda v: v.update(version=True)), r"version True is none"),
    "nested without end": (lambda f: (f / "bundle.json").write_text("[" * 100_000), r"bundle\.json: damaged"),
    "a name that no file has": (edit(lambda v: v["files"].update({"a\0b": "0"})), r"the bundle is incomplete"),
    "a switch that is text": (edit(lambda v: v["task"].update(min_max="no")), r"min_max and cut are true or false"),
    "constants that are none": (edit(lambda v: v["task"].update(std=[float("nan")] * 3)), r"not understood"),
    "no version": (edit(lambda v: v.update(version=None)), r"version None is none"),
    "file changed": (flip_byte, r"model\.onnx: damaged or changed since the export"),
    "description changed": (lambda f: (f / "bundle.json").write_text(
        (f / "bundle.json").read_text().replace("0.0001", "0.5")), r"bundle\.json: damaged or changed.*sha256sum"),
    "description's hash missing": (lambda f: (f / "bundle.json.sha256").unlink(), r"json\.sha256: No such.*incomplete"),
    "description's hash damaged": (lambda f: (f / "bundle.json.sha256").write_bytes(b"\xff"), r"damaged or changed"),
    "file missing": (lambda f: (f / "golden/output.npy").unlink(), r"output\.npy: No such file.*incomplete"),
    "file truncated": (lambda f: (f / "model.onnx").write_bytes((f / "model.onnx").read_bytes()[:200]),
                       r"model\.onnx: damaged or changed"),
    "unknown task": (edit(lambda v: v["task"].update(kind="paint")), r"unknown task 'paint'.*update dense"),
    "newer task": (edit(lambda v: v["task"].update(halo=3)), r"the task cutout has no entry 'halo'; .*update dense"),
    "wrong task": (edit(lambda v: v["task"].update(size=[1, 2])), r"size must be two whole numbers"),
    "entry missing": (edit(lambda v: v.pop("outputs")), r"the entry 'outputs' is missing"),
    "entry of another kind": (edit(lambda v: v.update(shapes=3)), r"not understood"),
    "sizes in disorder": (edit(lambda v: v["shapes"].update(batch=[4, 2, 1])), r"not smallest, usual, largest"),
    "size without a meaning": (edit(lambda v: v["shapes"].pop("width")), r"'width', which shapes does not explain"),
    "unknown dtype": (edit(lambda v: v["inputs"][0].update(dtype="object")), r"unknown dtype 'object'"),
    "nothing listed": (edit(lambda v: v.update(files={})), r"files does not list model\.onnx"),
    "tolerance that takes all": (edit(lambda v: v["tolerance"].update(max=9)), r"tolerances"),
    "file above": (move_file("../model.onnx"), r"lies outside the bundle"),
    "file elsewhere": (move_file("/etc/hostname"), r"lies outside the bundle"),
    "file above on Windows": (move_file("..\\model.onnx"), r"lies outside the bundle"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(case, folder):
    harm, words = BAD[case]
    harm(folder)
    with pytest.raises(BundleError, match=words) as error:
        read_bundle(folder)
    assert "Remedy: " in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("length", [0, 150])
def test_a_graph_that_no_backend_reads_is_one_error(backend, length, folder):
    pytest.importorskip(backend)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:length])
    rehash(folder)
    with pytest.raises(BundleError, match=r"model\.onnx: O.* cannot load it .*Remedy") as error:
        open_session(read_bundle(folder), backend)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_names_that_the_graph_does_not_have_are_an_error(backend, folder):
    pytest.importorskip(backend)
    edit(lambda v: v["outputs"][0].update(name="mask"))(folder)
    with pytest.raises(BundleError, match=r"bundle\.json names.*Remedy"):
        open_session(read_bundle(folder), backend)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"x" * 100])
def test_damaged_golden_values_are_an_error(content, folder):
    (folder / "golden/input.npy").write_bytes(content)
    rehash(folder)
    with pytest.raises(BundleError, match=r"input\.npy: damaged"):
        read_bundle(folder).golden()


def test_golden_values_of_another_shape_are_an_error(folder):
    np.save(folder / "golden/output.npy", np.zeros(3, np.float32))
    rehash(folder)
    with pytest.raises(BundleError, match="the golden values of alpha are float32"):
        read_bundle(folder).golden()


def test_pickles_are_not_run(folder):
    np.save(folder / "golden/input.npy", np.array([{}], object), allow_pickle=True)
    rehash(folder)
    with pytest.raises(BundleError, match=r"input\.npy: damaged"):
        read_bundle(folder).golden()


def test_the_hash_of_the_description_is_one_that_sha256sum_checks(folder):
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    subprocess.run(["sha256sum", "--check", "--quiet", "bundle.json.sha256"], cwd=folder, check=True)
