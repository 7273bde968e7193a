"""The trainable model around IS-Net or its ground-truth encoder, as an mmengine model."""
from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor, nn
from torch.nn import functional as F

from dense.errors import ConfigError
from dense.models.graph import DeployedGraph
from dense.models.isnet.losses import FEATURE_LOSSES, feature_loss, multi_level_bce, multi_level_iou
from dense.models.isnet.network import GTEncoder, ISNet
from dense.registry import MODELS
from dense.tasks import CutoutTask, as_task

MODELS.register_module(module=ISNet)
MODELS.register_module(module=GTEncoder)


@MODELS.register_module()
class CutoutPreprocessor(BaseDataPreprocessor):
    """Batches samples and normalises pictures with the task's constants, on the model's device.

    Takes ``inputs``: uint8 (3|1, h, w) tensors, and ``data_samples``: elements whose ``gt_alpha`` is a
    uint8 mask. Pictures become (value - mean) / std; one-channel inputs (masks) become value / 255.
    ``train_size`` (height, width), None by default: training batches are shrunk to it, by area.
    """

    train_size: tuple[int, int] | None = None

    def __init__(self, task: CutoutTask, channels_last: bool = False):
        super().__init__()
        self.task, self.channels_last = task, channels_last

    def forward(self, data: dict, training: bool = False) -> dict:
        inputs = data["inputs"]
        batch = torch.stack(list(inputs)) if not isinstance(inputs, Tensor) else inputs
        batch = self.cast_data(batch).float()
        if batch.shape[1] == 1:
            batch = batch / 255.0
        else:
            mean = batch.new_tensor(self.task.mean).view(-1, 1, 1)
            std = batch.new_tensor(self.task.std).view(-1, 1, 1)
            batch = (batch - mean) / std
        if self.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        out = {"inputs": batch, "data_samples": data.get("data_samples")}
        if training:
            truth = torch.stack([s.gt_alpha.data for s in data["data_samples"]])
            out["truth"] = self.cast_data(truth).float() / 255.0
            if self.train_size is not None and self.train_size != tuple(batch.shape[-2:]):
                for key in ("inputs", "truth"):
                    out[key] = F.interpolate(out[key], self.train_size, mode="area")
        return out


class FrozenEncoder:
    """Holds a trained ground-truth encoder, in eval mode and without gradients.

    It is no submodule on purpose: it stays out of checkpoints, averages, ``train()`` and DDP. (The
    original left it in train mode, where its batch statistics keep moving.)
    """

    def __init__(self, network: nn.Module):
        self.network = network.eval().requires_grad_(False)

    def __deepcopy__(self, memo):
        return self

    @torch.no_grad()
    def __call__(self, truth: Tensor) -> list[Tensor]:
        if next(self.network.parameters()).device != truth.device:
            self.network.to(truth.device)
        return self.network(truth)[1]


@MODELS.register_module()
class CutoutModel(BaseModel):
    """IS-Net (or the ground-truth encoder) with loss and prediction.

    network: ``ISNet`` or ``GTEncoder``, or the config of one.
    task: the ``CutoutTask`` (or its values) that says how pictures become tensors and alphas.
    gt_encoder: None (no feature supervision), or a config ``dict(network=..., checkpoint=FILE)``.
    feature_loss: 'mse' (published), 'mae', 'smooth_l1' or 'kl'; feature_weight: its weight.
    iou_weight: weight of the soft IoU loss beside BCE; 0 is the published recipe.
    channels_last: memory layout of inputs and weights; faster on CPU and on GPUs with tensor cores.

    ``forward(inputs, mode='tensor')``: normalised (N, C, H, W) -> six logit maps (N, 1, H, W), fine to
    coarse. ``mode='loss'`` and ``'predict'`` serve mmengine's loops.
    """

    def __init__(self, network: nn.Module | dict, task: CutoutTask | dict | None = None,
                 gt_encoder: dict | None = None, feature_loss: str = "mse", feature_weight: float = 1.0,
                 iou_weight: float = 0.0, channels_last: bool = False, init_cfg: dict | None = None):
        task = as_task(task)
        super().__init__(data_preprocessor=CutoutPreprocessor(task, channels_last), init_cfg=init_cfg)
        if feature_loss not in FEATURE_LOSSES:
            raise ConfigError(f"feature_loss={feature_loss!r} is unknown; use {', '.join(FEATURE_LOSSES)}")
        self.task = task
        self.network = MODELS.build(network) if isinstance(network, dict) else network
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.feature_kind, self.feature_weight, self.iou_weight = feature_loss, feature_weight, iou_weight
        self.teacher = self._build_teacher(gt_encoder)

    @staticmethod
    def _build_teacher(config: dict | None) -> FrozenEncoder | None:
        if config is None:
            return None
        config = dict(config)
        if not config.get("checkpoint"):
            raise ConfigError(
                "model.gt_encoder.checkpoint is not set: feature supervision needs a trained ground-truth "
                "encoder. Remedy: train it with the gt_encoder config (the train command does so by itself "
                "when the config names a prerequisite), or set model.gt_encoder=None")
        from dense.models.build import load_network_weights

        network = MODELS.build(copy.deepcopy(config["network"]))
        load_network_weights(network, config["checkpoint"])
        return FrozenEncoder(network)

    def forward(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None,
                truth: Tensor | None = None, mode: str = "tensor"):
        if mode == "tensor":
            return self.network(inputs)[0]
        if mode == "loss":
            return self.loss(inputs, truth)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        raise ValueError(f"unknown mode {mode!r}; use 'tensor', 'loss' or 'predict'")

    def loss(self, inputs: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Losses of a batch: ``truth`` (N, 1, H, W) in 0..1. Their sum is what is minimised."""
        logits, features = self.network(inputs)
        levels = multi_level_bce(logits, truth)
        losses = {"loss_bce": torch.stack(levels).sum(), "bce_fine": levels[0].detach()}
        if self.iou_weight:
            losses["loss_iou"] = self.iou_weight * torch.stack(multi_level_iou(logits, truth)).sum()
        if self.teacher is not None:
            with torch.autocast(truth.device.type, enabled=False):
                targets = self.teacher(truth)
            distances = feature_loss(features, targets, self.feature_kind)
            losses["loss_feature"] = self.feature_weight * torch.stack(distances).sum()
        return losses

    def graph(self) -> DeployedGraph:
        """The network as it is deployed: values 0..255 in, alpha out; it shares the weights.

        Raises ConfigError for the ground-truth encoder, which is not.
        """
        from dense.models.isnet.graph import CutoutGraph

        if not hasattr(self.network, "finest"):
            raise ConfigError(f"{type(self.network).__name__} serves training only, it cannot be used on pictures or "
                              "exported. Remedy: isnet")
        return CutoutGraph(self.network, self.task).eval()

    def predict(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None):
        """Data samples with ``pred_alpha`` (1, H, W) float 0..1 at the size of each picture, and
        ``pred_sem_seg`` (1, H, W) labels 0/1 (alpha > 0.5) for stock metrics."""
        probability = self.network(inputs)[0][0].detach().float().sigmoid().cpu().numpy()
        samples = list(data_samples) if data_samples is not None else [
            BaseDataElement() for _ in range(len(inputs))]
        for sample, p in zip(samples, probability, strict=True):
            shape = sample.get("ori_shape", tuple(inputs.shape[-2:]))
            alpha = torch.from_numpy(self.task.decode(p[0], tuple(shape)))[None]
            sample.pred_alpha = PixelData(data=alpha)
            sample.pred_sem_seg = PixelData(data=(alpha > 0.5).long())
        return samples
