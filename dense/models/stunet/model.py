"""The trainable model around STU-Net, as an mmengine model."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from dense.errors import ConfigError
from dense.models.graph import DeployedGraph
from dense.models.stunet.classes import TOTALSEGMENTATOR
from dense.models.stunet.network import STUNet
from dense.registry import MODELS
from dense.tasks import as_task
from dense.tasks.volume import VolumeTask

MODELS.register_module(module=STUNet)


def default_task(in_channels: int = 1, num_classes: int = 105) -> VolumeTask:
    """The plan of the published weights; names for other counts of channels and classes.

    CT is standardised by each volume's own mean and deviation, without clipping: 'nonCT' in nnU-Net's plan.
    """
    classes = TOTALSEGMENTATOR if num_classes == len(TOTALSEGMENTATOR) else \
        ("background", *(f"class {i}" for i in range(1, num_classes)))
    channels = ("CT",) if in_channels == 1 else tuple(f"channel {i}" for i in range(in_channels))
    return VolumeTask(size=(128, 128, 128), spacing=(1.5, 1.5, 1.5), channels=channels, normalisation=("zscore",),
                      classes=classes, generation=1)


def level_weights(count: int) -> list[float]:
    """Weights of the losses of ``count`` levels, fine to coarse: halves of the one before, the coarsest 0, together 1.

    A network with one level has its loss alone.
    """
    weights = [0.5 ** level for level in range(count)]
    if count > 1:
        weights[-1] = 0.0
    total = sum(weights)
    return [w / total for w in weights]


def shrink_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels (N, 1, D, H, W) on a coarser grid: those nearest to its voxels' middles."""
    if labels.shape[2:] == tuple(size):
        return labels
    index = []
    for before, after in zip(labels.shape[2:], size, strict=True):
        middle = (torch.arange(after, device=labels.device) + 0.5) * (before / after)
        index.append(middle.long().clamp_(max=before - 1))
    return labels[:, :, index[0][:, None, None], index[1][:, None], index[2]]


@MODELS.register_module()
class VolumePreprocessor(BaseDataPreprocessor):
    """Batches patches, on the model's device: ``inputs``, float32 (C, d, h, w), as the data set prepared them; in
    training ``data_samples`` whose ``gt_labels`` are (1, d, h, w). Whole volumes, of different sizes, stay a list."""

    def forward(self, data: dict, training: bool = False) -> dict:
        inputs, samples = data["inputs"], data.get("data_samples")
        if not isinstance(inputs, Tensor) and len({tuple(x.shape) for x in inputs}) == 1:
            inputs = torch.stack(list(inputs))
        out = {"inputs": self.cast_data(inputs), "data_samples": samples}
        if training:
            labels = [torch.as_tensor(s.gt_labels) for s in samples]
            out["labels"] = self.cast_data(torch.stack(labels)).long()
        return out


@MODELS.register_module()
class VolumeModel(BaseModel):
    """STU-Net with loss and prediction.

    network: ``STUNet``, or the config of one. task: the ``VolumeTask``, or its values; that of the published weights by
        default.
    loss: the config of a loss, or a callable, of logits (N, classes, d, h, w) and labels (N, 1, d, h, w), which gives a
        tensor or tensors by name; Dice and cross entropy by default. Levels weigh as ``level_weights`` says.

    ``forward(inputs, mode='tensor')``: (N, C, D, H, W), prepared -> logits (N, classes, D, H, W) in eval mode, in train
    mode a list of them, fine to coarse. ``mode='loss'`` and ``'predict'`` serve mmengine's loops.
    """

    def __init__(self, network: nn.Module | dict, task: VolumeTask | Mapping | None = None,
                 loss: dict | Callable | None = None, init_cfg: dict | None = None):
        super().__init__(data_preprocessor=VolumePreprocessor(), init_cfg=init_cfg)
        self.network = MODELS.build(network) if isinstance(network, dict) else network
        channels, classes = self.network.in_channels, self.network.num_classes
        self.task = default_task(channels, classes) if task is None else as_task(task, "volume")
        for what, own, names in (("num_classes", classes, self.task.classes),
                                 ("in_channels", channels, self.task.channels)):
            if own != len(names):
                raise ConfigError(f"{what}={own}, but the task has {len(names)} ({', '.join(names[:4])}"
                                  f"{' ...' if len(names) > 4 else ''}). Remedy: make them agree")
        if loss is None:
            from dense.models.stunet.losses import DiceCrossEntropy

            loss = DiceCrossEntropy()
        self.criterion = MODELS.build(loss) if isinstance(loss, Mapping) else loss

    def forward(self, inputs: Tensor | Sequence[Tensor], data_samples: Sequence[BaseDataElement] | None = None,
                labels: Tensor | None = None, mode: str = "tensor"):
        if mode == "tensor":
            return self.network(inputs)
        if mode == "loss":
            return self.loss(inputs, labels)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        raise ValueError(f"unknown mode {mode!r}; use 'tensor', 'loss' or 'predict'")

    def loss(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a batch by name, each the weighted sum over the levels; ``labels`` (N, 1, D, H, W). What is
        minimised is the sum of those whose name has 'loss' in it."""
        levels = self.network(inputs)
        levels = levels if isinstance(levels, list | tuple) else [levels]
        losses: dict[str, Tensor] = {}
        for weight, logits in zip(level_weights(len(levels)), levels, strict=True):
            if weight == 0:  # the head has a gradient all the same, of zeros: several processes wait for one
                losses = {name: value + 0.0 * logits.sum() for name, value in losses.items()}
                continue
            found = self.criterion(logits, shrink_labels(labels, logits.shape[2:]))
            for name, value in (found if isinstance(found, Mapping) else {"loss": found}).items():
                losses[name] = losses.get(name, 0) + weight * value
        return losses

    def graph(self) -> DeployedGraph:
        """The network as it is deployed: prepared patches in, logits out; it shares the weights."""
        from dense.models.stunet.graph import VolumeGraph

        return VolumeGraph(self.network, self.task).eval()

    def predict(self, inputs: Tensor | Sequence[Tensor], data_samples: Sequence[BaseDataElement] | None = None):
        """Data samples with ``pred_labels``, the class of every voxel of whole volumes, a tensor (Z, Y, X).

        inputs: values (C, Z, Y, X) as read from files. The metainfo says ``spacing``, mm along (z, y, x) (the task's
        if not given), and ``mode``, one of the task's ('plain' if not given: once a patch).
        """
        samples = list(data_samples) if data_samples is not None else [BaseDataElement() for _ in range(len(inputs))]
        for values, sample in zip(inputs, samples, strict=True):
            spacing = sample.get("spacing", self.task.spacing or (1.0, 1.0, 1.0))
            labels = self.task.segment(values.detach().cpu().numpy(), tuple(spacing), self._logits,
                                       mode=sample.get("mode", "plain"))
            sample.pred_labels = torch.from_numpy(np.asarray(labels).astype(np.int64))
        return samples

    def _logits(self, patches: np.ndarray) -> np.ndarray:
        device = next(self.parameters()).device
        with torch.no_grad():
            return self.network(torch.from_numpy(patches).to(device)).float().cpu().numpy()
