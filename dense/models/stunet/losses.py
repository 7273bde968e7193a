"""Dice and cross entropy of volumes, as nnU-Net trains with them (Isensee et al., Nature Methods 2021)."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from dense.registry import MODELS


@MODELS.register_module()
class DiceCrossEntropy(nn.Module):
    """Cross entropy plus 1 - soft Dice, of softmax probabilities, in float32 whatever the logits are in.

    The Dice of a class is (2 |p g| + smooth) / (|p| + |g| + smooth), summed over the voxels of a patch, or over all
    patches of the batch with ``batch_dice``; its mean is over patches and classes, without the background unless
    ``background``. A patch that has none of a class and is given none has Dice 1. nnU-Net minimises cross entropy minus
    Dice, which is this loss less 1.

    dice_weight, ce_weight: factors of the two. ignore: label of voxels that count in neither, -1 in our data sets; None
    if there is none.
    """

    def __init__(self, dice_weight: float = 1.0, ce_weight: float = 1.0, smooth: float = 1e-5,
                 batch_dice: bool = False, background: bool = False, ignore: int | None = -1):
        super().__init__()
        if dice_weight < 0 or ce_weight < 0 or dice_weight + ce_weight == 0:
            raise ValueError(f"dice_weight and ce_weight must be >= 0 and not both 0: {dice_weight!r}, {ce_weight!r}")
        self.dice_weight, self.ce_weight, self.smooth = dice_weight, ce_weight, smooth
        self.batch_dice, self.background, self.ignore = batch_dice, background, ignore

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of logits (N, K, d, h, w) and whole labels (N, 1, d, h, w), 0..K-1 or ``ignore``."""
        if labels.shape != (len(logits), 1, *logits.shape[2:]):
            raise ValueError(f"labels {tuple(labels.shape)} do not go with logits {tuple(logits.shape)}: expected "
                             f"{(len(logits), 1, *logits.shape[2:])}")
        # no half precision: sums over a patch of 128^3 voxels are beyond float16, and lose their digits in bfloat16
        with torch.autocast(logits.device.type, enabled=False):
            labels, valid = labels.long(), None
            if self.ignore is not None:
                valid = labels != self.ignore
                labels = labels.where(valid, 0)
            logs = logits.float().log_softmax(1)
            own = logs.gather(1, labels)  # of each voxel's true class
            return self.ce_weight * _mean(-own, valid) + self.dice_weight * (1 - self._dice(logs, own, labels, valid))

    def _dice(self, logs: Tensor, own: Tensor, labels: Tensor, valid: Tensor | None) -> Tensor:
        count, classes, *_, width = logs.shape
        probabilities, right = logs.exp(), own.exp()
        ones = torch.ones_like(right)
        if valid is not None:
            probabilities, right, ones = probabilities * valid, right * valid, ones * valid
        # row by row first: long sums of float32 in one accumulator lose their digits
        rows = labels[0].numel() // width
        row = torch.arange(rows, device=labels.device)[:, None]
        bins = (labels.reshape(count, rows, width) * rows + row).flatten(1)
        empty = right.new_zeros(count, classes * rows)
        overlap, truth = (empty.scatter_add(1, bins, v.flatten(1)).view(count, classes, rows).sum(2)
                          for v in (right, ones))
        predicted = probabilities.sum((2, 3, 4))
        sums = torch.stack([overlap, predicted, truth])[:, :, 0 if self.background else 1:]
        if self.batch_dice:
            sums = sums.sum(1)
        overlap, predicted, truth = sums
        return ((2 * overlap + self.smooth) / (predicted + truth + self.smooth)).mean()


def _mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over the valid voxels; 0, with gradients of 0, where there are none."""
    if valid is None:
        return values.mean()
    return (values * valid).sum() / valid.sum().clamp(min=1)
