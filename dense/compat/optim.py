"""Optimizer wrappers: gradients that are dropped late, and autocast on any device (mmengine's insists on a GPU)."""
from __future__ import annotations

from contextlib import contextmanager

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from dense.errors import ConfigError
from dense.registry import OPTIM_WRAPPERS


class LateZeroGrad:
    """Drops gradients when the next step begins instead of when one ends.

    At the end of a step they are what keeps the C library from giving the heap back to the system, page by page to
    be asked for anew in the next forward pass (3 to 9 % of a step on CPU). The peak of memory is the same.
    """

    _stale = False

    def zero_grad(self, **kwargs) -> None:
        self._stale = True

    def _drop(self) -> None:
        if self._stale:
            self._stale = False
            super().zero_grad()

    def backward(self, loss: torch.Tensor, **kwargs) -> None:
        self._drop()  # for those who call no optim_context
        super().backward(loss, **kwargs)

    @contextmanager
    def optim_context(self, model):
        self._drop()
        with super().optim_context(model):
            yield


@OPTIM_WRAPPERS.register_module()
class LateOptimWrapper(LateZeroGrad, OptimWrapper):
    """mmengine's wrapper with ``LateZeroGrad``."""


@OPTIM_WRAPPERS.register_module()
class LateAmpOptimWrapper(LateZeroGrad, AmpOptimWrapper):
    """mmengine's wrapper with autocast and loss scaling on CUDA, with ``LateZeroGrad``."""


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(LateOptimWrapper):
    """Runs the forward pass under bf16 autocast on the device of the parameters; no loss scaling needed."""

    def __init__(self, dtype: str = "bfloat16", **kwargs):
        super().__init__(**kwargs)
        if dtype != "bfloat16":
            raise ValueError(f"dtype must be 'bfloat16' here, not {dtype!r}; fp16 needs loss scaling (a GPU)")
        self.device_type = self.optimizer.param_groups[0]["params"][0].device.type

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast(self.device_type, torch.bfloat16):
            yield


def amp_wrapper(setting: bool | str | None) -> dict:
    """Keys of the optimizer wrapper for the ``amp`` setting: None/False, True, 'bf16' or 'fp16'."""
    if not setting:
        return {}
    cuda = torch.cuda.is_available()
    if setting is True:
        setting = "bf16" if not cuda or torch.cuda.is_bf16_supported() else "fp16"
    if setting == "bf16":
        return {"type": AutocastOptimWrapper, "dtype": "bfloat16"}
    if setting == "fp16" and cuda:
        return {"type": LateAmpOptimWrapper, "dtype": "float16", "loss_scale": "dynamic"}
    if setting == "fp16":
        raise ConfigError("amp='fp16' needs a CUDA device, and there is none. Remedy: amp='bf16', or amp=True")
    raise ConfigError(f"amp={setting!r} is unknown; use None, True, 'bf16' or 'fp16'")
