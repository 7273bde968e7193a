"""Sessions on PyTorch: a model as it is, without an export. PyTorch is imported on use."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dense.backends.bundle import Tensor
from dense.backends.session import Session
from dense.errors import ConfigError

if TYPE_CHECKING:
    from dense.models.graph import DeployedGraph

AMP = {None: None, "bf16": "bfloat16", "fp16": "float16"}


class TorchSession(Session):
    """A graph module (``model.graph()``: arrays as in a bundle) on PyTorch; pictures in channels-last layout.

    The module itself is moved: give it a copy, best with BatchNorm folded (``dense.models.fold``).
    device: None takes the best there is. compile: through torch.compile (the first run of each shape takes
    minutes). amp: None, 'bf16' or 'fp16'.

    Raises ConfigError for a device that cannot be used, or settings that it does not know.
    """

    backend = "torch"

    def __init__(self, graph: DeployedGraph, device: str | None = None, threads: int | None = None,
                 compile: bool = False, amp: str | None = None):
        import torch

        self._torch = torch
        if amp not in AMP:
            raise ConfigError(f"amp {amp!r} is unknown; use bf16 or fp16, or leave it out")
        name = device or best_device()
        try:
            self._device = torch.device(name)
            self._graph = graph.eval().to(self._device)
        except (RuntimeError, AssertionError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(f"device {name!r} cannot be used ({line[:160]}). Remedy: device 'cpu', or install the "
                              "torch and the driver of that device") from None
        if threads:
            torch.set_num_threads(threads)
        pictures = all(len(shape) == 4 for shape in graph.input_shapes.values())
        self._layout = torch.channels_last if pictures else torch.contiguous_format
        self._graph = self._graph.to(memory_format=self._layout)
        if compile:
            self._graph = torch.compile(self._graph)
        self._amp = getattr(torch, AMP[amp]) if amp else None
        self.device, self.version = str(self._device), torch.__version__
        self.inputs = tuple(Tensor(n, "float32", s) for n, s in graph.input_shapes.items())
        self.shapes, self._outputs = {}, graph.output_names

    def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        torch = self._torch
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[n])).to(self._device) for n in self.input_names]
        tensors = [t.contiguous(memory_format=self._layout) for t in tensors]
        with torch.inference_mode(), torch.autocast(self._device.type, self._amp, enabled=self._amp is not None):
            outputs = self._graph(*tensors)
        outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
        return {n: o.float().cpu().numpy() for n, o in zip(self._outputs, outputs, strict=True)}


def best_device() -> str:
    """'cuda', 'mps' or 'cpu', whatever there is in this order."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
