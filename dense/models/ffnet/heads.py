"""The up-head of FFNet, which joins four features top-down, and its seg head. Names are the published ones."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dense.errors import ConfigError

LEVELS = (4, 8, 16, 32)
MODES = ("bilinear", "nearest")


class ConvBNReLU(nn.Module):
    """Convolution without bias -> BatchNorm -> ReLU; keeps height and width."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def upsample(x: Tensor, target: Tensor, mode: str) -> Tensor:
    """``x`` at the height and width of ``target``: 'bilinear' (align_corners=True) or 'nearest'."""
    return F.interpolate(x, target.shape[-2:], mode=mode, align_corners=True if mode == "bilinear" else None)


class Adapters(nn.Module):
    """1x1 conv-BN-ReLU of each feature to the up-head's channels; shapes are kept otherwise."""

    def __init__(self, in_channels: Sequence[int], base: Sequence[int]):
        super().__init__()
        self.adapter_conv = nn.ModuleList(ConvBNReLU(i, o, 1) for i, o in zip(in_channels, base, strict=True))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [adapter(f) for adapter, f in zip(self.adapter_conv, features, strict=True)]


class TopDown(nn.Module):
    """Adds each level's coarser one to it, then smoothes every level by a 3x3 conv-BN-ReLU.

    Four levels (N, base[k], H_k, W_k) -> (N, out[k], H_k, W_k), both fine to coarse.
    """

    def __init__(self, base: Sequence[int], out: Sequence[int], mode: str):
        super().__init__()
        self.mode = mode
        for k in (3, 2, 1):
            self.add_module(f"fam_{LEVELS[k]}_sm", ConvBNReLU(base[k], out[k], 3))
            self.add_module(f"fam_{LEVELS[k]}_up", ConvBNReLU(base[k], base[k - 1], 1))
        self.fam_4 = ConvBNReLU(base[0], out[0], 3)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        level = levels[3]
        outputs = []
        for k in (3, 2, 1):
            outputs.append(self.get_submodule(f"fam_{LEVELS[k]}_sm")(level))
            up = self.get_submodule(f"fam_{LEVELS[k]}_up")(level)
            level = levels[k - 1] + upsample(up, levels[k - 1], self.mode)
        return [self.fam_4(level), *reversed(outputs)]


class FFNetUpHead(nn.Module):
    """Up-head, the neck between backbone and seg head.

    in_channels: of four features, fine to coarse; base, out: channels inside and of the outputs.
    mode: of upsampling, 'bilinear' or 'nearest'.

    forward: four features (N, in_channels[k], H_k, W_k) -> four (N, out[k], H_k, W_k), fine to coarse.
    """

    def __init__(self, in_channels: Sequence[int], base: Sequence[int], out: Sequence[int], mode: str = "bilinear"):
        super().__init__()
        if mode not in MODES:
            raise ConfigError(f"FFNetUpHead: mode={mode!r} is unknown; use {' or '.join(MODES)}")
        self.adapters, self.top_down = Adapters(in_channels, base), TopDown(base, out, mode)
        initialise(self)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return self.top_down(self.adapters(features))


class SegHead(nn.Module):
    """Joins the levels at the finest one's size: concatenation, 3x3 conv -> BatchNorm -> ReLU -> last convolution.

    Four levels (N, C_k, H_k, W_k), sum of C_k = ``in_channels`` -> logits (N, classes, H_0, W_0).
    kernel: of the last convolution.
    """

    def __init__(self, in_channels: int, channels: int, classes: int, kernel: int = 1, mode: str = "bilinear"):
        super().__init__()
        self.mode = mode
        self.last_layer = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.Conv2d(channels, classes, kernel, padding=kernel // 2))
        initialise(self)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        finest, *others = levels
        return self.last_layer(torch.cat([finest, *(upsample(x, finest, self.mode) for x in others)], 1))


def initialise(head: nn.Module) -> None:
    """Weights of convolutions normal with sigma 0.01, their biases 1e-4: the published initialisation."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.constant_(module.bias, 1e-4)
