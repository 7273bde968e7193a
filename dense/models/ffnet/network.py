"""FFNet, plain: backbone, up-head, seg head.

Paper: Mehta et al., "Simple and Efficient Architectures for Semantic Segmentation", CVPRW 2022.
Origin of the published weights: the authors' FFNet repository and device model catalogues, trained on Cityscapes (see
their terms; Cityscapes is for non-commercial use). Module names are those of the published weights.

Shapes for an input (N, 3, H, W); sizes are rounded up at every halving, twice as coarse with d and with pre_down:
    backbone_model     four features, H/4 .. H/32 (of 'S' and no letter: four layers; of 'N', 'NS': stem and three)
    head.layers.0      the same, with the up-head's channels
    head.layers.1      the same, each with the coarser ones added, fine to coarse
    head.layers.3      (N, classes, H/4, W/4) logits
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from dense.errors import ConfigError
from dense.models.ffnet.backbone import FFNetBackbone, PreDown
from dense.models.ffnet.family import BOTTLENECKS, DEPTHS, SEG, UP_BASE, UP_OUT, WIDTHS, Variant, parse_name, scaled
from dense.models.ffnet.heads import FFNetUpHead, SegHead
from dense.models.ffnet.published import read_state


class FFNet(nn.Module):
    """The network of a name.

    name: ``ffnet{depth}{family}_...`` (``dense.models.ffnet.family``), published or by the same rules.
    classes: channels of the logits. width: scales all channels, 1 is the published network.
    layers: other numbers of blocks than the name's, for small networks.
    padding: of the ``_pre_down`` networks, 'published' or 'symmetric' (``PreDown``).

    forward: normalised (N, 3, H, W) -> logits (N, classes, h, w), h = H / stride rounded up (``pre_down``: about).
    """

    def __init__(self, name: str, num_classes: int = 19, width: float = 1.0, layers: Sequence[int] | None = None,
                 padding: str = "published"):
        super().__init__()
        parts = part_settings(name, num_classes, width, layers)
        self.num_classes = num_classes
        self._join(PreDown(3, padding) if parse_name(name).pre_down else None, FFNetBackbone(**parts["backbone"]),
                   FFNetUpHead(**parts["neck"]), SegHead(**parts["head"]))

    @classmethod
    def of_parts(cls, smoothing: PreDown | None, backbone: FFNetBackbone, neck: FFNetUpHead, head: SegHead) -> FFNet:
        """The network of parts that exist already, and stay where they are."""
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network.num_classes = head.last_layer[-1].out_channels
        network._join(smoothing, backbone, neck, head)
        network.train(backbone.training)
        return network

    def _join(self, smoothing: PreDown | None, backbone: FFNetBackbone, neck: FFNetUpHead, head: SegHead) -> None:
        self.smoothing, self.backbone_model = smoothing, backbone
        self.head = nn.Module()
        # the published head has four parts; the third, the concatenation, has no weights
        self.head.layers = nn.ModuleList([neck.adapters, neck.top_down, nn.Identity(), head])

    def forward(self, x: Tensor) -> Tensor:
        if self.smoothing is not None:
            x = self.smoothing(x)
        adapters, top_down, _, head = self.head.layers
        return head(top_down(adapters(self.backbone_model(x))))

    def read_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of any layout in circulation under this network's keys (``dense.models.ffnet.published``)."""
        return read_state(state, self.state_dict())


def part_settings(name: str, num_classes: int = 19, width: float = 1.0,
                  layers: Sequence[int] | None = None) -> dict[str, dict]:
    """Settings of ``FFNetBackbone``, ``FFNetUpHead`` and ``SegHead``: 'backbone', 'neck', 'head'."""
    if not isinstance(num_classes, int) or num_classes < 2:
        raise ConfigError(f"{name}: num_classes={num_classes!r}: at least 2, one is never wrong")
    variant = parse_name(name)
    blocks = tuple(layers or DEPTHS[variant.family][variant.depth])
    if len(blocks) != len(WIDTHS[variant.family]):
        raise ConfigError(f"{name}: layers={layers!r}: it has {len(WIDTHS[variant.family])} layers")
    mode = "nearest" if variant.mobile else "bilinear"
    base, out = ([scaled(c, width) for c in table[variant.up]] for table in (UP_BASE, UP_OUT))
    channels, kernel = SEG[variant.seg]
    bottleneck = is_bottleneck(variant)
    return {
        "backbone": dict(stem=variant.stem, layers=blocks, widths=WIDTHS[variant.family], bottleneck=bottleneck,
                         dilated=variant.dilated, width=width),
        "neck": dict(in_channels=feature_channels(variant, width), base=base, out=out, mode=mode),
        "head": dict(in_channels=sum(out), channels=scaled(channels, width), classes=num_classes, kernel=kernel,
                     mode=mode),
    }


def is_bottleneck(variant: Variant) -> bool:
    """Whether its blocks are bottlenecks."""
    return not variant.family and variant.depth in BOTTLENECKS


def feature_channels(variant: Variant, width: float) -> list[int]:
    """Channels of the four features, fine to coarse."""
    widths = [scaled(c, width) * (4 if is_bottleneck(variant) else 1) for c in WIDTHS[variant.family]]
    return widths if len(widths) == 4 else [scaled(64, width), *widths]
