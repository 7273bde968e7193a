"""Reading and writing weights safely: tensors and plain values, never arbitrary pickles."""
from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dense.errors import WeightsError
from dense.io.atomic import atomic_path, write_bytes

# where the weights sit in the checkpoints in circulation
STATE_KEYS = ("state_dict", "model_state_dict", "network_weights", "model")


@dataclass
class Weights:
    """Tensors by key, the plain values stored beside them, and the file they came from."""

    tensors: dict[str, Tensor]
    meta: dict = field(default_factory=dict)
    path: Path | None = None


def read_checkpoint(path: str | Path) -> dict:
    """Everything in a .pth/.pt file, on the CPU; refuses pickles of anything but tensors and plain values.

    NumPy numbers count as plain. Raises WeightsError naming the file, what is wrong, and the remedy.
    """
    path = Path(path)
    _check_file(path)
    with open(path, "rb") as file:
        head = file.read(32)
    if not head.startswith((b"PK", b"\x80")):
        raise WeightsError(f"{path}: no PyTorch file, it begins with {head!r} (a web page or a pointer saved in "
                           "place of the weights?). Remedy: fetch it again")
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise WeightsError(f"{path}: damaged, its end is missing. Remedy: fetch or train it again")
    try:
        with torch.serialization.safe_globals(_numpy_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error)
        if isinstance(error, pickle.UnpicklingError) and "weights_only" in text:
            found = re.search(r"GLOBAL (\S+)", text) or re.search(r"(Unsupported \w+ \w+)", text)
            reason = f" ({found[1]})" if found else ""
            raise WeightsError(
                f"{path}: refused, since it holds more than tensors and plain values{reason}; "
                "loading such a file could run code hidden in it. Remedy: where you trust its origin, open "
                "it there, and save only the state dict, best as .safetensors") from None
        line = next(iter(text.splitlines()), type(error).__name__)
        raise WeightsError(f"{path}: damaged or no PyTorch file ({line[:200]}). "
                           "Remedy: fetch or train it again") from None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file. Remedy: check the path")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path}: the file is empty. Remedy: fetch or train it again")


def _numpy_numbers() -> list:
    """What a pickled NumPy number consists of: metrics in training checkpoints often are some."""
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"]
    # the module had another name before NumPy 2
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *dtypes]


def find_state_dict(content) -> dict[str, Tensor] | None:
    """The state dict that ``content`` is, or holds under one of the usual keys; None if there is none."""
    if isinstance(content, Mapping):
        content = next((content[k] for k in STATE_KEYS if isinstance(content.get(k), Mapping)), content)
        if content and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
            return dict(content)
    return None


def read_weights(path: str | Path) -> Weights:
    """State dict and metadata of a .safetensors, .pth or .pt file.

    Raises WeightsError if the file is missing, damaged, unsafe, or holds no state dict.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        return read_safetensors(path)
    content = read_checkpoint(path)
    state = find_state_dict(content)
    if state is None:
        raise WeightsError(f"{path}: holds no state dict (keys -> tensors). Remedy: save "
                           "model.state_dict(), alone or under 'state_dict'")
    meta = content.get("meta")
    meta = meta.get("weights") if isinstance(meta, Mapping) else None
    if not isinstance(meta, dict):
        from dense.weights.nnunet import describe_checkpoint

        meta = describe_checkpoint(content, path)
    return Weights(state, meta, path)


def read_safetensors(path: Path) -> Weights:
    """State dict (float16 as float32) and metadata of a .safetensors file. WeightsError if missing or damaged."""
    from safetensors import SafetensorError, safe_open

    _check_file(path)
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            meta = json.loads((file.metadata() or {}).get("dense", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged safetensors file ({error}). "
                           "Remedy: fetch or train it again") from None
    tensors = {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}
    return Weights(tensors, meta, path)


def write_weights(path: str | Path, tensors: Mapping[str, Tensor], meta: dict, half: bool = False) -> None:
    """Write .safetensors atomically; ``meta`` (JSON values) travels with it.

    half: store float16, except vectors: they are small, and running variances may exceed its range.
    """
    from safetensors.torch import save

    out = {k: (v.half() if half and v.is_floating_point() and v.ndim > 1 else v).detach().contiguous().cpu()
           for k, v in tensors.items()}
    write_bytes(path, save(out, {"dense": json.dumps(meta)}))


def write_checkpoint(path: str | Path, content: dict) -> None:
    """Write a .pth of tensors and plain values atomically: the old file stays whole until the new one is.

    Raises DenseError if the disk is full or the folder cannot be written.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch.save reports its own broken archive instead of the failed write that led to it
            cause = error.__context__
            if not isinstance(cause, OSError):
                raise
            cause.filename = cause.filename or str(temporary)
            raise cause from None
