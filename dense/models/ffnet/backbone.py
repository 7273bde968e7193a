"""Backbones of FFNet: ResNets with other depths, widths and stems.

Module names are those of the published weights.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dense.errors import ConfigError
from dense.models.ffnet.family import scaled

# convolutions of a stem: (output channels, kernel, stride); the number of the first
STEM_CONVS = {"A": ((64, 7, 2),), "B": ((32, 3, 2), (64, 3, 2)), "C": ((64, 3, 2), (64, 3, 2), (64, 3, 1))}
_FIRST = {"A": 1, "B": 0, "C": 0}


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Convolution without bias that keeps height and width at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """3x3 conv -> BatchNorm -> ReLU -> 3x3 conv -> BatchNorm, added to the input (1x1 where the shape changes) -> ReLU.

    (N, in_channels, H, W) -> (N, channels, ceil(H / stride), ceil(W / stride)).
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 to ``4 * channels``, each with BatchNorm, added to the input.

    (N, in_channels, H, W) -> (N, 4 * channels, ceil(H / stride), ceil(W / stride)).
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = conv(in_channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv(channels, channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv(channels, self.expansion * channels, 1)
        self.bn3 = nn.BatchNorm2d(self.expansion * channels)
        self.downsample = shortcut(in_channels, self.expansion * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)), inplace=True)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """1x1 conv -> BatchNorm where a block changes the shape, else None."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))


class FFNetBackbone(nn.Module):
    """Backbone of any family.

    stem: 'A' (7x7, max pool), 'B' (two convolutions) or 'C' (three); all end at stride 4.
    layers, widths: number of blocks and channels of each layer, three or four of them.
    bottleneck: blocks of three convolutions. dilated: stride 2 in the first layer too.
    width: scales all channels.

    forward: (N, 3, H, W) -> four features, fine to coarse, of ``channels``: of four layers their outputs, of three the
    stem's and theirs. Strides 4, 8, 16, 32, twice that if ``dilated``.
    """

    def __init__(self, stem: str, layers: Sequence[int], widths: Sequence[int], bottleneck: bool = False,
                 dilated: bool = False, width: float = 1.0, in_channels: int = 3):
        super().__init__()
        if len(layers) != len(widths) or len(layers) not in (3, 4) or min(layers) < 1:
            raise ConfigError(f"FFNetBackbone: layers={layers!r} with widths={widths!r}: three or four numbers of "
                              "blocks, each at least 1, and as many widths")
        channels = in_channels
        for index, (out, kernel, stride) in enumerate(STEM_CONVS[stem], start=_FIRST[stem]):
            out = scaled(out, width)
            self.add_module(f"conv{index}", conv(channels, out, kernel, stride))
            self.add_module(f"bn{index}", nn.BatchNorm2d(out))
            channels = out
        self.stem = [str(i) for i in range(_FIRST[stem], _FIRST[stem] + len(STEM_CONVS[stem]))]
        self.pool = nn.MaxPool2d(3, 2, 1) if stem == "A" else None
        self.depth = len(layers)
        self.channels = [channels] if self.depth == 3 else []
        block = Bottleneck if bottleneck else BasicBlock
        for index, (count, out) in enumerate(zip(layers, widths, strict=True), start=1):
            stride = 1 if index == 1 and self.depth == 4 and not dilated else 2
            blocks = []
            for _ in range(count):
                blocks.append(block(channels, scaled(out, width), stride))
                channels, stride = block.expansion * scaled(out, width), 1
            self.add_module(f"layer{index}", nn.Sequential(*blocks))
            self.channels.append(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        for index in self.stem:
            x = F.relu(self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(x)), inplace=True)
        if self.pool is not None:
            x = self.pool(x)
        features = [x] if self.depth == 3 else []
        for index in range(1, self.depth + 1):
            x = self.get_submodule(f"layer{index}")(x)
            features.append(x)
        return features


class PreDown(nn.Module):
    """Fixed depthwise 5x5 Gaussian (sigma 0.7) of stride 2 in front of the network.

    padding: 'published' reflects one row above and below and nothing at the sides, as the published networks do:
    (N, C, H, W) -> (N, C, (H - 3) // 2 + 1, (W - 5) // 2 + 1), 256x512 -> 127x254. 'symmetric' reflects two pixels
    on all sides: 256x512 -> 128x256.
    """

    def __init__(self, channels: int = 3, padding: str = "published"):
        super().__init__()
        if padding not in ("published", "symmetric"):
            raise ConfigError(f"pre_down={padding!r} is unknown; use 'published' or 'symmetric'")
        self.pad = (0, 0, 1, 1) if padding == "published" else (2, 2, 2, 2)
        self.channels = channels
        line = torch.exp(-torch.arange(-2.0, 3.0) ** 2 / (2 * 0.7 ** 2))
        kernel = torch.outer(line, line)
        self.register_buffer("weight", (kernel / kernel.sum()).expand(channels, 1, 5, 5).clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, self.pad, mode="reflect"), self.weight, stride=2, groups=self.channels)
