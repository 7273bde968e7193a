"""Published StageInteractor weights: their keys are ours, but for some that nothing reads.

- ``subbox_score_list``: the softmax over an axis of size 1 that follows them is always 1;
- ``iou_snyc_statistics``: statistics that are never updated.
"""
from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

DEAD = ("subbox_score_list", "iou_snyc_statistics")
HEAD = "roi_head.bbox_head.0.fc_cls.weight"


def is_dead(key: str) -> bool:
    """Whether a published key has no influence on the output."""
    return any(part in key.split(".") for part in DEAD)


def read_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` without dead keys."""
    return {k: v for k, v in state.items() if not is_dead(k)}


def recognise_stageinteractor(backbone: str, queries: int | None,
                              shapes: Mapping[str, tuple[int, ...]]) -> dict | None:
    """Settings of ``StageInteractor`` with this backbone that weights of these shapes (by key, a prefix allowed) may
    belong to, or None.

    queries: how many a name has, None for any other number than 300. Networks of other channels tell their settings
    in their own files only.
    """
    prefix = next((k.removesuffix(HEAD) for k in shapes if f".{k}".endswith(f".{HEAD}")), None)
    if prefix is None or _backbone_of(prefix, shapes) != backbone:
        return None
    found, channels = shapes.get(f"{prefix}rpn_head.init_content_features.weight", (0, 0))
    if channels != 256 or (found != queries if queries else found == 300):
        return None
    classes = shapes[f"{prefix}{HEAD}"][0]
    return ({} if classes == 80 else {"num_classes": classes}) | ({} if found in (queries, 100) else {"queries": found})


def _backbone_of(prefix: str, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    def shape(key: str) -> tuple[int, ...] | None:
        return shapes.get(f"{prefix}backbone.{key}")

    if shape("stages.2.blocks.17.ffn.layers.1.weight") and not shape("stages.2.blocks.18.ffn.layers.1.weight"):
        return "swin_s" if shape("stages.0.blocks.0.norm1.weight") == (96,) else None
    if not shape("layer1.0.conv3.weight"):
        return None
    if shape("layer3.22.conv2.conv_offset.weight"):
        return "x101"
    return "r50" if shape("layer3.5.conv1.weight") and not shape("layer3.6.conv1.weight") else None
