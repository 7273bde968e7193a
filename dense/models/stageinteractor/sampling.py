"""Sampling: points that a query chooses in and around its box, read from all levels of the features."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dense.models.stageinteractor.boxes import sides

FINEST = 3.0  # log2 of the size that is read from the first level alone


class PointSampler(nn.Module):
    """Points of groups, and sub-points around each of them, and the features there.

    groups, points, sub_points: G groups of P points (a box of its own each) with K sub-points, which all share.

    forward: levels (B, C, h_l, w_l) whose l-th has stride ``strides[l]``, queries (B, N, C), boxes xyzr (B, N, 4)
        -> features (B, N, G, P*K, C/G); point p, sub-point k is number p*K + k; group g reads channels g*C/G and on.

    A point has three coordinates. The third, z, is the logarithm of a size: levels are read bilinearly and weighed by
    softmax(-(z - 3 - l)^2 / 2). This is the trilinear reading of a pyramid, level by level, as exporters know it.
    """

    def __init__(self, channels: int, groups: int = 4, points: int = 4, sub_points: int = 8):
        super().__init__()
        self.groups, self.points, self.sub_points = groups, points, sub_points
        # the published names; the second part of each was an activation
        self.gen_one_d = nn.Sequential(nn.Linear(channels, 3 * groups * points))
        self.gen_double_d = nn.Sequential(nn.Linear(channels, 3 * sub_points))
        self.init_offsets()

    def init_offsets(self) -> None:
        """Points spread over the box, each with a box of half its size (ours: what was published says nothing)."""
        for linear, size in ((self.gen_one_d[0], -1.0), (self.gen_double_d[0], 0.0)):
            nn.init.zeros_(linear.weight)
            with torch.no_grad():
                offsets = linear.bias.view(-1, 3)
                offsets.uniform_(-0.5, 0.5)
                offsets[:, 2] = size

    def place(self, query: Tensor, xyzr: Tensor) -> tuple[Tensor, Tensor]:
        """Positions (B, N, G, P*K, 2) in pixels, and z (B, N, G, P*K)."""
        outer = self.gen_one_d(query).unflatten(-1, (self.groups, self.points, 1, 3))
        inner = self.gen_double_d(query).unflatten(-1, (1, 1, self.sub_points, 3))
        box, size = xyzr[:, :, None, None, None], sides(xyzr)[:, :, None, None, None]
        xy = box[..., :2] + size * (outer[..., :2] + torch.exp2(outer[..., 2:]) * inner[..., :2])
        z = box[..., 2] + outer[..., 2] + inner[..., 2]
        return xy.flatten(3, 4), z.flatten(3, 4)

    def forward(self, levels: Sequence[Tensor], strides: Sequence[int], query: Tensor, xyzr: Tensor) -> Tensor:
        xy, z = self.place(query, xyzr)
        level = torch.arange(len(levels), dtype=z.dtype, device=z.device)
        weights = torch.softmax(-0.5 * (z[..., None] - FINEST - level) ** 2, -1)
        xy, weights = (t.transpose(1, 2).flatten(0, 1) for t in (xy, weights))  # (B*G, N, P*K, ...)
        total = None
        for index, (features, stride) in enumerate(zip(levels, strides, strict=True)):
            height, width = features.shape[-2:]
            # each axis by itself: a tensor made of both sizes would be a constant of exported graphs
            grid = torch.stack([xy[..., axis] * (2 / (size * stride)) - 1
                                for axis, size in enumerate((width, height))], -1)
            by_group = features.unflatten(1, (self.groups, -1)).flatten(0, 1)
            read = F.grid_sample(by_group, grid.to(features.dtype), mode="bilinear", padding_mode="zeros",
                                 align_corners=False)
            read = read * weights[..., index][:, None].to(read.dtype)
            total = read if total is None else total + read
        return total.unflatten(0, (-1, self.groups)).permute(0, 3, 1, 4, 2)
