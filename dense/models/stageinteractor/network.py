"""StageInteractor, plain: backbone, neck, queries, decoder.

Paper: Teng et al., "StageInteractor: Query-based Object Detector with Cross-stage Interaction", ICCV 2023.
Origin of the published weights: the authors' repository (Apache-2.0), trained on COCO (see its terms). Module names are
those of the published weights.

Shapes for an input (N, 3, H, W), published settings:
    backbone     four levels (N, 256 .. 2048, H/4 .. H/32, ...)
    neck         four levels (N, 256, ...)
    rpn_head     100 queries (N, 100, 256), each with a box around all of the picture
    roi_head     six times: class logits (N, 100, 80), boxes (N, 100, 4) xyxy in pixels of the input
"""
from __future__ import annotations

from collections.abc import Mapping
from math import lcm

import torch
from torch import Tensor, nn

from dense.errors import ConfigError
from dense.models.stageinteractor.backbones import check_backbone, level_channels, make_backbone, scaled
from dense.models.stageinteractor.decoder import Decoder, StageOutput, make_stages
from dense.models.stageinteractor.neck import SharedNormNeck
from dense.models.stageinteractor.published import read_state
from dense.models.stageinteractor.queries import QueryGenerator


class StageInteractor(nn.Module):
    """The network; ``part_settings`` explains the arguments.

    forward: normalised (N, 3, H, W), and the (width, height) of each picture in it, (N, 2), where there is padding to
        its right and below -> outputs of all stages, first to last.
    """

    def __init__(self, backbone: str = "r50", num_classes: int = 80, queries: int = 100, width: float = 1.0,
                 channels: int | None = None, hidden: int | None = None, heads: int = 8, groups: int = 4,
                 points: int = 4, first_points: int = 8, sub_points: int = 8, rows: int = 128, stages: int = 6,
                 reuse: bool = True, recompute: bool = False, frozen_stages: int = 1, norm_eval: bool = True,
                 dcn: bool | None = None):
        super().__init__()
        settings = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        parts = part_settings(**settings)
        self._join(make_backbone(**parts["backbone"]), SharedNormNeck(**parts["neck"]),
                   QueryGenerator(**parts["rpn_head"]), Decoder(make_stages(**parts["roi_head"]), recompute))

    @classmethod
    def of_parts(cls, backbone: nn.Module, neck: SharedNormNeck, queries: QueryGenerator,
                 decoder: Decoder) -> StageInteractor:
        """The network of parts that exist already, and stay where they are."""
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network._join(backbone, neck, queries, decoder)
        network.training = neck.training
        return network

    def _join(self, backbone: nn.Module, neck: SharedNormNeck, queries: QueryGenerator, decoder: Decoder) -> None:
        self.backbone, self.neck, self.rpn_head, self.roi_head = backbone, neck, queries, decoder

    @property
    def num_classes(self) -> int:
        return self.roi_head.bbox_head[0].num_classes

    def forward(self, x: Tensor, pictures: Tensor | None = None) -> list[StageOutput]:
        query, xyzr = self.rpn_head(whole(x) if pictures is None else pictures)
        return self.roi_head(self.neck(self.backbone(x)), query, xyzr)

    def detect(self, x: Tensor, pictures: Tensor) -> Tensor:
        """(N, queries, 4 + classes): the last stage's boxes as shares of the pictures' width and height, then
        probabilities of the classes."""
        logits, boxes = self(x, pictures)[-1]
        return torch.cat((boxes / torch.cat((pictures, pictures), -1)[:, None], logits.float().sigmoid()), -1)

    def read_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published weights without the keys that nothing reads (``dense.models.stageinteractor.published``)."""
        return read_state(state)


def whole(x: Tensor) -> Tensor:
    """(width, height) of an input without padding, (N, 2)."""
    return torch.cat([x.new_full((x.shape[0], 1), x.shape[axis], dtype=torch.float32) for axis in (3, 2)], -1)


def part_settings(backbone: str = "r50", num_classes: int = 80, queries: int = 100, width: float = 1.0,
                  channels: int | None = None, hidden: int | None = None, heads: int = 8, groups: int = 4,
                  points: int = 4, first_points: int = 8, sub_points: int = 8, rows: int = 128, stages: int = 6,
                  reuse: bool = True, recompute: bool = False, frozen_stages: int = 1, norm_eval: bool = True,
                  dcn: bool | None = None) -> dict[str, dict]:
    """Settings of the parts: 'backbone', 'neck', 'rpn_head', 'roi_head'.

    backbone: a name of ``dense.models.stageinteractor.backbones``. frozen_stages, norm_eval, dcn: of it; dcn None:
    of x101 alone. width: scales the channels of backbone and decoder. channels: of the decoder, if not 256 * width;
    hidden: of its feed-forward networks, 8 times as many by default; heads of its attention. groups, points,
    sub_points: of the sampling, the first stage has ``first_points``. rows: outputs of mixing over points. stages: of
    the decoder. reuse: False leaves out the operators of earlier stages. recompute: nothing inside of a stage is kept
    for the backward pass: less memory in training, for more time.

    Raises ConfigError for settings that contradict each other.
    """
    dcn = backbone == "x101" if dcn is None else dcn
    check_backbone(backbone, width, dcn)
    for name, value in (("num_classes", num_classes), ("queries", queries), ("stages", stages), ("groups", groups),
                        ("points", points), ("first_points", first_points), ("sub_points", sub_points),
                        ("heads", heads)):
        if int(value) != value or value < 1:
            raise ConfigError(f"{name}={value!r}: a whole number, at least 1")
    if rows < 2 or rows % 2:
        raise ConfigError(f"rows={rows!r}: an even number, half of them are those of the stage before")
    channels = scaled(256, width, 32) if channels is None else channels
    if channels < 1 or channels % (multiple := lcm(8, heads, groups)):
        raise ConfigError(f"channels={channels}: must be a multiple of {multiple} (8, heads and groups)")
    return {
        "backbone": dict(name=backbone, width=width, frozen_stages=frozen_stages, norm_eval=norm_eval, dcn=dcn),
        "neck": dict(in_channels=level_channels(backbone, width), channels=channels),
        "rpn_head": dict(queries=queries, channels=channels),
        "roi_head": dict(stages=stages, first_points=first_points, points=points, num_classes=num_classes,
                         channels=channels, heads=heads, hidden=hidden or 8 * channels, groups=groups,
                         sub_points=sub_points, rows=rows, reuse=reuse)}
