"""Several processes on CPU (gloo) or CUDA (NCCL): the parts that mmengine and torch leave to a GPU."""
from __future__ import annotations

import os

import torch
from torch import Tensor, nn
from torch import distributed as dist


def launched_by_torchrun() -> bool:
    """True in a process that torchrun started with more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def start_processes() -> None:
    """Under torchrun, join the process group: NCCL with CUDA devices, gloo without. Once is enough."""
    if not launched_by_torchrun() or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("nccl")
    else:
        dist.init_process_group("gloo")


def end_processes() -> None:
    """Leave the process group after success: a process that just exits may abort while others still talk."""
    if dist.is_initialized():
        dist.destroy_process_group()


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce with its gradient: the sum of the gradients of all processes."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        out = x.clone()
        dist.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        out = grad.clone()
        dist.all_reduce(out)
        return out


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes, on any device (torch's own wants CUDA)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        shape = (1, -1, 1, 1)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        local = torch.cat([wide.sum((0, 2, 3)), wide.new_tensor([x.numel() / x.shape[1]])])
        total = _SumOverProcesses.apply(local)
        count = total[-1]
        mean = total[:-1] / count
        centred = wide - mean.view(shape)  # a second round: the mean of squares less the square would cancel
        var = _SumOverProcesses.apply((centred * centred).sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            factor = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, factor)
            self.running_var.lerp_(var * count / (count - 1), factor)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


def convert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm2d by one that synchronises; parameters, buffers and keys stay."""
    if torch.cuda.is_available():
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = SyncBatchNorm2d
    return module
