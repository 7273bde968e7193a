"""The golden check: weights run on the golden picture or volume, and compared with what they were made from.

What it proves: the file is whole, fits the network, gives finite output that is not the same everywhere and changes
with the picture; where the original is at hand, that output is the original's. It does not prove that the output is
good.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dense.errors import WeightsError
from dense.tasks.golden import golden_input

if TYPE_CHECKING:
    from torch import Tensor, nn

GRID = 4
DRIFT = 1e-3  # of golden values, in units of the largest of them, at least 1: other machines sum in another order
LEAST = 1e-4  # change of the raw output below which nothing is said to react
FREE_SIZE = 256  # side that ONNX files are run at which take any
MOST = 512  # side of the golden picture at most: seconds, not minutes, on a CPU
MOST_OF_VOLUME = 64
# largest and mean difference of probabilities from the ONNX file's; float16 files are run in float16 by ONNX Runtime,
# the imported network computes in float32
TOLERANCE = {"float32": (1e-3, 1e-4), "float16": (5e-2, 5e-3)}


@dataclass
class Check:
    """What a check found: lines for people, problems (none if it passed), and the golden values."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    golden: dict = field(default_factory=dict)


def golden_inputs(model: nn.Module, size: tuple[int, ...]) -> np.ndarray:
    """What the network proper takes for the golden picture or volume of a size: float32 (1, C, *size)."""
    channels = getattr(model.network, "in_channels", 3)
    if model.task.takes_mask:
        picture = golden_input(size, 4)
        return np.concatenate([picture[:3] / 255, picture[3:] > 127])[None].astype(np.float32)
    picture = golden_input(size, channels)
    if len(size) == 3:  # prepared already
        return picture[None]
    normalise = getattr(model.task, "normalise", None)
    return (normalise(picture) if normalise and channels == 3 else picture / 255)[None]


def raw_output(model: nn.Module, inputs: np.ndarray) -> np.ndarray:
    """The network's first raw output (logits) for inputs (N, C, ...), on the CPU."""
    import torch

    with torch.inference_mode():
        output = model(torch.from_numpy(inputs), mode="tensor")
    while isinstance(output, list | tuple):
        output = output[0]
    return output.float().cpu().numpy()


def golden_values(output: np.ndarray, size: tuple[int, ...]) -> dict:
    """Mean, standard deviation and a grid of means of an output (1, C, *size), as plain values."""
    def grid(values: np.ndarray, axis: int) -> list[float]:
        if axis == values.ndim:
            return [float(values.mean())]
        return [v for part in np.array_split(values, GRID, axis) for v in grid(part, axis + 1)]

    values = {"mean": float(output.mean(dtype=np.float64)), "std": float(output.std(dtype=np.float64)),
              "grid": grid(output[0].mean(0).astype(np.float64), 0)}
    return {"size": list(size)} | {k: np.round(v, 6).tolist() for k, v in values.items()}


def check_output(model: nn.Module, expected: Mapping | None = None) -> Check:
    """Run a model in eval mode on the golden picture or volume.

    expected: golden values of an earlier run, or of the catalogue, to compare with.
    """
    check = Check()
    sides = model.task.size
    what, most = ("volume", MOST_OF_VOLUME) if len(sides) == 3 else ("picture", MOST)
    size = tuple(expected["size"]) if expected else tuple(min(side, most) for side in sides)
    inputs = golden_inputs(model, size)
    output = raw_output(model, inputs)
    if not np.isfinite(output).all():
        check.problems.append(f"the output for the golden {what} is not finite")
        return check
    check.golden = golden_values(output, size)
    change = float(np.abs(output - raw_output(model, np.zeros_like(inputs))).mean())
    if check.golden["std"] < LEAST:
        check.problems.append(f"the output for the golden {what} is the same everywhere ({check.golden['mean']:.4g})")
    elif change < LEAST:
        check.problems.append(f"the output does not change with the {what}")
    else:
        check.lines.append(f"golden {what} at {'x'.join(map(str, size))}: the output is finite, varies, and changes "
                           "with it")
    if expected:
        _compare_golden(check, expected)
    return check


def _compare_golden(check: Check, expected: Mapping) -> None:
    def numbers(values: Mapping) -> np.ndarray:
        return np.array([values["mean"], values["std"], *values["grid"]])

    difference = float(np.abs(numbers(check.golden) - numbers(expected)).max())
    allowed = DRIFT * max(1.0, float(np.abs(numbers(expected)).max()))
    text = f"golden values differ by {difference:.1e} from those recorded"
    if difference > allowed:
        check.problems.append(f"{text}, more than {allowed:.1e}: other weights, or another computation")
    else:
        check.lines.append(text)


def check_tensors(model: nn.Module, source: Mapping[str, Tensor]) -> Check:
    """Whether every tensor of the network is exactly the source's (its float16 values are exact in float32)."""
    own = model.network.state_dict()
    wrong = [k for k, v in own.items() if k not in source or not _same(v, source[k])]
    if wrong or len(own) != len(source):
        return Check(problems=[f"{len(wrong)} of {len(own)} tensors are not the source's ({', '.join(wrong[:5])})"])
    return Check(lines=[f"all {len(own)} tensors are exactly the source's"])


def _same(own: Tensor, other: Tensor) -> bool:
    import torch

    return own.shape == other.shape and torch.equal(own, other.to(own.dtype))


def check_against_onnx(model: nn.Module, path: Path) -> Check:
    """Compare the network with ONNX Runtime running the ONNX file that it was read from."""
    try:
        import onnxruntime
    except ImportError:
        return Check(["not compared with the original: ONNX Runtime is not installed (pip install 'dense[deploy]')"])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is said below
    options.enable_mem_reuse = False  # exporters note sizes of their own picture, which mislead it about others
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return Check([f"not compared with the original: ONNX Runtime cannot open it ({_first_line(error)})"])
    inputs = session.get_inputs()
    channels = getattr(model.network, "in_channels", 3)
    size = onnx_size(inputs[0].shape, channels) if len(inputs) == 1 else None
    if size is None:
        shapes = ", ".join(f"{i.name} {i.shape}" for i in inputs)
        return Check([f"not compared with the original: it takes {shapes}, not one picture (1, {channels}, h, w)"])
    return _compare_onnx(model, session, tuple(s or FREE_SIZE for s in size), _precision(path))


def onnx_size(shape: list, channels: int) -> tuple[int | None, int | None] | None:
    """(height, width) of an ONNX input, None for sides that may vary; None in all where it is no picture."""
    fixed = [s if isinstance(s, int) else None for s in shape]
    if len(fixed) != 4 or fixed[0] not in (None, 1) or fixed[1] not in (None, channels):
        return None
    return fixed[2], fixed[3]


def _precision(path: Path) -> str:
    """'float16' if the file holds weights in it, else 'float32'."""
    try:
        import onnx
    except ImportError:
        return "float32"
    types = {t.data_type for t in onnx.load(str(path)).graph.initializer}
    return "float16" if onnx.TensorProto.FLOAT16 in types else "float32"


def _compare_onnx(model: nn.Module, session, size: tuple[int, int], precision: str) -> Check:
    first = session.get_inputs()[0]
    dtype = np.float16 if "float16" in first.type else np.float32
    inputs = golden_inputs(model, size)
    own = 1 / (1 + np.exp(-raw_output(model, inputs).astype(np.float64)))
    try:
        outputs = session.run(None, {first.name: inputs.astype(dtype)})
    except Exception as error:
        return Check([f"not compared with the original: ONNX Runtime cannot run it ({_first_line(error)})"])
    found = []
    for info, output in zip(session.get_outputs(), outputs, strict=True):
        if getattr(output, "shape", None) == own.shape:
            values = output.astype(np.float64)
            for kind, other in (("probabilities", values), ("logits", 1 / (1 + np.exp(-values)))):
                difference = np.abs(own - other)
                found.append((float(difference.max()), float(difference.mean()), info.name, kind))
    if not found:
        return Check([f"not compared with the original: none of its {len(outputs)} outputs has the shape {own.shape}"])
    largest, mean, name, kind = min(found)
    most, most_mean = TOLERANCE[precision]
    text = (f"output {name!r} ({kind}) of the original in ONNX Runtime, {precision}, {size[0]}x{size[1]}: "
            f"probabilities differ by {largest:.1e} at most, {mean:.1e} in the mean")
    if not (largest <= most and mean <= most_mean):  # nor NaN
        return Check(problems=[f"{text}; allowed are {most:.0e} and {most_mean:.0e}: its input may be scaled "
                               "otherwise, or it is another network"])
    return Check([text])


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def require(check: Check, path: str | Path) -> None:
    """WeightsError if the check found a problem."""
    if check.problems:
        raise WeightsError(f"{path}: the golden check failed: {'; '.join(check.problems)}. Nothing was imported. "
                           "Remedy: check that it is the right file")
