"""IS-Net as it is deployed: values 0..255 in, probabilities out."""
from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dense.models.graph import DeployedGraph
from dense.tasks import CutoutTask


class CutoutGraph(DeployedGraph):
    """(N, 3, H, W) float32 RGB 0..255 -> alpha (N, 1, H, W) in 0..1: normalisation, network, finest map, sigmoid.

    The other five maps are not computed.
    """

    input_shapes: ClassVar = {"image": ("batch", 3, "height", "width")}
    output_shapes: ClassVar = {"alpha": ("batch", 1, "height", "width")}

    def __init__(self, network: nn.Module, task: CutoutTask):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(task.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(task.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.network.finest((image - self.mean) / self.std).sigmoid()
