"""DeepEraser, a recurrent text eraser.

Paper: Feng et al., DeepEraser: Deep Iterative Context Mining for Generic Text Eraser, IEEE TMM 2024.
Origin of the published weights: the authors' repository (MIT). Module names are those of the published weights.

Shapes, for width 1, stride 1 and an input (N, 4, H, W); nothing is pooled:
    fnet                     (N, 128, H, W)   -> hidden (N, 64, H, W), context (N, 64, H, W)
    then in every iteration, from the last reconstruction (N, 3, H, W):
    update_block.encoder     (N,  64, H, W)
    update_block.gru         hidden (N, 64, H, W)
    update_block.pre_head    (N,   3, H, W)   -> reconstruction = picture + this
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dense.errors import ConfigError

SLOPE = 0.2  # of LeakyReLU in the head


def scaled(channels: int, width: float) -> int:
    """``channels * width`` rounded to a multiple of 8, at least 8; the published value for width 1."""
    return channels if width == 1 else max(8, 8 * round(channels * width / 8))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each followed by InstanceNorm and ReLU, beside the identity (or a 1x1 convolution)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.downsample = None
        if in_channels != out_channels:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.InstanceNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(F.instance_norm(self.conv1(x)), inplace=True)
        y = F.relu(F.instance_norm(self.conv2(y)), inplace=True)
        if self.downsample is not None:
            x = self.downsample(x)
        return F.relu(x + y, inplace=True)


class FeatureNetwork(nn.Module):
    """(N, 4, H, W) -> (N, out, H / stride, W / stride), rounded up."""

    def __init__(self, widths: tuple[int, ...], out_channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(4, widths[0], 7, stride=stride, padding=3)
        for index, (before, after) in enumerate(zip((widths[0], *widths), widths, strict=False), start=1):
            self.add_module(f"layer{index}", nn.Sequential(ResidualBlock(before, after), ResidualBlock(after, after)))
        self.layers = len(widths)
        self.conv2 = nn.Conv2d(widths[-1], out_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.instance_norm(self.conv1(x)), inplace=True)
        for index in range(1, self.layers + 1):
            x = self.get_submodule(f"layer{index}")(x)
        return self.conv2(x)


class ReconstructionEncoder(nn.Module):
    """A reconstruction (N, 3, H, W) -> features, the reconstruction itself among them, (N, out, H / s, W / s)."""

    def __init__(self, middle: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.convf1 = nn.Conv2d(3, middle, 7, stride=stride, padding=3)
        self.convf2 = nn.Conv2d(middle, out_channels - 3, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        features = F.relu(self.convf1(picture), inplace=True)
        features = F.relu(self.convf2(features), inplace=True)
        if self.stride > 1:
            picture = F.avg_pool2d(picture, self.stride, ceil_mode=True)
        return torch.cat((features, picture), 1)


class Pass(NamedTuple):
    """One direction of the GRU, prepared for all iterations.

    gates, candidate: weights for (hidden, features), of z and r together and of q; ``gates_context`` and
    ``candidate_context``: what context and bias add to them.
    """

    gates: Tensor
    gates_context: Tensor
    candidate: Tensor
    candidate_context: Tensor
    padding: tuple[int, int]


class SeparableConvGRU(nn.Module):
    """ConvGRU of two passes, rows (1, 5) and then columns (5, 1).

    Its inputs are hidden state, context and features, in this order. The context is the same in every iteration, so
    its part of the six convolutions, and the bias, are computed once (``prepare``): a convolution of concatenated
    channels is the sum of the convolutions of its parts.
    """

    def __init__(self, hidden: int, context: int, features: int):
        super().__init__()
        self.hidden, self.context = hidden, context
        channels = hidden + context + features
        for index, (kernel, padding) in enumerate((((1, 5), (0, 2)), ((5, 1), (2, 0))), start=1):
            for gate in "zrq":
                self.add_module(f"conv{gate}{index}", nn.Conv2d(channels, hidden, kernel, padding=padding))

    def prepare(self, context: Tensor) -> list[Pass]:
        """What does not change between iterations, from the context (N, C, H, W)."""
        passes = []
        for index in (1, 2):
            z, r, q = (self.get_submodule(f"conv{gate}{index}") for gate in "zrq")
            gates, bias = torch.cat((z.weight, r.weight)), torch.cat((z.bias, r.bias))
            passes.append(Pass(
                self._changing(gates), F.conv2d(context, self._fixed(gates), bias, padding=z.padding),
                self._changing(q.weight), F.conv2d(context, self._fixed(q.weight), q.bias, padding=q.padding),
                q.padding))
        return passes

    def _fixed(self, weight: Tensor) -> Tensor:
        return weight[:, self.hidden:self.hidden + self.context]

    def _changing(self, weight: Tensor) -> Tensor:
        return torch.cat((weight[:, :self.hidden], weight[:, self.hidden + self.context:]), 1)

    def forward(self, h: Tensor, features: Tensor, passes: list[Pass]) -> Tensor:
        """The next hidden state."""
        for p in passes:
            gates = F.conv2d(torch.cat((h, features), 1), p.gates, padding=p.padding)
            z, r = gates.add_(p.gates_context).sigmoid_().chunk(2, 1)
            q = F.conv2d(torch.cat((r * h, features), 1), p.candidate, padding=p.padding)
            h = torch.lerp(h, q.add_(p.candidate_context).tanh_(), z)
        return h


class Head(nn.Module):
    """Hidden state -> change of the picture (N, 3, H, W); with a stride, its pixels from channels."""

    def __init__(self, hidden: int, middle: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(hidden, middle, 3, padding=1)
        self.conv2 = nn.Conv2d(middle, 3 * stride**2, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(h), SLOPE, inplace=True)
        y = F.leaky_relu(self.conv2(y), SLOPE)
        return F.pixel_shuffle(y, self.stride) if self.stride > 1 else y


class UpdateBlock(nn.Module):
    """What an iteration uses."""

    def __init__(self, hidden: int, context: int, features: int, middle: int, stride: int):
        super().__init__()
        self.encoder = ReconstructionEncoder(middle, features, stride)
        self.gru = SeparableConvGRU(hidden, context, features)
        self.pre_head = Head(hidden, middle, stride)


class DeepEraser(nn.Module):
    """DeepEraser: 1,438,512 parameters at width 1.

    iterations: 8 are published; fewer are faster. width: multiplies the channel counts (rounded to multiples of 8).
    stride: (ours) 1 is the published network; with 2, all but input and output is at half the resolution, a quarter
    of the work, and twice the reach.

    forward: (N, 4, H, W), RGB in 0..1 and the mask (1: erase) -> every iteration's reconstruction (N, 3, H, W), RGB,
    not clamped. InstanceNorm needs more than one pixel.
    """

    def __init__(self, iterations: int = 8, width: float = 1.0, stride: int = 1):
        super().__init__()
        if not isinstance(width, int | float) or not width > 0:
            raise ConfigError(f"DeepEraser: width={width!r} is no positive number; 1 is the published network, 0.25 a "
                              "small one")
        for name, value in (("iterations", iterations), ("stride", stride)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"DeepEraser: {name}={value!r} is no whole number of at least 1; published: "
                                  f"{8 if name == 'iterations' else 1}")
        widths = tuple(scaled(c, width) for c in (16, 32, 32, 64, 64, 128))
        hidden, middle = scaled(64, width), scaled(128, width)
        self.iterations, self.width, self.stride, self.hidden = iterations, width, stride, hidden
        self.fnet = FeatureNetwork(widths, 2 * hidden, stride)
        self.update_block = UpdateBlock(hidden, hidden, hidden, middle, stride)

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.iterate(x))

    def last(self, x: Tensor) -> Tensor:
        """The last reconstruction (N, 3, H, W) alone: all that prediction uses."""
        return deque(self.iterate(x), maxlen=1).pop()

    def iterate(self, x: Tensor) -> Iterator[Tensor]:
        """The reconstructions, one after the other."""
        block, picture = self.update_block, x[:, :3]
        features = self.fnet(x)
        h, context = features[:, :self.hidden].tanh(), features[:, self.hidden:].relu()
        del features
        passes = block.gru.prepare(context)
        del context
        reconstruction = picture
        for _ in range(self.iterations):
            h = block.gru(h, block.encoder(reconstruction), passes)
            change = block.pre_head(h)
            if self.stride > 1:
                change = change[..., :x.shape[-2], :x.shape[-1]]
            reconstruction = picture + change
            yield reconstruction
