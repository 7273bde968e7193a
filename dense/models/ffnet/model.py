"""FFNet as mmseg trains it: backbone, neck and decode head in an EncoderDecoder whose decoding is the task's.

Needs the extra 'seg' (mmsegmentation); nothing else in ``dense.models`` does.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor, nn
from torch.nn import functional as F

from dense.compat import ensure_mmcv_ext
from dense.errors import ConfigError, MissingDependencyError
from dense.models.ffnet.backbone import FFNetBackbone, PreDown
from dense.models.ffnet.family import parse_name
from dense.models.ffnet.graph import SemanticGraph
from dense.models.ffnet.heads import FFNetUpHead, SegHead
from dense.models.ffnet.network import FFNet, part_settings
from dense.models.ffnet.published import load_backbone
from dense.registry import MODELS
from dense.tasks import SemanticTask, as_task
from dense.tasks.palettes import CITYSCAPES

try:
    ensure_mmcv_ext()
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.models.losses import CrossEntropyLoss
    from mmseg.models.segmentors import EncoderDecoder
except ImportError as error:
    raise MissingDependencyError(f"FFNet is composed by mmsegmentation, which cannot be imported ({error}). "
                                 "Remedy: pip install 'dense[seg]'") from error


def default_task(name: str, num_classes: int) -> SemanticTask:
    """The task of a published name: Cityscapes at the size that its figures are given for; names for other counts."""
    variant = parse_name(name)
    classes = tuple(CITYSCAPES) if num_classes == len(CITYSCAPES) else tuple(f"class {i}" for i in range(num_classes))
    return SemanticTask(size=variant.input_size, classes=classes, align_corners=not variant.mobile)


@MODELS.register_module()
class SemanticPreprocessor(BaseDataPreprocessor):
    """Batches samples and normalises pictures with the task's constants, on the model's device.

    Takes ``inputs``: (3, h, w) tensors of values 0..255, and ``data_samples``; in training their ``gt_sem_seg`` (labels
    (1, h, w)) goes to the device too.
    """

    def __init__(self, task: SemanticTask, channels_last: bool = False):
        super().__init__()
        self.task, self.channels_last = task, channels_last

    def forward(self, data: dict, training: bool = False) -> dict:
        inputs = data["inputs"]
        batch = torch.stack(list(inputs)) if not isinstance(inputs, Tensor) else inputs
        batch = self.cast_data(batch).float()
        mean = batch.new_tensor(self.task.mean).view(-1, 1, 1)
        std = batch.new_tensor(self.task.std).view(-1, 1, 1)
        batch = (batch - mean) / std
        if self.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        samples = data.get("data_samples")
        return {"inputs": batch, "data_samples": self.cast_data(samples) if training else samples}


@MODELS.register_module()
class FFNetHead(BaseDecodeHead):
    """``SegHead`` with mmseg's losses and samplers.

    in_channels: of all levels, as their list. channels, kernel, mode: of ``SegHead``. The rest is mmseg's:
    loss_decode, sampler (OHEM), ignore_index, align_corners.
    """

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int, kernel: int = 1,
                 mode: str = "bilinear", loss_decode: dict | Sequence[dict] | None = None, **kwargs):
        super().__init__(list(in_channels), channels, num_classes=num_classes, out_channels=num_classes,
                         input_transform="multiple_select", in_index=list(range(len(in_channels))), dropout_ratio=0,
                         loss_decode=loss_decode or dict(type=CrossEntropyLoss, avg_non_ignore=True), init_cfg=None,
                         **kwargs)
        del self.conv_seg  # the last convolution is SegHead's
        self.head = SegHead(sum(in_channels), channels, num_classes, kernel, mode)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.head(self._transform_inputs(inputs))

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence[BaseDataElement]) -> dict[str, Tensor]:
        """Losses at the labels' size, as mmseg's, without the accuracy that it works out in every step."""
        truth = self._stack_batch_gt(batch_data_samples).long()
        logits = F.interpolate(seg_logits, truth.shape[-2:], mode="bilinear", align_corners=self.align_corners)
        weight = None if self.sampler is None else self.sampler.sample(logits, truth)
        losses: dict[str, Tensor] = {}
        for loss in self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]:
            value = loss(logits, truth[:, 0], weight=weight, ignore_index=self.ignore_index)
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
        return losses


@MODELS.register_module()
class SemanticModel(EncoderDecoder):
    """An FFNet with losses and prediction.

    network: settings of ``FFNet`` (``type`` may be left out).
    task: the ``SemanticTask`` (or its values); Cityscapes at the published size by default.
    loss_decode, sampler: mmseg's, for example ``dict(type=CrossEntropyLoss, class_weight=[...])`` (without
        ``avg_non_ignore``, which fails beside it; the mean is over the pixels that have a label all the same) and
        ``dict(type=OHEMPixelSampler, thresh=0.7, min_kept=100_000)``. By default cross entropy, its mean over the
        pixels that have a label.
    backbone_weights: file of an ImageNet-trained backbone to begin with.
    channels_last: memory layout of inputs and weights; faster on CPU and on GPUs with tensor cores.

    ``forward(inputs, mode='tensor')``: normalised (N, 3, H, W) -> logits (N, classes, h, w) at the output stride.
    ``mode='loss'`` and ``'predict'`` serve mmengine's loops.
    """

    def __init__(self, network: Mapping, task: SemanticTask | Mapping | None = None,
                 loss_decode: dict | Sequence[dict] | None = None, sampler: dict | None = None,
                 backbone_weights: str | Path | None = None, channels_last: bool = False,
                 init_cfg: dict | None = None):
        settings = {k: v for k, v in dict(network).items() if k != "type"}
        name, classes = settings["name"], settings.get("num_classes", len(CITYSCAPES))
        padding = settings.pop("padding", "published")
        parts = part_settings(**settings)
        task = default_task(name, classes) if task is None else as_task(task, "semantic")
        if len(task.classes) != classes:
            raise ConfigError(f"{name}: num_classes={classes}, but the task has {len(task.classes)} classes "
                              f"({', '.join(task.classes[:4])} ...). Remedy: make them agree")
        head = parts["head"]
        super().__init__(
            backbone=dict(type=FFNetBackbone, **parts["backbone"]), neck=dict(type=FFNetUpHead, **parts["neck"]),
            decode_head=dict(type=FFNetHead, in_channels=parts["neck"]["out"], channels=head["channels"],
                             num_classes=classes, kernel=head["kernel"], mode=head["mode"], loss_decode=loss_decode,
                             sampler=sampler, ignore_index=task.ignore_index, align_corners=task.align_corners),
            data_preprocessor=SemanticPreprocessor(task, channels_last), init_cfg=init_cfg)
        self.task = task
        self.smoothing = PreDown(3, padding) if parse_name(name).pre_down else None
        if backbone_weights:
            load_backbone(self.backbone, backbone_weights)
        if channels_last:
            self.to(memory_format=torch.channels_last)

    @property
    def network(self) -> FFNet:
        """The plain network, with the published keys; it shares this model's weights."""
        return FFNet.of_parts(self.smoothing, self.backbone, self.neck, self.decode_head.head)

    def extract_feat(self, inputs: Tensor) -> list[Tensor]:
        """Four levels, fine to coarse, of a normalised batch."""
        return super().extract_feat(inputs if self.smoothing is None else self.smoothing(inputs))

    def forward(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None, mode: str = "tensor"):
        if mode not in ("tensor", "loss", "predict"):
            raise ValueError(f"unknown mode {mode!r}; use 'tensor', 'loss' or 'predict'")
        return super().forward(inputs, data_samples, mode)

    def graph(self) -> SemanticGraph:
        """The network as it is deployed: values 0..255 in, logits out; it shares the weights."""
        return SemanticGraph(self.network, self.task).eval()

    def predict(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None):
        """Data samples with ``pred_sem_seg``: classes (1, H, W), int64, at the size of each picture.

        The metainfo says how ``inputs`` were made: ``ori_shape`` (H, W), and ``mode``, one of the task's ('whole' if
        not given). With 'sliding', ``inputs`` are whole pictures, whose windows are run here.
        """
        samples = list(data_samples) if data_samples is not None else [BaseDataElement() for _ in range(len(inputs))]
        plans = [self.task.plan(tuple(s.get("ori_shape", inputs.shape[-2:])), s.get("mode", "whole")) for s in samples]
        together = None
        if any(plan.overview is not None for plan in plans):
            together = self._logits(inputs)
        for index, (sample, plan) in enumerate(zip(samples, plans, strict=True)):
            if plan.overview is not None:
                labels = self.task.decode(together[index], plan)
            else:
                labels = self.task.merge([self._logits(crop(inputs[index:index + 1], t.slices, plan.size))[0]
                                          for t in plan.tiles], plan)
            sample.pred_sem_seg = PixelData(data=torch.from_numpy(labels.astype(np.int64))[None])
        return samples

    def _logits(self, inputs: Tensor) -> np.ndarray:
        return self._forward(inputs).detach().float().cpu().numpy()


def crop(inputs: Tensor, window: tuple[slice, slice], size: tuple[int, int]) -> Tensor:
    """A window of normalised (N, C, H, W), padded to ``size`` with 0, the mean colour."""
    part = inputs[..., window[0], window[1]]
    return F.pad(part, (0, size[1] - part.shape[-1], 0, size[0] - part.shape[-2]))
