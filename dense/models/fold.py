"""Folding BatchNorm into the convolutions before it: the same function with fewer passes over memory."""
from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@torch.no_grad()
def fold_batchnorm(network: nn.Module, *example: Tensor) -> nn.Module:
    """A copy of ``network`` in eval mode, in which each BatchNorm that follows a convolution has become part of it.

    example: inputs of a run that shows which BatchNorm takes which convolution's output. Both must be used once
    in it; a convolution whose output goes anywhere else as well must not be followed by a BatchNorm.
    """
    network = copy.deepcopy(network).eval()
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # the outputs are kept, so that no id is given twice
    calls: dict[nn.Module, int] = {}
    pairs: dict[nn.Module, nn.Module] = {}

    def after_conv(module, inputs, output):
        made[id(output)] = (module, output)
        calls[module] = calls.get(module, 0) + 1

    def before_norm(module, inputs):
        calls[module] = calls.get(module, 0) + 1
        if id(inputs[0]) in made:
            pairs[module] = made[id(inputs[0])][0]

    hooks = [m.register_forward_hook(after_conv) for m in network.modules() if isinstance(m, CONVS)]
    hooks += [m.register_forward_pre_hook(before_norm) for m in network.modules() if isinstance(m, NORMS)]
    network(*example)
    for hook in hooks:
        hook.remove()
    names = {module: name for name, module in network.named_modules()}
    for norm, conv in pairs.items():
        if calls[norm] == calls[conv] == 1:
            network.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm))
            network.set_submodule(names[norm], nn.Identity())
    return network
