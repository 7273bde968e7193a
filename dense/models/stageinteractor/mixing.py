"""Mixing with operators that a query makes for itself, and with those that it made in earlier stages."""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Operators(NamedTuple):
    """What stages hand on to later ones.

    channel: matrices (B, N, G, D, D) of each earlier stage but the first, oldest first, as that stage made them itself.
    spatial: the rows (B, N, G, R/2, points) that the last stage made itself; of the second stage, its first R/2.
    """

    channel: tuple[Tensor, ...] = ()
    spatial: Tensor | None = None


class DynamicMixing(nn.Module):
    """Mixes the samples of a query over channels, then over points, into an update of the query.

    stage: 0, 1 ...; from 2 on, operators of the stages 1 .. stage-1 are used again, with gates (``reuse``).
    channels C, groups G, points P*K in all, sub_points K, rows R: the outputs of mixing over points. D = C/G.

    forward: samples (B, N, G, P*K, D), query (B, N, C) and earlier operators -> new query (B, N, C), operators.
    """

    def __init__(self, stage: int, channels: int = 256, groups: int = 4, points: int = 4, sub_points: int = 8,
                 rows: int = 128, reuse: bool = True):
        super().__init__()
        self.groups, self.points, self.sub_points, self.rows = groups, points, sub_points, rows
        self.depth, self.count = channels // groups, points * sub_points
        self.earlier = max(0, stage - 1) if reuse else 0
        # the first stage has points of another number, so its operators fit nowhere else
        self.hands_on = reuse and stage > 0
        self.new_rows = rows // 2 if self.earlier else rows
        self.parameter_generator = nn.Linear(channels, groups * (self.depth ** 2 + self.new_rows * self.count))
        self.mix_bias = nn.Linear(channels, groups * (self.depth + rows))
        self.Wv = nn.Linear(groups * rows * self.depth, channels)
        self.Wv_layer_norm = nn.LayerNorm(channels)
        if self.earlier:
            n = self.earlier
            local, axis = sub_points * self.depth, points * self.depth
            self.subbox_local_list = nn.ModuleList(nn.Linear(local, local) for _ in range(n))
            self.axis_atten_list = nn.ModuleList(nn.Linear(axis, axis) for _ in range(n))
            self.M_score_list = nn.Linear(channels, groups * self.depth * 2 * n)
            self.M_score_list_mix_bias = nn.Linear(channels, groups * n * self.depth)
            self.S_score_list = nn.Linear(channels, groups * (rows // 2))
            self.S_score_list2 = nn.Linear(channels, groups * self.count)
        self.init_weights()

    def init_weights(self) -> None:
        """Zeros for what makes or joins operators: at first each stage adds a learned bias."""
        zeros = [self.parameter_generator, self.Wv]
        if self.earlier:
            zeros += [*self.subbox_local_list, *self.axis_atten_list, self.M_score_list, self.M_score_list_mix_bias,
                      self.S_score_list, self.S_score_list2]
        for linear in zeros:
            nn.init.zeros_(linear.weight)
        for linear in zeros[2:]:
            nn.init.zeros_(linear.bias)

    def forward(self, samples: Tensor, query: Tensor, earlier: Operators) -> tuple[Tensor, Operators]:
        made = self.parameter_generator(query).unflatten(-1, (self.groups, -1))
        channel = made[..., :self.depth ** 2].unflatten(-1, (self.depth, self.depth))
        spatial = made[..., self.depth ** 2:].unflatten(-1, (self.new_rows, self.count))
        bias = self.mix_bias(query).unflatten(-1, (self.groups, -1))
        x = self._mix_channels(samples, channel, bias[..., :self.depth])
        if self.earlier:
            x = self._mix_again(x, samples, channel, query, earlier.channel)
            rows = torch.cat((spatial, self._blend_rows(spatial, query, earlier.spatial)), -2)
        else:
            rows = spatial
        x = rows @ x + bias[..., self.depth:, None]
        x = F.relu(F.layer_norm(x, (self.rows, self.depth)))
        query = self.Wv_layer_norm(query + self.Wv(x.flatten(2)))
        if not self.hands_on:
            return query, earlier
        return query, Operators((*earlier.channel, channel), spatial[..., :self.rows // 2, :])

    def _mix_channels(self, x: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        """(B, N, G, points, D) times (B, N, G, D, D), plus (B, N, G, D), normalised over points and channels."""
        x = x @ matrix + bias[..., None, :]
        return F.relu(F.layer_norm(x, (self.count, self.depth)))

    def _mix_again(self, x: Tensor, samples: Tensor, own: Tensor, query: Tensor,
                   matrices: tuple[Tensor, ...]) -> Tensor:
        """Mixing over channels with the matrices of earlier stages, each gated against this stage's own."""
        gates = self.M_score_list(query).sigmoid().unflatten(-1, (self.groups, self.depth, 2, self.earlier))
        biases = self.M_score_list_mix_bias(query).unflatten(-1, (self.groups, self.earlier, self.depth))
        residual = samples
        for i, matrix in enumerate(matrices):
            residual = self._adapt(i, x) + residual
            outward, inward = gates[..., 0, i], gates[..., 1, i]
            blended = torch.lerp(own, matrix, inward[..., :, None] * outward[..., None, :])
            x = self._mix_channels(residual, blended, biases[..., i, :])
        return x

    def _adapt(self, i: int, x: Tensor) -> Tensor:
        """What fits samples to the matrix of an earlier stage: over the sub-points of each point, and over points."""
        boxes = x.unflatten(-2, (self.points, self.sub_points))  # (B, N, G, P, K, D)
        local = self.subbox_local_list[i](boxes.flatten(-2)).flatten(-2).unflatten(-1, (self.count, self.depth))
        axis = self.axis_atten_list[i](boxes.transpose(-3, -2).flatten(-2))  # (B, N, G, K, P*D)
        axis = axis.unflatten(-1, (self.points, self.depth)).transpose(-3, -2).flatten(-3, -2)
        return local + axis

    def _blend_rows(self, own: Tensor, query: Tensor, earlier: Tensor) -> Tensor:
        """Rows (B, N, G, R/2, points) between this stage's own and those of the one before."""
        rows = self.S_score_list(query).sigmoid().unflatten(-1, (self.groups, -1))
        points = self.S_score_list2(query).sigmoid().unflatten(-1, (self.groups, -1))
        return torch.lerp(own, earlier, rows[..., :, None] * points[..., None, :])
