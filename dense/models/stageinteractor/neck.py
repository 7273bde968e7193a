"""The neck: every level to the same channels, all of them normalised by one GroupNorm."""
from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from torch import Tensor, nn


class SharedNormNeck(nn.Module):
    """A 1x1 convolution for each level, and one GroupNorm that they share; no activation.

    in_channels: of the levels, fine to coarse; channels: of every output. The norm has 32 groups, fewer where these do
    not divide the channels.

    forward: (N, in_channels[l], h_l, w_l) for each level -> (N, channels, h_l, w_l) for each.
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256):
        super().__init__()
        self.lateral_convs = nn.ModuleList(_Lateral(c, channels) for c in in_channels)
        self.gn_out = nn.GroupNorm(gcd(32, channels), channels)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(self.gn_out(lateral(x)) for lateral, x in zip(self.lateral_convs, levels, strict=True))


class _Lateral(nn.Module):
    """One convolution, under the published name."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)
