"""Networks as they are deployed: what every exportable graph tells about its inputs and outputs."""
from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn


class DeployedGraph(nn.Module):
    """A network with normalisation in front and its final activation behind; tensors float32.

    input_shapes, output_shapes: by name, in order; an axis is a size, or the name of one that may vary
    ('batch', 'height', 'width').
    """

    input_shapes: ClassVar[dict[str, tuple[int | str, ...]]]
    output_shapes: ClassVar[dict[str, tuple[int | str, ...]]]

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(self.input_shapes)

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(self.output_shapes)

    @property
    def dynamic(self) -> tuple[str, ...]:
        """Names of the sizes that may vary."""
        return tuple(dict.fromkeys(s for shape in self.input_shapes.values() for s in shape if isinstance(s, str)))

    def example(self, sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        """Inputs of zeros, with ``sizes`` by name."""
        return tuple(torch.zeros([s if isinstance(s, int) else sizes[s] for s in shape])
                     for shape in self.input_shapes.values())
