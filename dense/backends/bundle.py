"""Bundles: a folder with a network as ONNX, and everything else that is needed to run it, in ``bundle.json``.

    bundle.json          format and version, task, inputs and outputs, shapes, precision, versions, licences, hashes
    bundle.json.sha256   its own hash, as sha256sum writes and checks it
    model.onnx           values 0..255 in, final activation inside
    golden/input.npy     what the exporter fed, and
    golden/output.npy    what its framework answered, or every so many values of it along each axis
    verify.json, .html   not part of it: what ``dense verify`` found

Reading needs numpy and the task's own imports.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from dense.errors import BundleError
from dense.io import write_json, write_text
from dense.tasks import Task, task_from_dict

FORMAT, VERSION = "dense-bundle", 1
DESCRIPTION = "bundle.json"
DIGEST = "bundle.json.sha256"
DTYPES = ("float32", "float16", "uint8", "int32", "int64")


@dataclass(frozen=True)
class Tensor:
    """An input or output: its name in the graph, dtype, and shape of sizes and names of ``Bundle.shapes``; of outputs
    also other names, of sizes that follow from the inputs'."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Bundle:
    """What ``bundle.json`` says; paths are inside ``folder``.

    shapes: for every size that may vary, by name: (smallest, usual, largest).
    files: sha256 of every file, by relative path; ``model`` is one of them.
    tolerance: largest 'max' and 'mean' absolute difference from the golden output that counts as equal, and
        'metric', the largest change of the task's metrics.
    golden_step: the golden output keeps every so many values along the axes after the channels; whole ones of volumes
        would be larger than the network.
    source: what was exported, so that it can be built again: 'model', and 'weights' and their 'sha256' or None.
    """

    folder: Path
    name: str
    task: Task
    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    shapes: dict[str, tuple[int, int, int]]
    precision: str
    opset: int
    files: dict[str, str]
    tolerance: dict[str, float]
    versions: dict[str, str] = field(default_factory=dict)
    licences: dict[str, str] = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    source: dict = field(default_factory=dict)
    golden_step: int = 1

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / self.model

    def golden(self) -> tuple[np.ndarray, np.ndarray]:
        """Golden input and output. BundleError if they are damaged or do not have the shapes of the bundle."""
        pair = tuple(_read_npy(self.folder / "golden" / f"{side}.npy") for side in ("input", "output"))
        for array, tensor in zip(pair, (self.inputs[0], self.outputs[0]), strict=True):
            if array.ndim != len(tensor.shape) or array.dtype != tensor.dtype:
                raise BundleError(f"{self.folder}: the golden values of {tensor.name} are {array.dtype} "
                                  f"{array.shape}, not {tensor.dtype} {tensor.shape}. Remedy: export it again")
        return pair

    def golden_part(self, output: np.ndarray) -> np.ndarray:
        """Of a whole output (N, C, ...), what the golden output keeps."""
        return output[(..., *[slice(None, None, self.golden_step)] * (output.ndim - 2))]

    def limits(self, tensor: Tensor) -> list[tuple[int, int]]:
        """Smallest and largest size of each axis of one of the inputs."""
        return [(s, s) if isinstance(s, int) else (self.shapes[s][0], self.shapes[s][2]) for s in tensor.shape]

    def to_dict(self) -> dict:
        """The contents of ``bundle.json``."""
        values = asdict(self) | {"task": self.task.to_dict()}
        del values["folder"]
        return {"format": FORMAT, "version": VERSION} | values


def is_bundle(path: str | Path) -> bool:
    """Whether ``path`` is a bundle's folder, or its ``bundle.json``."""
    path = Path(path)
    return (path / DESCRIPTION).is_file() or (path.name == DESCRIPTION and path.is_file())


def read_bundle(path: str | Path, check: bool = True) -> Bundle:
    """Read a bundle and, with ``check``, compare every file with its hash.

    Raises BundleError: not a bundle, damaged, tampered with, made by a newer version, or incomplete.
    """
    path = Path(path)
    folder = path.parent if path.name == DESCRIPTION else path
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such bundle (a folder with {DESCRIPTION}). Remedy: make it with dense export")
    values = _read_description(folder)
    try:
        bundle = _parse(folder, values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing = f"the entry {error} is missing" if isinstance(error, KeyError) else f"not understood ({error})"
        raise BundleError(f"{folder / DESCRIPTION}: {missing}. Remedy: update dense if the bundle was made by a newer "
                          "version; else export it again") from None
    if check:
        check_files(bundle)
    return bundle


def _read_description(folder: Path) -> dict:
    path = folder / DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{folder}: no bundle, it has no {DESCRIPTION}. Remedy: name the folder that dense export "
                          "wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: damaged ({error}). Remedy: copy or export the bundle again") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BundleError(f"{path}: not the description of a bundle (format is not {FORMAT!r}). "
                          "Remedy: name the folder that dense export wrote")
    version = values.get("version")
    if type(version) is not int or version < 1:
        raise BundleError(f"{path}: version {version!r} is none. Remedy: export the bundle again")
    if version > VERSION:
        raise BundleError(f"{path}: version {version} of the format, this dense reads up to {VERSION}. "
                          "Remedy: pip install --upgrade dense")
    return values


def _parse(folder: Path, values: dict) -> Bundle:
    shapes = {str(k): _sizes(k, v) for k, v in values["shapes"].items()}
    sides = []
    for side in ("inputs", "outputs"):
        tensors = tuple(Tensor(str(t["name"]), str(t["dtype"]), tuple(t["shape"])) for t in values[side])
        if not tensors:
            raise ValueError(f"{side} is empty")
        for t in tensors:
            if t.dtype not in DTYPES:
                raise ValueError(f"{t.name} has the unknown dtype {t.dtype!r}")
            for size in t.shape:
                follows = side == "outputs" and isinstance(size, str) and size.isidentifier()
                if not (isinstance(size, int) and size > 0) and size not in shapes and not follows:
                    raise ValueError(f"{t.name} has the size {size!r}, which shapes does not explain")
        sides.append(tensors)
    files = {str(k): str(v) for k, v in values["files"].items()}
    model = str(values["model"])
    for name in files:
        if any(p(name).is_absolute() or p(name).drive or ".." in p(name).parts
               for p in (PurePosixPath, PureWindowsPath)):
            raise ValueError(f"the file {name!r} lies outside the bundle")
    for name in (model, "golden/input.npy", "golden/output.npy"):
        if name not in files:
            raise ValueError(f"files does not list {name}")
    tolerance = {k: float(values["tolerance"][k]) for k in ("max", "mean", "metric")}
    if not all(0 <= v < 1 for v in tolerance.values()):
        raise ValueError(f"the tolerances {tolerance} are not between 0 and 1")
    return Bundle(
        folder=folder, name=str(values["name"]), task=task_from_dict(values["task"]), model=model, inputs=sides[0],
        outputs=sides[1], shapes=shapes, precision=str(values["precision"]), opset=int(values["opset"]), files=files,
        tolerance=tolerance, golden_step=_step(values.get("golden_step", 1)),
        **{k: dict(values.get(k) or {}) for k in ("versions", "licences", "metrics", "source")})


def _sizes(name: str, values: object) -> tuple[int, int, int]:
    low, usual, high = values
    if not all(isinstance(v, int) for v in (low, usual, high)) or not 0 < low <= usual <= high:
        raise ValueError(f"the sizes {values} of {name!r} are not smallest, usual, largest")
    return low, usual, high


def _step(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"golden_step {value!r} is no whole number of at least 1")
    return value


def write_description(folder: Path, values: dict) -> None:
    """Write ``bundle.json`` (``Bundle.to_dict``) and its hash."""
    write_json(folder / DESCRIPTION, values)
    write_text(folder / DIGEST, f"{sha256(folder / DESCRIPTION)}  {DESCRIPTION}\n")


def check_files(bundle: Bundle) -> None:
    """BundleError if a file is missing or is not the one that was exported; ``bundle.json`` itself too."""
    _check_description(bundle.folder)
    for name, expected in bundle.files.items():
        path = bundle.folder / name
        try:
            found = sha256(path)
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise BundleError(f"{path}: {getattr(error, 'strerror', None) or error}; the bundle is incomplete. "
                              "Remedy: copy or export it again") from None
        if found != expected:
            raise BundleError(f"{path}: damaged or changed since the export (sha256 {found[:12]}..., expected "
                              f"{expected[:12]}...). Remedy: copy or export the bundle again")


def _check_description(folder: Path) -> None:
    try:
        expected = (folder / DIGEST).read_text(encoding="ascii", errors="replace").split()
    except OSError as error:
        raise BundleError(f"{folder / DIGEST}: {error.strerror or error}; the bundle is incomplete. "
                          "Remedy: copy or export it again") from None
    if expected != [sha256(folder / DESCRIPTION), DESCRIPTION]:
        raise BundleError(f"{folder / DESCRIPTION}: damaged or changed since the export (see {DIGEST}). Remedy: copy "
                          f"or export the bundle again; if you changed it on purpose, sha256sum {DESCRIPTION} > "
                          f"{DIGEST} in its folder")


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path}: damaged ({error}). Remedy: copy or export the bundle again") from None
