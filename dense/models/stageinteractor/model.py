"""StageInteractor as mmdet trains it: a SparseRCNN detector whose decoding is the task's. Needs the extra 'det'."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.config import ConfigDict
from mmengine.dist import all_reduce
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from dense.errors import ConfigError, MissingDependencyError
from dense.models.stageinteractor.backbones import NO_MMDET, backbone_config, initialise, load_backbone, need_mmdet
from dense.models.stageinteractor.boxes import to_xyxy
from dense.models.stageinteractor.decoder import Decoder, StageOutput, make_stages, run_stages
from dense.models.stageinteractor.graph import DetectionGraph
from dense.models.stageinteractor.labels import StageTargets
from dense.models.stageinteractor.losses import box_l1, focal_loss, giou_loss
from dense.models.stageinteractor.neck import SharedNormNeck
from dense.models.stageinteractor.network import StageInteractor, part_settings, whole
from dense.models.stageinteractor.queries import QueryGenerator
from dense.registry import MODELS, TASK_UTILS
from dense.tasks import DetectionTask, as_task
from dense.tasks.detection import MULTIPLE
from dense.tasks.palettes import COCO

try:
    need_mmdet()
    from mmdet.models.data_preprocessors import DetDataPreprocessor
    from mmdet.models.detectors import SparseRCNN
    from mmdet.models.roi_heads import CascadeRoIHead

    from dense.models.stageinteractor.assigner import CrossStageAssigner
except ImportError as error:
    raise MissingDependencyError(NO_MMDET.format(error)) from error


def default_task(num_classes: int = 80, queries: int = 100) -> DetectionTask:
    """COCO, or names for other numbers of classes; as many objects as queries."""
    classes = COCO if num_classes == len(COCO) else tuple(f"class {i}" for i in range(num_classes))
    return DetectionTask(classes=classes, most=queries)


@MODELS.register_module()
class QueryHead(QueryGenerator):
    """``QueryGenerator`` as what mmdet asks for proposals."""

    def __init__(self, queries: int = 100, channels: int = 256, **kwargs):
        super().__init__(queries, channels)  # mmdet adds num_classes, train_cfg and test_cfg

    def predict(self, x: Sequence[Tensor], batch_data_samples: Sequence[BaseDataElement],
                **kwargs) -> list[InstanceData]:
        """For each picture ``bboxes`` xyxy and ``xyzr``, (queries, 4), ``features`` (queries, channels), ``imgs_whwh``
        (queries, 4)."""
        pictures = picture_sizes(batch_data_samples, x[0].device)
        features, xyzr = self(pictures)
        whwh = torch.cat((pictures, pictures), -1)[:, None].expand(-1, xyzr.shape[1], -1)
        return [InstanceData(bboxes=to_xyxy(b), xyzr=b, features=f, imgs_whwh=w)
                for f, b, w in zip(features, xyzr, whwh, strict=True)]

    def loss_and_predict(self, x: Sequence[Tensor], batch_data_samples: Sequence[BaseDataElement],
                         **kwargs) -> tuple[dict, list[InstanceData]]:
        """No losses, and what ``predict`` gives."""
        return {}, self.predict(x, batch_data_samples)


@MODELS.register_module()
class CrossStageRoIHead(CascadeRoIHead):
    """The stages with their losses: all stages run first, as their labels depend on each other.

    stages: settings of ``make_stages``. assigner: a ``CrossStageAssigner``, or the config of one.
    class_weight, l1_weight, iou_weight: of the losses, the same for every stage. recompute: see ``run_stages``.
    """

    def __init__(self, stages: Mapping, assigner: dict | CrossStageAssigner | None = None, class_weight: float = 2.0,
                 l1_weight: float = 5.0, iou_weight: float = 2.0, recompute: bool = False, train_cfg=None,
                 test_cfg=None, init_cfg=None):
        made = make_stages(**stages)
        super().__init__(len(made), [1.0] * len(made), bbox_roi_extractor={}, bbox_head=made, test_cfg=test_cfg,
                         init_cfg=init_cfg)
        assigner = dict(type=CrossStageAssigner) if assigner is None else assigner
        self.assigner = TASK_UTILS.build(assigner) if isinstance(assigner, dict) else assigner
        self.class_weight, self.l1_weight, self.iou_weight = class_weight, l1_weight, iou_weight
        self.recompute = recompute

    def init_bbox_head(self, bbox_roi_extractor: dict, bbox_head: Sequence[nn.Module]) -> None:
        """Stages sample by themselves: there is nothing that extracts regions."""
        self.bbox_head = nn.ModuleList(bbox_head)

    def forward(self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData],
                batch_data_samples: Sequence[BaseDataElement] | None = None) -> list[StageOutput]:
        """Outputs of the stages for levels (N, C, h_l, w_l)."""
        query, xyzr = (torch.stack([r[key] for r in rpn_results_list]) for key in ("features", "xyzr"))
        return list(run_stages(self.bbox_head, x, query, xyzr, self.recompute and self.training))

    def loss(self, x: Sequence[Tensor], rpn_results_list: Sequence[InstanceData],
             batch_data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """``s0.loss_cls``, ``s0.loss_bbox``, ``s0.loss_iou``, ``s1. ...``; their sum is what is minimised."""
        outputs = self(x, rpn_results_list, batch_data_samples)
        truths = [s.gt_instances for s in batch_data_samples]
        targets = [self.assigner.assign([StageOutput(o.logits[i], o.boxes[i]) for o in outputs], truth,
                                        tuple(sample.img_shape[:2]))
                   for i, (truth, sample) in enumerate(zip(truths, batch_data_samples, strict=True))]
        scales = [r.imgs_whwh for r in rpn_results_list]
        losses = {}
        for stage, output in enumerate(outputs):
            found = self._stage_loss(output, [t[stage] for t in targets], truths, scales)
            losses.update({f"s{stage}.{name}": value for name, value in found.items()})
        return losses

    def _stage_loss(self, output: StageOutput, targets: Sequence[StageTargets], truths: Sequence[InstanceData],
                    scales: Sequence[Tensor]) -> dict[str, Tensor]:
        logits, boxes = output.logits.float(), output.boxes.float()
        named, positives = normalisers(targets, logits.device)
        matched = torch.cat([b[t.queries] for b, t in zip(boxes, targets, strict=True)])
        wanted = torch.cat([g.bboxes[t.truths] for g, t in zip(truths, targets, strict=True)]).to(matched)
        scale = torch.cat([s[t.queries] for s, t in zip(scales, targets, strict=True)])
        classes = torch.stack([t.classes for t in targets])
        return {"loss_cls": self.class_weight * focal_loss(logits, classes) / named,
                "loss_bbox": self.l1_weight * box_l1(matched, wanted, scale) / positives,
                "loss_iou": self.iou_weight * giou_loss(matched, wanted) / positives}


def normalisers(targets: Sequence[StageTargets], device: torch.device) -> tuple[Tensor, Tensor]:
    """Of the losses of classes and boxes in one stage: counts over the batch, their mean over processes, at least 1."""
    counts = torch.tensor([[t.classes.sum(), t.positives] for t in targets], dtype=torch.float32).sum(0)
    counts = torch.stack((counts.max(), counts[1])).to(device)
    all_reduce(counts, "mean")
    named, positives = counts.clamp(min=1)
    return named, positives


def picture_sizes(samples: Sequence[BaseDataElement], device: torch.device) -> Tensor:
    """(width, height) of each picture in the tensor, without padding, (N, 2)."""
    return torch.tensor([s.img_shape[1::-1] for s in samples], dtype=torch.float32, device=device)


@MODELS.register_module()
class DetectionModel(SparseRCNN):
    """StageInteractor with losses and prediction.

    network: settings of ``StageInteractor``. task: the ``DetectionTask``, or its values; COCO's by default.
    assigner: of ``CrossStageRoIHead``. backbone_weights: ImageNet weights of the backbone (a file), None for initial
        ones. What is trained from those wants ``frozen_stages=-1, norm_eval=False`` in ``network``.

    ``forward(inputs, mode='tensor')``: normalised (N, 3, H, W) -> for each stage class logits (N, queries, classes) and
    boxes (N, queries, 4), xyxy in pixels of the input. ``mode='loss'`` and ``'predict'`` serve mmengine's loops.
    """

    def __init__(self, network: Mapping, task: DetectionTask | Mapping | None = None, assigner: dict | None = None,
                 backbone_weights: str | Path | None = None, init_cfg: dict | None = None):
        settings = {k: v for k, v in dict(network).items() if k != "type"}
        parts = part_settings(**settings)
        classes, queries = parts["roi_head"]["num_classes"], parts["rpn_head"]["queries"]
        task = default_task(classes, queries) if task is None else as_task(task, "detection")
        if len(task.classes) != classes:
            raise ConfigError(f"num_classes={classes}, but the task has {len(task.classes)} classes "
                              f"({', '.join(task.classes[:4])} ...). Remedy: make them agree")
        nothing = ConfigDict(rpn=None, rcnn=None)  # mmdet asks for them
        super().__init__(
            backbone=backbone_config(**parts["backbone"]), neck=dict(type=SharedNormNeck, **parts["neck"]),
            rpn_head=dict(type=QueryHead, **parts["rpn_head"]),
            roi_head=dict(type=CrossStageRoIHead, stages=parts["roi_head"], assigner=assigner,
                          recompute=settings.get("recompute", False)),
            train_cfg=nothing, test_cfg=nothing, init_cfg=init_cfg,
            data_preprocessor=dict(type=DetDataPreprocessor, mean=task.mean, std=task.std, pad_size_divisor=MULTIPLE))
        self.task = task
        initialise(self.backbone)
        if backbone_weights:
            load_backbone(self.backbone, backbone_weights)

    @property
    def network(self) -> StageInteractor:
        """The plain network, with the published keys; it shares this model's weights."""
        decoder = Decoder(self.roi_head.bbox_head, self.roi_head.recompute)
        decoder.training = self.training
        return StageInteractor.of_parts(self.backbone, self.neck, self.rpn_head, decoder)

    def forward(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = "tensor"):
        if mode not in ("tensor", "loss", "predict"):
            raise ValueError(f"unknown mode {mode!r}; use 'tensor', 'loss' or 'predict'")
        return super().forward(inputs, data_samples, mode)

    def _forward(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None) -> list[StageOutput]:
        return self.network(inputs, self._pictures(inputs, data_samples))

    def _pictures(self, inputs: Tensor, samples: Sequence[BaseDataElement] | None) -> Tensor:
        if not samples or any("img_shape" not in s for s in samples):
            return whole(inputs)
        return picture_sizes(samples, inputs.device)

    def graph(self) -> DetectionGraph:
        """The network as it is deployed: values 0..255 in, boxes and probabilities out; it shares the weights."""
        return DetectionGraph(self.network, self.task).eval()

    def predict(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, rescale: bool = True):
        """Data samples with ``pred_instances``: ``bboxes`` (n, 4) xyxy, ``scores`` and ``labels`` (n,), the surest
        first: as many as the task allows, whatever its threshold.

        The metainfo says how ``inputs`` were made: ``img_shape``, (height, width) of the picture in the tensor, and
        ``ori_shape``, the picture's own, in whose pixels the boxes are (without ``rescale``: in the tensor's).
        """
        samples = list(data_samples) if data_samples is not None else [BaseDataElement() for _ in range(len(inputs))]
        pictures = self._pictures(inputs, samples)
        outputs = self.network.detect(inputs, pictures).detach().float().cpu().numpy()
        for sample, output, size in zip(samples, outputs, pictures.tolist(), strict=True):
            inside = tuple(int(s) for s in size[::-1])
            found = self.task.decode(output, tuple(sample.get("ori_shape", inside)) if rescale else inside, 0.0)
            sample.pred_instances = InstanceData(
                bboxes=torch.from_numpy(found.boxes), scores=torch.from_numpy(found.scores),
                labels=torch.from_numpy(found.labels))
        return samples
