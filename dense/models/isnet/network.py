"""IS-Net and its ground-truth encoder.

Paper: Qin et al., Highly Accurate Dichotomous Image Segmentation, ECCV 2022.
Origin of the published weights: the authors' DIS repository (code Apache-2.0; the DIS5K data set and the
weights trained on it are for academic use). Module names are those of the published weights.

Shapes, for width 1 and an input (N, 3, H, W); every size after a pool is the ceiling of the half:
    conv_in  (N,  64, H/2, W/2)
    stage1   (N,  64, H/2, W/2)     stage1d (N,  64, H/2, W/2)   -> side1 (N, 1, H, W)
    stage2   (N, 128, H/4, W/4)     stage2d (N,  64, H/4, W/4)   -> side2
    stage3   (N, 256, H/8, W/8)     stage3d (N, 128, H/8, W/8)   -> side3
    stage4   (N, 512, H/16, W/16)   stage4d (N, 256, H/16, W/16) -> side4
    stage5   (N, 512, H/32, W/32)   stage5d (N, 512, H/32, W/32) -> side5
    stage6   (N, 512, H/64, W/64)                                -> side6
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dense.errors import ConfigError
from dense.models.isnet.published import read_onnx


def scaled(channels: int, width: float) -> int:
    """``channels * width`` rounded to a multiple of 8, at least 8; the published value for width 1.

    Below 8 channels the CPU's dilated convolutions fall back to a path more than ten times slower.
    """
    if not isinstance(width, int | float) or not width > 0:
        raise ConfigError(f"ISNet: width={width!r} is no positive number; 1 is the published network, 0.25 a small one")
    return channels if width == 1 else max(8, 8 * round(channels * width / 8))


def resize_like(x: Tensor, target: Tensor) -> Tensor:
    """Bilinear resize (align_corners=False) of ``x`` to the height and width of ``target``.

    No shortcut for equal sizes: an exported graph would keep the choice of the size it was traced with.
    """
    return F.interpolate(x, size=target.shape[-2:], mode="bilinear", align_corners=False)


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(2, stride=2, ceil_mode=True)


class ConvBNReLU(nn.Module):
    """Conv3x3 with dilation ``d`` -> BatchNorm -> ReLU; keeps height and width."""

    def __init__(self, in_channels: int, out_channels: int, d: int = 1):
        super().__init__()
        self.conv_s1 = nn.Conv2d(in_channels, out_channels, 3, padding=d, dilation=d)
        self.bn_s1 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_s1(self.conv_s1(x)), inplace=True)


class RSU(nn.Module):
    """Residual U-block of ``depth`` levels: (N, in, H, W) -> (N, out, H, W).

    The encoder halves the size before levels 2..depth-1; the last level dilates instead.
    """

    def __init__(self, depth: int, in_channels: int, mid: int, out_channels: int):
        super().__init__()
        self.depth = depth
        self.rebnconvin = ConvBNReLU(in_channels, out_channels)
        for level in range(1, depth + 1):
            block = ConvBNReLU(out_channels if level == 1 else mid, mid, d=2 if level == depth else 1)
            self.add_module(f"rebnconv{level}", block)
        for level in range(1, depth - 1):
            self.add_module(f"pool{level}", pool())
        for level in range(depth - 1, 0, -1):
            self.add_module(f"rebnconv{level}d", ConvBNReLU(2 * mid, out_channels if level == 1 else mid))

    def forward(self, x: Tensor) -> Tensor:
        residual = self.rebnconvin(x)
        skips = [self.rebnconv1(residual)]
        for level in range(2, self.depth):
            skips.append(self.get_submodule(f"rebnconv{level}")(
                self.get_submodule(f"pool{level - 1}")(skips[-1])))
        deep = self.get_submodule(f"rebnconv{self.depth}")(skips[-1])
        for level in range(self.depth - 1, 0, -1):
            skip = skips[level - 1]
            if level < self.depth - 1:  # the last two levels have one size
                deep = resize_like(deep, skip)
            deep = self.get_submodule(f"rebnconv{level}d")(torch.cat((deep, skip), 1))
        return deep + residual


class RSU4F(nn.Module):
    """Residual U-block of four levels at one resolution, by dilations 1, 2, 4, 8."""

    def __init__(self, in_channels: int, mid: int, out_channels: int):
        super().__init__()
        self.rebnconvin = ConvBNReLU(in_channels, out_channels)
        self.rebnconv1 = ConvBNReLU(out_channels, mid, d=1)
        self.rebnconv2 = ConvBNReLU(mid, mid, d=2)
        self.rebnconv3 = ConvBNReLU(mid, mid, d=4)
        self.rebnconv4 = ConvBNReLU(mid, mid, d=8)
        self.rebnconv3d = ConvBNReLU(2 * mid, mid, d=4)
        self.rebnconv2d = ConvBNReLU(2 * mid, mid, d=2)
        self.rebnconv1d = ConvBNReLU(2 * mid, out_channels, d=1)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.rebnconvin(x)
        x1 = self.rebnconv1(residual)
        x2 = self.rebnconv2(x1)
        x3 = self.rebnconv3(x2)
        x4 = self.rebnconv4(x3)
        x3d = self.rebnconv3d(torch.cat((x4, x3), 1))
        x2d = self.rebnconv2d(torch.cat((x3d, x2), 1))
        return self.rebnconv1d(torch.cat((x2d, x1), 1)) + residual


def side(in_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, 1, 3, padding=1)


class ISNet(nn.Module):
    """IS-Net: 44,046,790 parameters at width 1 (``ISNetDIS`` of the published code).

    width: multiplies every channel count (rounded to multiples of 8); 1 is the published network.
    forward: (N, in_channels, H, W) -> (logits, features): six logit maps (N, 1, H, W), fine to coarse,
        and the six decoder features that feature supervision compares, fine to coarse.
    """

    read_onnx = read_onnx

    def __init__(self, in_channels: int = 3, width: float = 1.0):
        super().__init__()

        def c(channels: int) -> int:
            return scaled(channels, width)

        self.in_channels, self.width = in_channels, width
        self.conv_in = nn.Conv2d(in_channels, c(64), 3, stride=2, padding=1)
        self.stage1 = RSU(7, c(64), c(32), c(64))
        self.pool12 = pool()
        self.stage2 = RSU(6, c(64), c(32), c(128))
        self.pool23 = pool()
        self.stage3 = RSU(5, c(128), c(64), c(256))
        self.pool34 = pool()
        self.stage4 = RSU(4, c(256), c(128), c(512))
        self.pool45 = pool()
        self.stage5 = RSU4F(c(512), c(256), c(512))
        self.pool56 = pool()
        self.stage6 = RSU4F(c(512), c(256), c(512))
        self.stage5d = RSU4F(c(512) + c(512), c(256), c(512))
        self.stage4d = RSU(4, c(512) + c(512), c(128), c(256))
        self.stage3d = RSU(5, c(256) + c(256), c(64), c(128))
        self.stage2d = RSU(6, c(128) + c(128), c(32), c(64))
        self.stage1d = RSU(7, c(64) + c(64), c(16), c(64))
        for index, channels in enumerate((64, 64, 128, 256, 512, 512), start=1):
            self.add_module(f"side{index}", side(c(channels)))

    def decoded(self, x: Tensor) -> list[Tensor]:
        """The six decoder features, fine to coarse."""
        hx1 = self.stage1(self.conv_in(x))
        hx2 = self.stage2(self.pool12(hx1))
        hx3 = self.stage3(self.pool23(hx2))
        hx4 = self.stage4(self.pool34(hx3))
        hx5 = self.stage5(self.pool45(hx4))
        hx6 = self.stage6(self.pool56(hx5))
        hx5d = self.stage5d(torch.cat((resize_like(hx6, hx5), hx5), 1))
        hx4d = self.stage4d(torch.cat((resize_like(hx5d, hx4), hx4), 1))
        hx3d = self.stage3d(torch.cat((resize_like(hx4d, hx3), hx3), 1))
        hx2d = self.stage2d(torch.cat((resize_like(hx3d, hx2), hx2), 1))
        hx1d = self.stage1d(torch.cat((resize_like(hx2d, hx1), hx1), 1))
        return [hx1d, hx2d, hx3d, hx4d, hx5d, hx6]

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        features = self.decoded(x)
        return side_logits(self, features, x), features

    def finest(self, x: Tensor) -> Tensor:
        """The finest logit map (N, 1, H, W) alone: all that prediction uses."""
        return resize_like(self.side1(self.decoded(x)[0]), x)


class ConvIn(nn.Module):
    """Stem of the ground-truth encoder: Conv3x3 stride 2 -> BatchNorm -> ReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class GTEncoder(nn.Module):
    """Ground-truth encoder: 6,877,734 parameters at width 1 (``ISNetGTEncoder`` of the published code).

    width: as for ``ISNet``; the two must agree.
    forward: masks (N, in_channels, H, W) in 0..1 -> (six logit maps (N, 1, H, W), six features), fine to coarse;
        the features have the shapes of ``ISNet``'s at the same width.
    """

    read_onnx = read_onnx

    def __init__(self, in_channels: int = 1, width: float = 1.0):
        super().__init__()

        def c(channels: int) -> int:
            return scaled(channels, width)

        self.in_channels, self.width = in_channels, width
        self.conv_in = ConvIn(in_channels, c(16))
        self.stage1 = RSU(7, c(16), c(16), c(64))
        self.pool12 = pool()
        self.stage2 = RSU(6, c(64), c(16), c(64))
        self.pool23 = pool()
        self.stage3 = RSU(5, c(64), c(32), c(128))
        self.pool34 = pool()
        self.stage4 = RSU(4, c(128), c(32), c(256))
        self.pool45 = pool()
        self.stage5 = RSU4F(c(256), c(64), c(512))
        self.pool56 = pool()
        self.stage6 = RSU4F(c(512), c(64), c(512))
        for index, channels in enumerate((64, 64, 128, 256, 512, 512), start=1):
            self.add_module(f"side{index}", side(c(channels)))

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        hx1 = self.stage1(self.conv_in(x))
        hx2 = self.stage2(self.pool12(hx1))
        hx3 = self.stage3(self.pool23(hx2))
        hx4 = self.stage4(self.pool34(hx3))
        hx5 = self.stage5(self.pool45(hx4))
        hx6 = self.stage6(self.pool56(hx5))
        features = [hx1, hx2, hx3, hx4, hx5, hx6]
        return side_logits(self, features, x), features


def side_logits(network: nn.Module, features: list[Tensor], x: Tensor) -> list[Tensor]:
    """``side1..6`` of the features, resized to the input ``x``: six maps (N, 1, H, W), fine to coarse."""
    return [resize_like(network.get_submodule(f"side{i}")(f), x) for i, f in enumerate(features, start=1)]
