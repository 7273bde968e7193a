"""Where the queries begin: learned contents, and a box around all of the picture."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dense.models.stageinteractor.boxes import to_xyzr


class QueryGenerator(nn.Module):
    """Contents of the queries and their first boxes.

    queries: how many; channels: of their contents. Boxes are stored as shares of the picture (centre, width, height)
    and not learned; published weights hold them, too.

    forward: pictures' (width, height) in pixels, (N, 2) -> contents (N, queries, channels), xyzr (N, queries, 4).
    """

    def __init__(self, queries: int = 100, channels: int = 256):
        super().__init__()
        self.init_content_features = nn.Embedding(queries, channels)
        self.init_proposal_bboxes = nn.Embedding(queries, 4)
        self.init_proposal_bboxes.weight.requires_grad_(False)
        with torch.no_grad():
            self.init_proposal_bboxes.weight[:] = torch.tensor((0.5, 0.5, 1.0, 1.0))

    def contents(self) -> Tensor:
        """(queries, channels)."""
        weight = self.init_content_features.weight
        return F.layer_norm(weight, weight.shape[-1:])

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        centre, size = self.init_proposal_bboxes.weight.chunk(2, -1)
        boxes = torch.cat((centre - 0.5 * size, centre + 0.5 * size), -1)
        xyzr = to_xyzr(boxes * torch.cat((pictures, pictures), -1)[:, None])
        return self.contents().expand(pictures.shape[0], -1, -1), xyzr
