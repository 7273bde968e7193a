"""Reading and writing weights safely: tensors and plain values, never arbitrary pickles."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dense.errors import WeightsError
from dense.io.atomic import atomic_path

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

    Raises WeightsError naming the file, what is wrong, and the remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file. Remedy: check the path")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path}: the file is empty. Remedy: fetch or train it again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        text = str(error)
        if "weights_only" in text or "Unsupported" in text or "GLOBAL" in text:
            reason = next((line.strip() for line in text.splitlines()
                           if "GLOBAL" in line or "Unsupported" in line), text.splitlines()[0])
            raise WeightsError(
                f"{path}: refused, since it holds more than tensors and plain values ({reason[:200]}); "
                "loading such a file could run code hidden in it. Remedy: where you trust its origin, open "
                "it there, and save only the state dict, best as .safetensors") from None
        raise WeightsError(f"{path}: damaged or no PyTorch file ({text.splitlines()[0][:200]}). "
                           "Remedy: fetch or train it again") from None


def read_weights(path: str | Path) -> Weights:
    """State dict and metadata of a .safetensors, .pth or .pt file.

    Raises WeightsError if the file is missing, damaged, unsafe, or holds no state dict.
    """
    path = Path(path)
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    content = read_checkpoint(path)
    meta = {}
    if isinstance(content, Mapping):
        meta = dict(content.get("meta") or {}) if isinstance(content.get("meta"), Mapping) else {}
        for key in STATE_KEYS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping) or not content or not all(
            isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        raise WeightsError(f"{path}: holds no state dict (keys -> tensors). Remedy: save "
                           "model.state_dict(), alone or under 'state_dict'")
    return Weights(dict(content), meta.get("weights", {}), path)


def _read_safetensors(path: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file. Remedy: check the path")
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            meta = (file.metadata() or {}).get("dense", "{}")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged safetensors file ({error}). "
                           "Remedy: fetch or train it again") from None
    tensors = {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}
    return Weights(tensors, json.loads(meta), path)


def write_weights(path: str | Path, tensors: Mapping[str, Tensor], meta: dict, half: bool = False) -> None:
    """Write .safetensors atomically; ``meta`` (JSON values) travels with it; half stores float16."""
    from safetensors.torch import save

    out = {k: (v.half() if half and v.is_floating_point() else v).contiguous().cpu()
           for k, v in tensors.items()}
    data = save(out, {"dense": json.dumps(meta)})
    with atomic_path(path) as temporary:
        Path(temporary).write_bytes(data)


def write_checkpoint(path: str | Path, content: dict) -> None:
    """Write a .pth of tensors and plain values atomically: the old file stays whole until the new one is."""
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
