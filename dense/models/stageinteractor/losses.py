"""Losses of StageInteractor: focal on classes, L1 and GIoU on boxes."""
from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from dense.models.stageinteractor.boxes import paired_giou

ALPHA, GAMMA = 0.25, 2.0


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the focal loss (Lin et al., ICCV 2017) of logits against targets 0 or 1 of the same shape."""
    targets = targets.to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = logits.sigmoid()
    wrong = targets * (1 - p) + (1 - targets) * p
    weight = targets * ALPHA + (1 - targets) * (1 - ALPHA)
    return (weight * wrong ** GAMMA * entropy).sum()


def box_l1(boxes: Tensor, truths: Tensor, scale: Tensor) -> Tensor:
    """Sum of absolute differences of boxes (M, 4) as shares of ``scale`` (M, 4): width, height, width, height."""
    return ((boxes - truths).abs() / scale).sum()


def giou_loss(boxes: Tensor, truths: Tensor) -> Tensor:
    """Sum of 1 - GIoU of boxes (M, 4) xyxy, pair by pair."""
    return (1 - paired_giou(boxes, truths)).sum()
