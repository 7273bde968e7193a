"""Size and cost of networks: parameters, multiply-accumulates, memory for activations; of the whole and by stage.

All of it is worked out on PyTorch's meta device: shapes only, no values, no time.
"""
from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

FEW = 6
"""Where fewer parts of a network than these do the work, their parts are looked at."""


@dataclass(frozen=True)
class Stage:
    """A part of a network: parameters, multiply-accumulates, bytes that it keeps for the backward pass, output."""

    name: str
    parameters: int
    macs: int
    saved: int
    output: tuple[int, ...]


@dataclass(frozen=True)
class Complexity:
    """Figures of one network for one input.

    macs: of convolutions and matrix products, as papers count; normalisation, activation and resizing are left out.
    inference: bytes that live at once, at most, in a forward pass without gradients, weights not counted, and neither
    what a convolution needs for itself. training: bytes kept for the backward pass. Of float32, BatchNorm unfolded.
    """

    input: tuple[int, ...]
    parameters: int
    macs: int
    inference: int
    training: int
    stages: tuple[Stage, ...]


def measure(network: nn.Module, shape: Sequence[int]) -> Complexity:
    """Figures of a network for one input of ``shape`` (N, C, ...). The network is moved to the meta device."""
    network = network.to("meta")
    example = torch.empty(*shape, device="meta")
    stages = find_stages(network, example)
    macs, outputs = _count_macs(network.eval(), example, stages)
    saved = _count_saved(network.train(), example, stages)
    inference = _peak(network.eval(), example)
    parts = tuple(Stage(name, _parameters(module), macs[name], saved[name], outputs[name])
                  for name, module in stages.items())
    return Complexity(tuple(shape), _parameters(network), macs[""], inference, saved[""], parts)


def find_stages(network: nn.Module, example: Tensor) -> dict[str, nn.Module]:
    """The parts of a network that are called, by name: its children, or theirs where those are few."""
    called = set()
    hooks = [m.register_forward_hook(lambda module, *_: called.add(module)) for m in network.modules()]
    with torch.no_grad():
        network.eval()(example)
    for hook in hooks:
        hook.remove()

    def inside(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for child_name, child in module.named_children():
            full = f"{name}.{child_name}".lstrip(".")
            if child in called:
                yield full, child
            else:  # a container
                yield from inside(full, child)

    stages = dict(inside("", network))
    if sum(_parameters(m) > 0 for m in stages.values()) < FEW:
        finer: dict[str, nn.Module] = {}
        for name, module in stages.items():
            finer |= dict(inside(name, module)) or {name: module}
        stages = finer
    return {name: module for name, module in stages.items() if _parameters(module)}


@contextmanager
def _watched(stages: dict[str, nn.Module], enter: Callable, leave: Callable) -> Iterator[None]:
    """Calls ``enter(name)`` before a stage and ``leave(name, output)`` after it."""
    hooks = []
    for name, module in stages.items():
        # what a hook returns would take the place of the module's input or output
        def before(module, inputs, name=name):
            enter(name)

        def after(module, inputs, output, name=name):
            leave(name, output)

        hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _count_macs(network: nn.Module, example: Tensor, stages: dict[str, nn.Module]) -> tuple[dict, dict]:
    """Multiply-accumulates by stage, those of the network under '', and the shapes of the stages' first outputs."""
    macs, outputs = dict.fromkeys(["", *stages], 0), {}
    counter = FlopCounterMode(display=False)

    def enter(name: str) -> None:
        macs[name] -= counter.get_total_flops() // 2

    def leave(name: str, output) -> None:
        macs[name] += counter.get_total_flops() // 2
        outputs[name] = tuple(tree_leaves(output)[0].shape)

    with _watched(stages, enter, leave), counter, torch.no_grad():
        network(example)
    macs[""] = counter.get_total_flops() // 2
    return macs, outputs


def _count_saved(network: nn.Module, example: Tensor, stages: dict[str, nn.Module]) -> dict[str, int]:
    """Bytes that a training step keeps from the forward for the backward pass, by stage, and '' for all of them."""
    known = {id(t.untyped_storage()) for t in (*network.parameters(), *network.buffers())}
    saved, here, alive = dict.fromkeys(["", *stages], 0), [], []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in known:
            known.add(id(storage))
            alive.append(storage)  # else its id could be given again
            for name in {"", *here}:
                saved[name] += storage.nbytes()
        return tensor

    with _watched(stages, here.append, lambda *_: here.pop()), saved_tensors_hooks(pack, lambda t: t):
        network(example)
    return saved


class _Live(TorchDispatchMode):
    """Bytes of tensors that exist at the same time."""

    def __init__(self, *known: Tensor):
        super().__init__()
        self.known = {id(t.untyped_storage()) for t in known}
        self.now = self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return out

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if id(storage) not in self.known:
            self.known.add(id(storage))
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._drop, id(storage), storage.nbytes())

    def _drop(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def _peak(network: nn.Module, example: Tensor) -> int:
    with torch.no_grad(), _Live(*network.parameters(), *network.buffers()) as live:
        live.add(example)
        network(example)
    return live.most


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
