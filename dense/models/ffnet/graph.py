"""FFNet as it is deployed: values 0..255 in, logits at the output stride out."""
from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dense.models.graph import DeployedGraph
from dense.tasks.semantic import SemanticTask


class SemanticGraph(DeployedGraph):
    """(N, 3, H, W) float32 RGB 0..255 -> logits (N, classes, h, w): normalisation and network.

    Logits are not resized here: ``SemanticTask`` does that where it takes the argmax, the same way for every backend.
    """

    input_shapes: ClassVar = {"image": ("batch", 3, "height", "width")}

    def __init__(self, network: nn.Module, task: SemanticTask):
        super().__init__()
        self.network = network
        self.output_shapes = {"logits": ("batch", len(task.classes), "rows", "columns")}
        self.register_buffer("mean", torch.tensor(task.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(task.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.network((image - self.mean) / self.std)
