"""DeepEraser as it is deployed: values 0..255 in, a picture out."""
from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from dense.models.graph import DeployedGraph


class EraseGraph(DeployedGraph):
    """(N, 4, H, W) float32, RGB 0..255 and mask (255: erase) -> picture (N, 3, H, W), RGB in 0..1, the last
    iteration's, clamped. The iterations are unrolled; pixels outside the mask change too, the task puts them back.
    """

    input_shapes: ClassVar = {"picture_and_mask": ("batch", 4, "height", "width")}
    output_shapes: ClassVar = {"picture": ("batch", 3, "height", "width")}

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, picture_and_mask: Tensor) -> Tensor:
        return self.network.last(picture_and_mask / 255.0).clamp(0, 1)
