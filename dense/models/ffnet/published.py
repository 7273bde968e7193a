"""From the layouts of FFNet weights in circulation to our keys, which are the published ones.

- published: ``backbone_model.*``, ``head.layers.*``, and ``smoothing.weight``, the fixed blur of the ``_pre_down``
  models, which the files of other models may hold as well;
- as trained here: ``backbone.*``, ``neck.*``, ``decode_head.*`` of mmseg's EncoderDecoder;
- ImageNet backbones: the backbone's keys alone, with or without a prefix, and a classifier ``fc.*``.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from dense.errors import WeightsError
from dense.models.ffnet.family import BOTTLENECKS, DEPTHS, SEG, UP_BASE, WIDTHS, parse_name

BLUR = "smoothing.weight"
_TRAINED = {"backbone.": "backbone_model.", "neck.adapters.": "head.layers.0.", "neck.top_down.": "head.layers.1.",
            "decode_head.head.": "head.layers.3."}


def read_state(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` under the published keys; what is not understood keeps its name, for the caller to complain about.

    own: state dict of the network that is to take it. The blur is left out where the network has none, and taken from
    the network where the file has none: it is a constant.
    """
    renamed = {}
    for key, value in state.items():
        start = next((s for s in _TRAINED if key.startswith(s)), None)
        renamed[key if start is None else _TRAINED[start] + key.removeprefix(start)] = value
    if BLUR not in own:
        renamed.pop(BLUR, None)
    else:
        renamed.setdefault(BLUR, own[BLUR])
    return renamed


def recognise_ffnet(name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict | None:
    """Settings of the ``FFNet`` of a published name that weights of these shapes may belong to, or None.

    Keys tell neither upsampling (``_mobile``) nor ``_pre_down``: several names may be right.
    """
    mark = "backbone_model.layer1.0.conv1.weight"
    prefix = next((k.removesuffix(mark) for k in shapes if f".{k}".endswith(f".{mark}")), None)
    if prefix is None:
        return None

    def channels(key: str) -> int | None:
        return next(iter(shapes.get(f"{prefix}{key}", ())), None)

    def blocks(layer: int) -> int:
        count = 0
        while f"{prefix}backbone_model.layer{layer}.{count}.conv1.weight" in shapes:
            count += 1
        return count

    v = parse_name(name)
    depths, widths, base, (seg, kernel) = DEPTHS[v.family][v.depth], WIDTHS[v.family], UP_BASE[v.up], SEG[v.seg]
    bottleneck = f"{prefix}backbone_model.layer1.0.conv3.weight" in shapes
    last = shapes.get(f"{prefix}head.layers.3.last_layer.3.weight", ())
    fits = (
        tuple(map(blocks, range(1, 6))) == (*depths, *[0] * (5 - len(depths)))
        and all(channels(f"backbone_model.layer{i}.0.conv1.weight") == w for i, w in enumerate(widths, start=1))
        and all(channels(f"head.layers.0.adapter_conv.{k}.layers.0.weight") == c for k, c in enumerate(base))
        and tuple(last[1:]) == (seg, kernel, kernel) and bottleneck == (not v.family and v.depth in BOTTLENECKS)
        # the shortcut that only d has; bottlenecks and three layers have one in any case
        and (bottleneck or len(depths) == 3
             or v.dilated == (f"{prefix}backbone_model.layer1.0.downsample.0.weight" in shapes)))
    if not fits:
        return None
    return {} if last[0] == 19 else {"num_classes": last[0]}


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Load ImageNet weights into a backbone; a classifier in the file is left out.

    A ``d`` backbone takes the weights of the one without: the shortcut that its first layer has in addition stays as
    initialised. Raises WeightsError with the keys that are missing, unknown, or of another shape.
    """
    from dense.weights.files import read_weights

    state, own = read_weights(path).tensors, backbone.state_dict()
    for prefix in ("module.", "backbone_model.", "backbone."):
        if any(k.startswith(prefix) for k in state):
            state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    state = {k: v for k, v in state.items() if not k.startswith(("fc.", "classifier.", "head.", "smoothing."))}
    missing = [k for k in own if k not in state and not k.startswith("layer1.0.downsample.")]
    unknown = [k for k in state if k not in own]
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or unknown or shapes:
        counts = [f"{len(keys)} {what} ({', '.join(keys[:4])})" for keys, what in
                  ((missing, "missing"), (unknown, "unknown"), (shapes, "of another shape")) if keys]
        raise WeightsError(f"{path} does not fit the backbone: {'; '.join(counts)}. Remedy: the ImageNet weights of "
                           "the same depth, family and width")
    backbone.load_state_dict(own | state)
