"""STU-Net as it is deployed: prepared patches in, logits out."""
from __future__ import annotations

from torch import Tensor, nn

from dense.models.graph import DeployedGraph
from dense.tasks.volume import VolumeTask


class VolumeGraph(DeployedGraph):
    """(N, C, d, h, w) float32, values as ``VolumeTask`` prepares them -> logits (N, classes, d, h, w).

    Normalisation is not in it: it goes by the volume, not by the patch. Patches have the size of the task, and no
    other; they are blended, and logits become labels, in the task, the same way for every backend.
    """

    def __init__(self, network: nn.Module, task: VolumeTask):
        super().__init__()
        self.network = network
        self.input_shapes = {"patches": ("batch", len(task.channels), *task.size)}
        self.output_shapes = {"logits": ("batch", len(task.classes), *task.size)}

    def forward(self, patches: Tensor) -> Tensor:
        return self.network(patches)
