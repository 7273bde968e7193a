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

    example: inputs of a run that shows which BatchNorm takes which convolution's output. Pairs of which one is used
    more than once are left as they are.

    Raises ValueError if the outputs for ``example`` are no longer the same: a convolution's output goes elsewhere too,
    besides to its BatchNorm.
    """
    original, network = network, copy.deepcopy(network).eval()
    if not any(isinstance(m, NORMS) for m in network.modules()):
        return network
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
    before = network(*example)
    for hook in hooks:
        hook.remove()
    names = {module: name for name, module in network.named_modules()}
    for norm, conv in pairs.items():
        if calls[norm] == calls[conv] == 1:
            network.set_submodule(names[conv], fuse_conv_bn_eval(conv, norm))
            network.set_submodule(names[norm], nn.Identity())
    for found, expected in zip(_tensors(network(*example)), _tensors(before), strict=True):
        if not torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * max(1.0, float(expected.abs().max()))):
            raise ValueError(f"folding BatchNorm changes the output of {type(original).__name__}: one of its "
                             "convolutions is read by more than the BatchNorm behind it")
    return network


def _tensors(output) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else [t for part in output for t in _tensors(part)]
