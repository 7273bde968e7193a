"""What each stage is to find: labels that come from several stages, boxes from its own."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dense.models.stageinteractor.boxes import iou

Match = tuple[Tensor, Tensor]
"""Queries and ground truths, int64 (M,) each, that were matched one to one."""


@dataclass(frozen=True)
class StageTargets:
    """Of one stage and picture.

    classes: bool (queries, classes), the classes that a query is to name, possibly several. queries, truths: int64
    (M,), whose boxes a query is to have.
    """

    classes: Tensor
    queries: Tensor
    truths: Tensor

    @property
    def positives(self) -> int:
        """Normaliser of the losses of boxes: matched queries."""
        return len(self.queries)

    @property
    def named(self) -> int:
        """Normaliser of the loss of classes: pairs of query and class, at least as many as matched queries."""
        return max(int(self.classes.sum()), self.positives)


def cross_stage_targets(boxes: Tensor, matches: Sequence[Match], truth_boxes: Tensor, truth_labels: Tensor,
                        num_classes: int, least: float = 0.5, cross_stage: bool = True) -> list[StageTargets]:
    """Targets of all stages for one picture.

    boxes: what each stage predicts, (stages, queries, 4) xyxy. matches: of each stage. truth_boxes: (T, 4) xyxy;
    truth_labels: int64 (T,).

    A query that was matched in this stage, the one before or any later one is to name the class that it was matched
    with, if its box of this stage overlaps that object by IoU >= ``least``: so that stages agree, and no stage is
    asked to name what its box misses. cross_stage False: it is to name what it was matched with in this stage.
    """
    stages, queries = boxes.shape[:2]
    overlaps = iou(boxes, truth_boxes[None].expand(stages, -1, -1)) if len(truth_boxes) else None
    targets = []
    for stage, (matched, truths) in enumerate(matches):
        classes = boxes.new_zeros((queries, num_classes), dtype=torch.bool)
        if cross_stage and overlaps is not None:
            several = matches[max(0, stage - 1):]
            who, what = (torch.cat(column) for column in zip(*several, strict=True))
            good = overlaps[stage, who, what] >= least
            classes[who[good], truth_labels[what[good]]] = True
        elif overlaps is not None:
            classes[matched, truth_labels[truths]] = True
        targets.append(StageTargets(classes, matched, truths))
    return targets
