"""Autocast on any device: mmengine's AMP wrapper insists on a GPU."""
from __future__ import annotations

from contextlib import contextmanager

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from dense.errors import ConfigError
from dense.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
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
        return {"type": AmpOptimWrapper, "dtype": "float16", "loss_scale": "dynamic"}
    if setting == "fp16":
        raise ConfigError("amp='fp16' needs a CUDA device, and there is none. Remedy: amp='bf16', or amp=True")
    raise ConfigError(f"amp={setting!r} is unknown; use None, True, 'bf16' or 'fp16'")
