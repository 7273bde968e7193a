"""StageInteractor as it is deployed: values 0..255 in, boxes and probabilities out."""
from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dense.models.graph import DeployedGraph
from dense.tasks.detection import DetectionTask


class DetectionGraph(DeployedGraph):
    """(N, 3, H, W) float32 RGB 0..255, below 0 where there is no picture (padding, to its right and below) -> (N,
    queries, 4 + classes): left, top, right, bottom as shares of the picture's width and height, then the probability
    of each class.

    Queries begin with a box around the picture, so the network must know where it ends. Padding becomes 0 after
    normalisation, as in training.
    """

    input_shapes: ClassVar = {"image": ("batch", 3, "height", "width")}

    def __init__(self, network: nn.Module, task: DetectionTask):
        super().__init__()
        self.network = network
        queries = network.rpn_head.init_content_features.num_embeddings
        self.output_shapes = {"detections": ("batch", queries, 4 + len(task.classes))}
        self.register_buffer("mean", torch.tensor(task.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(task.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        inside = (image[:, :1] >= 0).to(image.dtype)
        pictures = torch.cat([inside.amax(axis).sum(-1) for axis in (2, 3)], -1).clamp(min=1)
        return self.network.detect((image - self.mean) / self.std * inside, pictures)
