"""The trainable model around DeepEraser, as an mmengine model."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor, nn

from dense.errors import ConfigError
from dense.models.deeperaser.losses import iteration_weights, weighted_l1
from dense.models.deeperaser.network import DeepEraser
from dense.models.graph import DeployedGraph
from dense.registry import MODELS
from dense.tasks import EraseTask, as_task

MODELS.register_module(module=DeepEraser)

CHANGE = 20 / 255  # by how much a pixel that is to change differs from the truth; compression differs by less


@MODELS.register_module()
class ErasePreprocessor(BaseDataPreprocessor):
    """Batches samples and divides by 255, on the model's device.

    Takes ``inputs``: uint8 (4, h, w) tensors, RGB and the mask; and in training ``data_samples`` whose ``gt_image`` is
    the clean picture, uint8 RGB (3, h, w).
    """

    def __init__(self, channels_last: bool = False):
        super().__init__()
        self.channels_last = channels_last

    def forward(self, data: dict, training: bool = False) -> dict:
        inputs = data["inputs"]
        batch = torch.stack(list(inputs)) if not isinstance(inputs, Tensor) else inputs
        batch = self.cast_data(batch).float() / 255.0
        if self.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        out = {"inputs": batch, "data_samples": data.get("data_samples")}
        if training:
            truth = torch.stack([s.gt_image.data for s in data["data_samples"]])
            out["truth"] = self.cast_data(truth).float() / 255.0
        return out


@MODELS.register_module()
class EraseModel(BaseModel):
    """DeepEraser with loss and prediction.

    network: ``DeepEraser``, or the config of one. task: the ``EraseTask``, or its values.
    gamma: the loss of iteration i of T weighs gamma^(T - i), i = 1..T. mask_weight, change_weight: weights of masked
        pixels, and of those that are to change, in the loss, where others weigh 1. Letters are few pixels among many:
        with weights of 1, small networks were seen to settle on changing nothing. None of this is published.
    channels_last: memory layout of inputs and weights.

    ``forward(inputs, mode='tensor')``: (N, 4, H, W), RGB in 0..1 and the mask (1: erase) -> every iteration's
    reconstruction (N, 3, H, W), not clamped. ``mode='loss'`` and ``'predict'`` serve mmengine's loops.
    """

    def __init__(self, network: nn.Module | dict, task: EraseTask | dict | None = None, gamma: float = 0.85,
                 mask_weight: float = 1.0, change_weight: float = 1.0, channels_last: bool = False,
                 init_cfg: dict | None = None):
        super().__init__(data_preprocessor=ErasePreprocessor(channels_last), init_cfg=init_cfg)
        if not 0 < gamma <= 1:
            raise ConfigError(f"gamma={gamma!r} must be above 0 and at most 1 (1: all iterations weigh the same)")
        for name, value in (("mask_weight", mask_weight), ("change_weight", change_weight)):
            if not value > 0:
                raise ConfigError(f"{name}={value!r} must be above 0")
        self.task = as_task(task, "erase")
        self.network = MODELS.build(network) if isinstance(network, dict) else network
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.gamma, self.mask_weight, self.change_weight = gamma, mask_weight, change_weight

    def forward(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None,
                truth: Tensor | None = None, mode: str = "tensor"):
        if mode == "tensor":
            return self.network(inputs)
        if mode == "loss":
            return self.loss(inputs, truth)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        raise ValueError(f"unknown mode {mode!r}; use 'tensor', 'loss' or 'predict'")

    def loss(self, inputs: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Losses of a batch: ``truth`` (N, 3, H, W) in 0..1, the clean pictures. Their sum is what is minimised."""
        mask = inputs[:, 3:]
        changing = ((inputs[:, :3] - truth).abs().amax(1, keepdim=True) > CHANGE).to(truth.dtype)
        pixels = (1 + (self.mask_weight - 1) * mask).maximum(self.change_weight * changing)
        reconstructions = self.network(inputs)
        errors = [weighted_l1(r, truth, pixels) for r in reconstructions]
        weights = iteration_weights(len(errors), self.gamma)
        with torch.no_grad():
            inside = weighted_l1(reconstructions[-1].detach(), truth, mask)
        return {"loss_l1": sum(w * e for w, e in zip(weights, errors, strict=True)), "l1_inside": inside}

    def graph(self) -> DeployedGraph:
        """The network as it is deployed: values 0..255 in, picture out; it shares the weights."""
        from dense.models.deeperaser.graph import EraseGraph

        return EraseGraph(self.network).eval()

    def predict(self, inputs: Tensor, data_samples: Sequence[BaseDataElement] | None = None):
        """Data samples with ``pred_image``, uint8 RGB (3, H, W): the network's output in the mask, the picture itself
        elsewhere, cut to ``ori_shape``."""
        outputs = self.network.last(inputs).detach().float().clamp(0, 1).cpu().numpy()
        given = (inputs.detach().float() * 255).round().byte().cpu().numpy()
        samples = list(data_samples) if data_samples is not None else [BaseDataElement() for _ in range(len(inputs))]
        for sample, output, array in zip(samples, outputs, given, strict=True):
            height, width = sample.get("ori_shape", tuple(inputs.shape[-2:]))
            picture, region, values = (np.ascontiguousarray(a.transpose(1, 2, 0)[:height, :width])
                                       for a in (array[:3], array[3:] // 128, output))
            erased = self.task.paste(picture, region[..., 0], values)
            sample.pred_image = PixelData(data=torch.from_numpy(np.ascontiguousarray(erased.transpose(2, 0, 1))))
        return samples
