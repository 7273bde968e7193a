"""Files of weights as others left them: read by content, and recognised by the names and shapes of their tensors."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dense.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Source:
    """A file that was read. kind: 'pth', 'safetensors' or 'onnx'; state: tensors by key (not of ONNX); shapes by key;
    meta: what our own files say; size: (height, width) that an ONNX file is fixed to."""

    path: Path
    kind: str
    state: dict[str, Tensor] | None
    shapes: dict[str, tuple[int, ...]]
    meta: dict = field(default_factory=dict)
    size: tuple[int, int] | None = None


def read_source(path: Path) -> Source:
    """Read weights of any kind, by content. Raises WeightsError, MissingDependencyError."""
    from dense.weights.files import read_safetensors, read_weights

    kind = _kind(path)
    if kind == "onnx":
        from dense.models.onnx_nodes import read_nodes

        nodes = read_nodes(path)
        return Source(path, kind, None, {f"{k}.weight": tuple(v[0].shape) for k, v in nodes.items() if v},
                      size=_fixed_size(path))
    weights = read_safetensors(path) if kind == "safetensors" else read_weights(path)
    return Source(path, kind, weights.tensors, {k: tuple(v.shape) for k, v in weights.tensors.items()}, weights.meta)


def _kind(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith((b"PK", b"\x80")):
        return "pth"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return "safetensors"
    if path.suffix.lower() == ".safetensors":
        return "safetensors"
    # the first field of an ONNX file, its version; all else is refused by the reader of PyTorch files
    return "onnx" if path.suffix.lower() == ".onnx" or head.startswith(b"\x08") else "pth"


def _fixed_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of the picture that an ONNX file takes, if it takes no other."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {i.name for i in graph.initializer}
    inputs = [i for i in graph.input if i.name not in weights]
    if len(inputs) != 1:
        return None
    sides = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    return tuple(sides[2:]) if len(sides) == 4 and min(sides[2:]) >= 32 else None


def recognise_source(source: Source, wanted: str | None = None) -> tuple[str, dict]:
    """Name and network settings of the model that a file holds weights of. WeightsError if dense has none.

    wanted: the model, where several have weights of the same shapes; ConfigError if it is not said then.
    """
    from dense.models.names import model_of_meta, recognise

    own = model_of_meta(source.meta) if source.meta else None
    if own and isinstance(source.meta.get("network"), Mapping):
        return own, dict(source.meta["network"])
    found = recognise(source.shapes, wanted)
    if found is None:
        some = ", ".join(list(source.shapes)[:3])
        raise WeightsError(f"{source.path}: not the weights of a network that dense has ({len(source.shapes)} tensors, "
                           f"{some} ...). Remedy: check the file; the networks are those of `dense models`")
    stored = source.meta.get("network")
    return found[0], {**found[1], **(stored if isinstance(stored, Mapping) else {})}


def plain_keys(state: dict[str, Tensor], first: str) -> dict[str, Tensor]:
    """Without the prefix that all keys have in common (``module.``, ``net.`` ...): what is before the network's
    ``first`` key."""
    prefixes = {k.removesuffix(first) for k in state if f".{k}".endswith(f".{first}")}
    common = [p for p in prefixes if all(k.startswith(p) for k in state)]
    return {k.removeprefix(common[0]): v for k, v in state.items()} if common else state
