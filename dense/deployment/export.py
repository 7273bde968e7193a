"""``export``: a model becomes a bundle."""
from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dense import __version__
from dense.backends.bundle import Bundle, Tensor, is_bundle, read_bundle, sha256, write_description
from dense.deployment.source import Source
from dense.errors import ConfigError, DenseError, ExportError, MissingDependencyError
from dense.tasks.golden import golden_input

if TYPE_CHECKING:
    from dense.models.graph import DeployedGraph

OPSETS = range(18, 24)
# of outputs within -1..1; of larger ones (logits) in proportion to the largest, for float32 has relative errors
TOLERANCE = {"max": 1e-4, "mean": 1e-5, "metric": 1e-3}
# (smallest, usual, largest); below 64 the deepest levels are one pixel wide, and OpenVINO refuses to pool that
LIMITS = {"batch": (1, 1, 64), "height": (64, None, 4096), "width": (64, None, 4096)}
AXES = ("depth", "height", "width")
# Sizes to trace with: none may be 1 anywhere in the network, or equal to another, or it becomes part of the graph.
TRACED = {"batch": 2, "height": 320, "width": 448}
SCOPES = "pkg.torch.onnx.name_scopes"
GOLDEN = 64 * 2**20  # bytes of a golden output; of larger ones every second value is kept, every third ...

Say = Callable[[str], None]


@dataclass(frozen=True)
class ExportSettings:
    """Of one export.

    size: (height, width), of volumes (depth, height, width), instead of the task's. batch: (smallest, usual, largest).
    dynamic: names of the sizes that may vary, None for all that the network allows. opset: of ONNX.

    Raises ConfigError for values that contradict each other.
    """

    size: tuple[int, ...] | None = None
    batch: tuple[int, int, int] = LIMITS["batch"]
    dynamic: tuple[str, ...] | None = None
    opset: int = 18

    def __post_init__(self):
        if self.opset not in OPSETS:
            raise ConfigError(f"opset {self.opset}: give one from {OPSETS[0]} to {OPSETS[-1]}")
        low, usual, high = self.batch
        if not 0 < low <= usual <= high:
            raise ConfigError(f"batch {low} {usual} {high}: must be smallest, usual, largest, and at least 1")


def export(source: Source, folder: str | Path, settings: ExportSettings | None = None, name: str | None = None,
           force: bool = False, say: Say = lambda text: None) -> Bundle:
    """Export a model into ``folder``, which becomes a bundle; it is complete or not there.

    force: replace an earlier bundle. say: is told what is going on, a line at a time.

    Raises ConfigError, ExportError, MissingDependencyError, WeightsError, or DenseError where the folder cannot be
    written.
    """
    settings, folder = settings or ExportSettings(), Path(folder)
    check_target(folder, force)
    for package in ("onnx", "onnxscript"):
        _need(package)
    say(f"building {source.model}{f' with {source.weights}' if source.weights else ''}")
    model = source.build()
    task = replace_size(model.task, settings.size)
    graph = model.graph()
    shapes, dynamic = sizes_of(graph, task.size, settings)
    with _folder(folder) as temporary:
        begun = time.perf_counter()
        with _heartbeat(say, f"PyTorch to ONNX, opset {settings.opset} (half a minute to two for a large network)"):
            graph, program = trace(graph, shapes, dynamic, settings.opset)
        write_model(program, temporary / "model.onnx", graph)
        say(f"written after {time.perf_counter() - begun:.0f} s: model.onnx, "
            f"{(temporary / 'model.onnx').stat().st_size / 2**20:.1f} MiB")
        usual = {k: v[1] for k, v in shapes.items()}
        golden, step = write_golden(graph, temporary / "golden", usual)
        files = {p.relative_to(temporary).as_posix(): sha256(p) for p in sorted(temporary.rglob("*")) if p.is_file()}
        varying = {k: v for k, v in shapes.items() if k in dynamic}
        bundle = Bundle(
            folder=temporary, name=name or source.default_name, task=task, model="model.onnx",
            inputs=_tensors(graph.input_shapes, usual, dynamic),
            outputs=_tensors(graph.output_shapes, _output_sizes(graph, golden) | usual,
                             dynamic if {"height", "width"}.isdisjoint(dynamic) else
                             (*dynamic, *_output_sizes(graph, golden))),
            shapes=varying, precision="fp32", opset=settings.opset, files=files, tolerance=tolerance_of(golden),
            versions=_versions(), source=source.record(), golden_step=step, **source.facts())
        write_description(temporary, bundle.to_dict())
        read_bundle(temporary)
    return replace(bundle, folder=folder)


def check_target(folder: Path, force: bool) -> None:
    """ConfigError if ``folder`` holds what must not be replaced."""
    if is_bundle(folder):
        if not force:
            raise ConfigError(f"{folder}: holds a bundle already. Remedy: --force replaces it, or another -o")
    elif folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is a folder with other things in it. Remedy: a new folder with -o")
    elif folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file, a bundle is a folder. Remedy: another -o")


def replace_size(task, size: Sequence[int] | None):
    """The task, with another (height, width), or (depth, height, width). ConfigError if it refuses that."""
    if size is not None and len(size) != len(task.size):
        names = " ".join(AXES[-len(task.size):])
        raise ConfigError(f"--size {' '.join(map(str, size))}: {len(size)} numbers, it takes {names}")
    try:
        return task if size is None else replace(task, size=tuple(size))
    except ValueError as error:
        raise ConfigError(f"--size: {error}") from None


def sizes_of(graph: DeployedGraph, size: tuple[int, ...], settings: ExportSettings
             ) -> tuple[dict[str, tuple[int, int, int]], tuple[str, ...]]:
    """(smallest, usual, largest) of every named size, and the names of those that vary.

    Raises ConfigError for names that the network does not know.
    """
    dynamic = graph.dynamic if settings.dynamic is None else settings.dynamic
    if unknown := [d for d in dynamic if d not in graph.dynamic]:
        known = ", ".join(graph.dynamic) or "none"
        raise ConfigError(f"--dynamic {' '.join(unknown)}: what may vary in the network is {known}")
    shapes = LIMITS | {"batch": tuple(settings.batch)}
    for axis, usual in zip(AXES[-len(size):], size, strict=True):
        low, _, high = shapes.get(axis, (usual, usual, usual))
        shapes[axis] = (min(low, usual), usual, max(high, usual))
    shapes = {k: v if k in dynamic else (v[1],) * 3 for k, v in shapes.items() if k in graph.dynamic}
    return shapes, tuple(d for d in graph.dynamic if d in dynamic)


def trace(graph: DeployedGraph, shapes: dict[str, tuple[int, int, int]], dynamic: tuple[str, ...], opset: int):
    """The graph with BatchNorm folded, and its ONNX program. Raises ExportError."""
    import torch

    from dense.models.fold import fold_batchnorm

    example = graph.example({k: TRACED.get(k, v[1]) if k in dynamic else v[1] for k, v in shapes.items()})
    folded = fold_batchnorm(graph, *graph.example({k: min(v[1], 64) for k, v in shapes.items()} | {"batch": 1}))
    axes = tuple({i: torch.export.Dim.DYNAMIC for i, s in enumerate(shape) if s in dynamic}
                 for shape in graph.input_shapes.values())
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)  # it warns of torchvision, which nothing here needs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                folded, example, dynamo=True, opset_version=opset, input_names=list(graph.input_names),
                output_names=list(graph.output_names), dynamic_shapes=axes, verbose=False)
    except Exception as error:
        line = next((x for x in str(error).splitlines() if x.strip()), type(error).__name__)[:300]
        raise ExportError(f"PyTorch {torch.__version__} could not export the network ({line}). Remedy: fewer dynamic "
                          "sizes (--dynamic none), another --opset; DENSE_TRACEBACK=1 shows more") from error
    finally:
        logger.setLevel(level)
    return folded, program


def write_model(program, path: Path, graph: DeployedGraph) -> None:
    """Write the ONNX: sizes by our names, and of the exporter's notes only the modules' paths.

    Its notes hold lines and paths of the machine of the export. Weights go into a file of their own above 2 GB only.
    """
    import onnx

    program.save(str(path))
    model = onnx.load(str(path), load_external_data=False)
    for values, shapes in ((model.graph.input, graph.input_shapes), (model.graph.output, graph.output_shapes)):
        for value in values:
            for dim, axis in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
                if dim.HasField("dim_param") and isinstance(axis, str):
                    dim.dim_param = axis
    del model.graph.value_info[:]  # in terms of the exporter's names of sizes; runtimes infer them
    for item in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        kept = [p for p in item.metadata_props if p.key == SCOPES]
        del item.metadata_props[:]
        item.metadata_props.extend(kept)
        if hasattr(item, "doc_string"):
            item.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "dense", __version__, ""
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path))


def tolerance_of(golden: np.ndarray) -> dict[str, float]:
    """Tolerances of a bundle with this golden output."""
    scale = max(1.0, float(np.abs(golden).max()))
    return TOLERANCE | {k: min(TOLERANCE[k] * scale, 0.1) for k in ("max", "mean")}


def write_golden(graph: DeployedGraph, folder: Path, sizes: dict[str, int]) -> tuple[np.ndarray, int]:
    """Golden input and PyTorch's output at the usual sizes, as ``input.npy`` and ``output.npy``; returns the output,
    and every how many of its values were written along the axes after the channels."""
    import torch

    (shape,) = graph.input_shapes.values()
    n, channels, *size = (s if isinstance(s, int) else sizes[s] for s in shape)
    values = np.stack([golden_input(size, channels, seed) for seed in range(n)])
    with torch.inference_mode():
        output = graph(torch.from_numpy(values)).numpy()
    step = 1
    while (kept := output[(..., *[slice(None, None, step)] * (output.ndim - 2))]).nbytes > GOLDEN:
        step += 1
    folder.mkdir()
    np.save(folder / "input.npy", values)
    np.save(folder / "output.npy", kept)
    return output, step


def _output_sizes(graph: DeployedGraph, golden: np.ndarray) -> dict[str, int]:
    """Sizes of the output, in the golden one, that only follow from those of the inputs, by name."""
    (shape,) = graph.output_shapes.values()
    return {name: size for name, size in zip(shape, golden.shape, strict=True)
            if isinstance(name, str) and name not in graph.dynamic}


def _tensors(shapes: dict, usual: dict[str, int], dynamic: Sequence[str]) -> tuple[Tensor, ...]:
    return tuple(Tensor(name, "float32", tuple(s if isinstance(s, int) or s in dynamic else usual[s] for s in shape))
                 for name, shape in shapes.items())


def _versions() -> dict[str, str]:
    import onnx
    import onnxscript
    import torch

    return {"dense": __version__, "torch": torch.__version__, "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__}


def _need(package: str) -> None:
    import importlib.util

    try:
        found = importlib.util.find_spec(package) is not None
    except ValueError:
        found = False
    if not found:
        raise MissingDependencyError(f"export needs the package {package}, which is not installed. "
                                     "Remedy: pip install 'dense[deploy]'")


@contextlib.contextmanager
def _folder(final: Path) -> Iterator[Path]:
    """A temporary folder beside ``final`` that takes its place after the block; an earlier one is replaced."""
    final = Path(os.path.realpath(final))
    mark = secrets.token_hex(4)
    temporary, aside = (final.with_name(f".{final.name[:40]}.{mark}.{kind}") for kind in ("tmp", "old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if final.exists():
            os.replace(final, aside)
        os.replace(temporary, final)
    except OSError as error:
        raise DenseError(f"{final}: cannot be written ({error.strerror or error}). Remedy: check the disk, and the "
                         "permissions of the folder above it") from error
    finally:
        if aside.exists() and not final.exists():
            os.replace(aside, final)
        for leftover in (temporary, aside):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def _heartbeat(say: Say, what: str, every: float = 15.0) -> Iterator[None]:
    """Say what is going on, and every so often that it still is."""
    say(what)
    done, begun = threading.Event(), time.perf_counter()

    def beat() -> None:
        while not done.wait(every):
            say(f"  still at it, {time.perf_counter() - begun:.0f} s")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def say_to_terminal(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)
