"""The decoder: stages that look at the features where their boxes are, and move the boxes."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from dense.models.stageinteractor.boxes import encode_position, iof, refine, to_xyxy
from dense.models.stageinteractor.mixing import DynamicMixing, Operators
from dense.models.stageinteractor.sampling import PointSampler

STRIDES = (4, 8, 16, 32)
PRIOR = 0.01  # probability that a class has at first


class StageOutput(NamedTuple):
    """Of one stage: class logits (B, N, classes), boxes xyxy (B, N, 4) in pixels, not clipped."""

    logits: Tensor
    boxes: Tensor


class State(NamedTuple):
    """What goes from stage to stage: queries (B, N, C), boxes xyzr (B, N, 4), earlier operators."""

    query: Tensor
    xyzr: Tensor
    operators: Operators


class BoxAttention(nn.Module):
    """Self-attention of queries (B, N, C), with a bias (B, heads, N, N) on the scaled logits; residual."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, heads)  # for its weights

    def forward(self, query: Tensor, bias: Tensor) -> Tensor:
        attn = self.attn
        projected = F.linear(query, attn.in_proj_weight, attn.in_proj_bias)
        q, k, v = (t.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for t in projected.chunk(3, -1))
        # written out: few queries, and the layout of PyTorch's fused kernel differs from that of its ONNX export
        weights = torch.softmax(q @ k.transpose(-1, -2) * attn.head_dim ** -0.5 + bias, -1)
        return query + attn.out_proj((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with ReLU between them; residual. (B, N, C) -> the same."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(channels, hidden), nn.ReLU()), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Stage(nn.Module):
    """One stage.

    index: 0, 1 ...; num_classes; channels, heads, hidden (of the feed-forward network); groups, points, sub_points,
    rows, reuse: of ``PointSampler`` and ``DynamicMixing``.

    forward: levels (B, C, h_l, w_l) and the state -> class logits (B, N, classes), deltas (B, N, 4), state with the
        moved boxes.
    """

    def __init__(self, index: int, num_classes: int = 80, channels: int = 256, heads: int = 8, hidden: int = 2048,
                 groups: int = 4, points: int = 4, sub_points: int = 8, rows: int = 128, reuse: bool = True):
        super().__init__()
        self.num_classes = num_classes
        self.iof_tau = nn.Parameter(torch.empty(heads))
        self.attention = BoxAttention(channels, heads)
        self.attention_norm = nn.LayerNorm(channels)
        self.feat_extractor = PointSampler(channels, groups, points, sub_points)
        self.dynamic_conv = DynamicMixing(index, channels, groups, points, sub_points, rows, reuse)
        self.ffn = FeedForward(channels, hidden)
        self.ffn_norm = nn.LayerNorm(channels)
        self.cls_fcs = nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU())
        self.fc_cls = nn.Linear(channels, num_classes)
        self.reg_fcs = nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU())
        self.fc_reg = nn.Linear(channels, 4)
        self.init_weights()

    def init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        nn.init.uniform_(self.iof_tau, 0, 4)
        nn.init.constant_(self.fc_cls.bias, -log((1 - PRIOR) / PRIOR))
        nn.init.zeros_(self.fc_reg.weight)
        nn.init.zeros_(self.fc_reg.bias)
        self.feat_extractor.init_offsets()
        self.dynamic_conv.init_weights()

    def forward(self, levels: Sequence[Tensor], state: State) -> tuple[Tensor, Tensor, State]:
        query, xyzr, operators = state
        query = query + encode_position(xyzr, query.shape[-1]).to(query.dtype)
        bias = self.iof_tau[:, None, None] * torch.log(iof(to_xyxy(xyzr)) + 1e-7)[:, None]
        query = self.attention_norm(self.attention(query, bias))
        samples = self.feat_extractor(levels, STRIDES[:len(levels)], query, xyzr)
        query, operators = self.dynamic_conv(samples, query, operators)
        query = self.ffn_norm(self.ffn(query))
        logits = self.fc_cls(self.cls_fcs(query))
        delta = self.fc_reg(self.reg_fcs(query))
        return logits, delta, State(query, refine(xyzr, delta), operators)


def make_stages(stages: int = 6, first_points: int = 8, points: int = 4, **settings) -> list[Stage]:
    """Stages of a decoder: the first one has ``first_points`` points, the others ``points``; settings: of ``Stage``."""
    return [Stage(index, points=first_points if index == 0 else points, **settings) for index in range(stages)]


def run_stages(stages: Sequence[Stage], levels: Sequence[Tensor], query: Tensor, xyzr: Tensor,
               recompute: bool = False) -> Iterator[StageOutput]:
    """What each stage finds, in order.

    levels: (B, C, h_l, w_l); query: (B, N, C); xyzr: (B, N, 4). Between stages no gradient goes through the boxes.
    recompute: in training, nothing inside a stage is kept for the backward pass, it is computed again there.
    """
    state = State(query, xyzr, Operators())
    for stage in stages:
        if recompute and torch.is_grad_enabled():
            logits, _, state = checkpoint(stage, levels, state, use_reentrant=False)
        else:
            logits, _, state = stage(levels, state)
        yield StageOutput(logits, to_xyxy(state.xyzr))
        state = state._replace(xyzr=state.xyzr.detach())


class Decoder(nn.Module):
    """All stages, under the published name ``bbox_head``; see ``run_stages``."""

    def __init__(self, stages: Sequence[Stage], recompute: bool = False):
        super().__init__()
        self.bbox_head = nn.ModuleList(stages)
        self.recompute = recompute

    def forward(self, levels: Sequence[Tensor], query: Tensor, xyzr: Tensor) -> list[StageOutput]:
        return list(run_stages(self.bbox_head, levels, query, xyzr, self.recompute and self.training))
