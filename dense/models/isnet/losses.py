"""Losses of IS-Net: multi-level BCE, feature supervision by the ground-truth encoder, and (ours) soft IoU."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

FEATURE_LOSSES = ("mse", "kl", "mae", "smooth_l1")


def multi_level_bce(logits: Sequence[Tensor], truth: Tensor) -> list[Tensor]:
    """Mean binary cross-entropy of each logit map (N, 1, H, W) with ``truth`` in 0..1, same shape."""
    # float32: under autocast half-precision logits would lose the tails of the loss
    return [F.binary_cross_entropy_with_logits(x.float(), truth) for x in logits]


def multi_level_iou(logits: Sequence[Tensor], truth: Tensor) -> list[Tensor]:
    """1 - soft IoU of each logit map (N, 1, H, W) with ``truth`` in 0..1, mean over the batch; 0..1.

    Not in the published recipe; as in BASNet (Qin et al., CVPR 2019). BCE alone leaves thin objects below one half
    for long. One pixel is added to both areas, so that an empty truth has a gradient too.
    """
    losses = []
    for x in logits:
        p = x.float().sigmoid()
        both = (p * truth).sum((1, 2, 3))
        either = (p + truth).sum((1, 2, 3)) - both
        losses.append((1 - (both + 1) / (either + 1)).mean())
    return losses


def feature_loss(features: Sequence[Tensor], targets: Sequence[Tensor], kind: str = "mse") -> list[Tensor]:
    """Distance of each feature (N, C, h, w) to its target: 'mse', 'mae', 'smooth_l1', or 'kl'.

    'kl' compares the softmax over channels and averages over the positions of the batch.
    """
    if kind not in FEATURE_LOSSES:
        raise ValueError(f"unknown feature loss {kind!r}; known: {', '.join(FEATURE_LOSSES)}")
    losses = []
    for feature, target in zip(features, targets, strict=True):
        if feature.shape != target.shape:
            raise ValueError(
                f"feature {tuple(feature.shape)} and target {tuple(target.shape)} differ in shape: "
                "network and ground-truth encoder need the same width")
        feature, target = feature.float(), target.detach().float()
        if kind == "mse":
            losses.append(F.mse_loss(feature, target))
        elif kind == "mae":
            losses.append(F.l1_loss(feature, target))
        elif kind == "smooth_l1":
            losses.append(F.smooth_l1_loss(feature, target))
        else:
            log_p, q = torch.log_softmax(feature, 1), torch.softmax(target, 1)
            losses.append(F.kl_div(log_p, q, reduction="none").sum(1).mean())
    return losses
