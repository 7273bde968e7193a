"""The cross-stage label assigner: mmdet's Hungarian matching in every stage, then labels from several. Needs 'det'."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.assigners import BBoxL1Cost, FocalLossCost, HungarianAssigner, IoUCost
from mmengine.structures import InstanceData
from torch import Tensor

from dense.models.stageinteractor.decoder import StageOutput
from dense.models.stageinteractor.labels import Match, StageTargets, cross_stage_targets
from dense.registry import TASK_UTILS


@TASK_UTILS.register_module()
class CrossStageAssigner:
    """Targets of all stages.

    class_cost, l1_cost, iou_cost: weights of the matching's costs (focal, L1 of boxes as shares of the picture, GIoU).
    least, cross_stage: of ``cross_stage_targets``.
    """

    def __init__(self, class_cost: float = 2.0, l1_cost: float = 5.0, iou_cost: float = 2.0, least: float = 0.5,
                 cross_stage: bool = True):
        self.least, self.cross_stage = least, cross_stage
        self.matcher = HungarianAssigner([
            dict(type=FocalLossCost, weight=class_cost), dict(type=BBoxL1Cost, weight=l1_cost, box_format="xyxy"),
            dict(type=IoUCost, weight=iou_cost, iou_mode="giou")])

    @torch.no_grad()
    def match(self, logits: Tensor, boxes: Tensor, truth: InstanceData, size: tuple[int, int]) -> Match:
        """One stage's queries and ground truths, one to one, of one picture.

        logits: (queries, classes); boxes: (queries, 4) xyxy; size: (height, width) of the picture.
        """
        found = InstanceData(scores=logits.detach().float(), bboxes=boxes.detach().float())
        result = self.matcher.assign(found, truth, dict(img_shape=size))
        queries = torch.nonzero(result.gt_inds > 0).flatten()
        return queries, result.gt_inds[queries] - 1

    def assign(self, outputs: Sequence[StageOutput], truth: InstanceData, size: tuple[int, int]) -> list[StageTargets]:
        """Targets of each stage for one picture.

        outputs: of the stages, without the axis of the batch. truth: ``bboxes`` (T, 4) xyxy in pixels of the tensor,
        ``labels`` int64 (T,).
        """
        matches = [self.match(*output, truth, size) for output in outputs]
        boxes = torch.stack([o.boxes.detach().float() for o in outputs])
        return cross_stage_targets(boxes, matches, truth.bboxes, truth.labels, outputs[0].logits.shape[-1], self.least,
                                   self.cross_stage)
