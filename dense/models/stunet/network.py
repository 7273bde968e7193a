"""STU-Net, a U-Net for volumes in four sizes.

Paper: Huang et al., STU-Net: Scalable and Transferable Medical Image Segmentation Models Empowered by Large-Scale
Supervised Pre-training, 2023 (arXiv:2304.06716). Origin of the published weights: the authors' repository
(code Apache-2.0; trained on TotalSegmentator, version 1). Module names are those of the published weights.

Shapes, for c channels, the published strides and an input (N, C, D, H, W):
    conv_blocks_context.0        (N,   c, D,    H,    W)
    conv_blocks_context.1        (N,  2c, D/2,  H/2,  W/2)
    conv_blocks_context.2        (N,  4c, D/4,  H/4,  W/4)
    conv_blocks_context.3        (N,  8c, D/8,  H/8,  W/8)
    conv_blocks_context.4        (N, 16c, D/16, H/16, W/16)
    conv_blocks_context.5        (N, 16c, D/16, H/16, W/32)
    conv_blocks_localization.u   channels and grid of conv_blocks_context.(4 - u)
    seg_outputs.u                (N, classes, grid of conv_blocks_localization.u), logits
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dense.errors import ConfigError

SLOPE = 0.01  # of LeakyReLU
MULTIPLES = (1, 2, 4, 8, 16, 16)  # of c, by stage
POOL = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 2))


@dataclass(frozen=True)
class Variant:
    """c: channels of the first stage; depth: blocks in each stage."""

    c: int
    depth: int


VARIANTS = {"stunet_small": Variant(16, 1), "stunet_base": Variant(32, 1), "stunet_large": Variant(64, 2),
            "stunet_huge": Variant(96, 3)}


class InstanceNorm(nn.InstanceNorm3d):
    """InstanceNorm, exported in parts.

    Runtimes sum the voxels of a channel up in float32, one after the other. With ONNX's InstanceNormalization and
    patches of 96^3 voxels, logits were off by 4e-4 of their scale on OpenVINO, by 4e-5 on ONNX Runtime. With means of
    rows, and then of those, it is 4e-6 and 2e-6, for 3 to 10 % more time. Without the reshaping in between, OpenVINO
    merges the two.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            return super().forward(x)
        x = x - mean_of_means(x)
        scale = self.weight.view(-1, 1, 1, 1) * torch.rsqrt(mean_of_means(x * x) + self.eps)
        return x * scale + self.bias.view(-1, 1, 1, 1)


def mean_of_means(x: Tensor) -> Tensor:
    """(N, C, 1, 1, 1): means over the voxels, of the means of rows."""
    return x.mean(-1).flatten(2).mean(-1)[..., None, None, None]


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions with InstanceNorm beside the identity, or beside a convolution of one voxel (conv3).

    forward: takes the map (N, C, d, h, w) out of a list of one, so that its memory is free as soon as it is used.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int, int] = (1, 1, 1),
                 project: bool = False):
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, stride, padding=1)
        self.norm1 = InstanceNorm(out_channels, affine=True)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        self.norm2 = InstanceNorm(out_channels, affine=True)
        self.conv3 = nn.Conv3d(in_channels, out_channels, 1, stride) if project else None

    def forward(self, taken: list[Tensor]) -> Tensor:
        x = taken.pop()
        y = self.conv1(x)
        if self.conv3 is not None:
            x = self.conv3(x)
        # one after the other, under one name: what is not used any more is freed
        y = self.norm1(y)
        y = self.conv2(F.leaky_relu_(y, SLOPE))
        y = self.norm2(y)
        y += x
        return F.leaky_relu_(y, SLOPE)


class Stage(nn.Sequential):
    """Blocks on one grid. forward: empties a list of maps, which are concatenated along their channels."""

    def __init__(self, in_channels: int, out_channels: int, depth: int, stride: tuple[int, int, int] = (1, 1, 1)):
        super().__init__(ResidualBlock(in_channels, out_channels, stride, project=True),
                         *(ResidualBlock(out_channels, out_channels) for _ in range(depth - 1)))

    def forward(self, taken: list[Tensor]) -> Tensor:
        x = torch.cat(taken, 1) if len(taken) > 1 else taken[0]
        taken.clear()
        for block in self:
            taken.append(x)
            del x
            x = block(taken)
        return x


class Upsample(nn.Module):
    """A convolution of one voxel, then the nearest neighbour's values on a finer grid.

    Published is the reverse order, which gives the same values for a multiple of the work and memory.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int, int]):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(N, C, d, h, w) -> (N, out, *size), of which (d, h, w) times the strides are at least as much."""
        x = self.conv(x)
        if max(self.stride) > 1:
            x = F.interpolate(x, scale_factor=tuple(map(float, self.stride)), mode="nearest")
        # a grid that was odd
        return x if x.shape[2:] == tuple(size) else x[:, :, :size[0], :size[1], :size[2]]


class STUNet(nn.Module):
    """STU-Net.

    name: of ``VARIANTS``, which gives c and depth. in_channels: of the volume. num_classes: outputs, the background
    among them. width: multiplies c (rounded to an even number, at least 2). depth: blocks in each stage instead of
    the variant's. pool: strides (z, y, x) of the five coarser stages.

    forward: (N, in_channels, D, H, W), normalised -> logits (N, num_classes, D, H, W) in eval mode; in train mode a
    list of five, fine to coarse, for deep supervision. Any size, if more than one voxel remains on the coarsest grid.
    """

    def __init__(self, name: str = "stunet_base", in_channels: int = 1, num_classes: int = 105, width: float = 1.0,
                 depth: int | None = None, pool: Sequence[Sequence[int]] = POOL):
        super().__init__()
        if name not in VARIANTS:
            raise ConfigError(f"STUNet: no variant is called {name!r}; there are {', '.join(VARIANTS)}")
        if isinstance(width, bool) or not isinstance(width, int | float) or not width > 0:
            raise ConfigError(f"STUNet: width={width!r} is no positive number; 1 is the published network")
        variant = VARIANTS[name]
        depth = variant.depth if depth is None else depth
        for setting, value, least in (("in_channels", in_channels, 1), ("num_classes", num_classes, 2),
                                      ("depth", depth, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"STUNet: {setting}={value!r} is no whole number of at least {least}")
        self.name, self.in_channels, self.num_classes = name, in_channels, num_classes
        self.width, self.depth, self.pool = width, depth, check_pool(pool)
        c = variant.c if width == 1 else max(2, 2 * round(variant.c * width / 2))
        dims = [c * multiple for multiple in MULTIPLES]
        up = tuple(zip(reversed(dims[1:]), reversed(dims[:-1]), reversed(self.pool), strict=True))
        self.conv_blocks_context = nn.ModuleList(
            Stage(before, after, depth, stride)
            for before, after, stride in zip((in_channels, *dims), dims, ((1, 1, 1), *self.pool), strict=False))
        self.upsample_layers = nn.ModuleList(Upsample(coarse, fine, stride) for coarse, fine, stride in up)
        self.conv_blocks_localization = nn.ModuleList(Stage(2 * fine, fine, depth) for _, fine, _ in up)
        self.seg_outputs = nn.ModuleList(nn.Conv3d(fine, num_classes, 1) for _, fine, _ in up)
        self.apply(initialise)

    @property
    def divisor(self) -> tuple[int, int, int]:
        """(z, y, x): sizes that are multiples of this are halved without remainder."""
        product = [1, 1, 1]
        for stride in self.pool:
            product = [a * b for a, b in zip(product, stride, strict=True)]
        return tuple(product)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        skips: list[Tensor] = []
        for stage in self.conv_blocks_context:
            x = stage([x])
            skips.append(x)
        skips.pop()
        logits = []
        for u, (upsample, stage) in enumerate(zip(self.upsample_layers, self.conv_blocks_localization, strict=True)):
            taken = [upsample(x, skips[-1].shape[2:]), skips.pop()]
            del x
            x = stage(taken)
            if self.training:
                logits.append(self.seg_outputs[u](x))
        return logits[::-1] if self.training else self.seg_outputs[-1](x)

    def read_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Keys of the files in circulation -> ours; see ``dense.models.stunet.published``."""
        from dense.models.stunet.published import read_state

        return read_state(state)

    def transfer_state(self, state: dict[str, Tensor], heads: str = "fit") -> tuple[dict[str, Tensor], list[str]]:
        """Weights of another number of classes or channels for this network; see ``dense.models.stunet.transfer``."""
        from dense.models.stunet.transfer import transfer_state

        return transfer_state(state, self.state_dict(), heads)


def check_pool(pool: Sequence[Sequence[int]]) -> tuple[tuple[int, int, int], ...]:
    """The strides as tuples; ConfigError if they are not five times three whole numbers of at least 1."""
    try:
        found = tuple(tuple(int(s) for s in stride) for stride in pool)
        fits = len(found) == len(POOL) and all(len(s) == 3 and min(s) >= 1 for s in found) \
            and all(int(s) == s for stride in pool for s in stride)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ConfigError(f"STUNet: pool={pool!r} must be {len(POOL)} strides (z, y, x) of whole numbers; published: "
                          f"{', '.join(map(str, POOL))}")
    return found


def initialise(module: nn.Module) -> None:
    """He's initialisation of a convolution, for LeakyReLU; biases 0."""
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        nn.init.zeros_(module.bias)
