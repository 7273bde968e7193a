"""The FFNet family in figures: what a published name says, and the 66 names.

Source: Mehta et al., "Simple and Efficient Architectures for Semantic Segmentation" (CVPRW 2022), its names and tables.
A name reads ``ffnet{depth}{family}_{d?}{stem}{up}{seg}[_mobile][_pre_down]``, for example ``ffnet78S_dBBB_mobile``.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from dense.errors import ConfigError

# blocks of each layer, by family and depth
DEPTHS = {
    "": {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 56: (4, 8, 12, 3), 86: (8, 12, 16, 6),
         101: (3, 4, 23, 3), 134: (8, 18, 28, 12), 150: (16, 18, 28, 12)},
    "S": {40: (4, 5, 6, 4), 54: (5, 8, 8, 5), 78: (6, 12, 12, 8), 86: (8, 12, 16, 6), 150: (16, 18, 28, 12)},
    "N": {46: (6, 8, 8), 74: (8, 12, 16), 122: (16, 24, 20)},
    "NS": {46: (6, 8, 8), 74: (8, 12, 16), 122: (16, 24, 20)},
}
BOTTLENECKS = (50, 101)
"""Depths of the family without a letter whose blocks are bottlenecks."""
WIDTHS = {"": (64, 128, 256, 512), "S": (64, 128, 192, 320), "N": (96, 160, 320), "NS": (64, 128, 256)}
STEMS = {"": "A", "S": "B", "N": "C", "NS": "C"}
# fine to coarse: channels inside the up-head, and of its four outputs
UP_BASE = {"A": (64, 128, 256, 512), "B": (64, 128, 128, 256), "C": (128, 128, 128, 128)}
UP_OUT = {"A": (128, 128, 128, 128), "B": (96, 96, 64, 32), "C": (128, 16, 16, 16)}
SEG = {"A": (512, 1), "B": (256, 3), "C": (128, 1)}
"""Channels of the seg head, and the kernel of its last convolution."""

_NAME = re.compile(r"(?:ffnet)?(\d+)(NS|N|S)?_(d?)([ABC])([ABC])([ABC])(_mobile)?(_pre_down)?")


@dataclass(frozen=True)
class Variant:
    """What a name says.

    family: '', 'S', 'N' or 'NS'; dilated: the letter d, the first layer has stride 2 as well. stem, up, seg: letters
    of the three parts. mobile: nearest upsampling in place of bilinear. pre_down: the network halves its input itself.
    """

    depth: int
    family: str
    dilated: bool
    stem: str
    up: str
    seg: str
    mobile: bool
    pre_down: bool

    @property
    def name(self) -> str:
        """The published name."""
        return (f"ffnet{self.depth}{self.family}_{'d' * self.dilated}{self.stem}{self.up}{self.seg}"
                f"{'_mobile' * self.mobile}{'_pre_down' * self.pre_down}")

    @property
    def stride(self) -> int:
        """Pixels of the input to one of the logits."""
        return 4 * (1 + self.dilated) * (1 + self.pre_down)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of Cityscapes as the published figures are given: the small models halve it."""
        return (512, 1024) if self.mobile and not self.dilated and not self.pre_down else (1024, 2048)


def parse_name(name: str) -> Variant:
    """The variant of a name that follows the rules, published or not; ConfigError that says which rule it breaks."""
    match = _NAME.fullmatch(name)
    if not match:
        raise ConfigError(f"{name!r} is no name of an FFNet. Remedy: ffnet{{depth}}{{family}}_{{d?}}{{stem}}{{up}}"
                          "{seg}[_mobile][_pre_down], for example ffnet78S_dBBB_mobile")
    depth, family, dilated, stem, up, seg, mobile, pre_down = match.groups()
    family = family or ""
    if int(depth) not in DEPTHS[family]:
        raise ConfigError(f"{name}: the depth {depth} is none of {', '.join(map(str, DEPTHS[family]))} of the family "
                          f"{family or 'without a letter'}")
    if stem != STEMS[family]:
        raise ConfigError(f"{name}: the family {family or 'without a letter'} has the stem {STEMS[family]}, not {stem}")
    if dilated and len(DEPTHS[family][int(depth)]) != 4:
        raise ConfigError(f"{name}: d is for backbones of four layers; the family {family} has three, all of stride 2")
    return Variant(int(depth), family, bool(dilated), stem, up, seg, bool(mobile), bool(pre_down))


def published_names() -> tuple[str, ...]:
    """The 66 published segmentation models, large before small."""
    names = [f"{d}_AAA" for d in (150, 134, 101, 86, 56, 50, 34)] + [f"{d}_ABB" for d in (150, 86, 56, 34)]
    names += [f"{d}N_CBB" for d in (122, 74, 46)]
    names += [f"{d}S_{letters}" for letters in ("BBB", "dBBB") for d in (150, 86)]
    names += [f"{d}_dAAA" for d in (150, 134, 101, 86, 56, 50, 34, 18)] + [f"{d}_dAAC" for d in (150, 86, 34, 18)]
    names += [f"{d}S_dBBB_mobile" for d in (86, 78, 54, 40)]
    for end in ("_mobile_pre_down", "_mobile"):
        names += [f"{d}S_{letters}{end}" for letters in ("BBB", "BCC") for d in (150, 86, 78, 54, 40)]
        names += [f"{d}NS_{letters}{end}" for letters in ("CBB", "CCC") for d in (122, 74, 46)]
    return tuple(f"ffnet{name}" for name in names)


def scaled(channels: int, width: float) -> int:
    """``channels * width`` rounded to a multiple of 8, at least 8; the published value for width 1."""
    if not isinstance(width, int | float) or isinstance(width, bool) or not width > 0:
        raise ConfigError(f"FFNet: width={width!r} is no positive number; 1 is the published network, 0.25 a small one")
    return channels if width == 1 else max(8, 8 * round(channels * width / 8))
