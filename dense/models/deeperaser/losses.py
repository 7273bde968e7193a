"""Losses of DeepEraser: L1 of every iteration, later ones weighing more."""
from __future__ import annotations

from torch import Tensor


def iteration_weights(count: int, gamma: float) -> list[float]:
    """gamma^(count - i) for i = 1..count: the last iteration weighs 1. As in RAFT (Teed and Deng, ECCV 2020)."""
    return [gamma ** (count - index) for index in range(1, count + 1)]


def weighted_l1(reconstruction: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of (N, 3, H, W) over channels and pixels, these weighted by (N, 1, H, W) >= 0."""
    # float32: in half precision sums over a picture lose their last digits
    error = (reconstruction.float() - truth).abs().mean(1, keepdim=True)
    return (weight * error).sum() / weight.sum().clamp(min=1e-6)
