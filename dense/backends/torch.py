"""Sessions on PyTorch: a model as it is, without an export. PyTorch is imported on use."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dense.backends.session import Session
from dense.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


class TorchSession(Session):
    """A graph module (``model.graph()``: arrays as in a bundle) on PyTorch.

    On CPU and CUDA in channels-last layout. compile: through torch.compile (the first run of each shape takes
    minutes). amp: None, 'bf16' or 'fp16'.
    """

    backend = "torch"

    def __init__(self, graph: nn.Module, device: str | None = None, threads: int | None = None,
                 compile: bool = False, amp: str | None = None):
        import torch

        self._torch = torch
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
        self._layout = torch.channels_last
        self._graph = self._graph.to(memory_format=self._layout)
        if compile:
            self._graph = torch.compile(self._graph)
        self._amp = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
        self.device = str(self._device)
        self.input_names, self._outputs = tuple(graph.input_names), tuple(graph.output_names)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        torch = self._torch
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[n])).to(self._device) for n in self.input_names]
        tensors = [t.contiguous(memory_format=self._layout) if t.ndim == 4 else t for t in tensors]
        with torch.inference_mode(), torch.autocast(self._device.type, self._amp, enabled=self._amp is not None):
            outputs = self._graph(*tensors)
        outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
        return {n: o.float().cpu().numpy() for n, o in zip(self._outputs, outputs, strict=True)}

    def describe(self) -> str:
        return f"torch {self._torch.__version__} on {self.device}"


def best_device() -> str:
    """'cuda', 'mps' or 'cpu', whatever there is in this order."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
