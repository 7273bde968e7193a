"""Weights of STU-Net as others left them: recognised by their keys, and read under ours, which are the published ones.

nnU-Net's files hold the state dict under ``state_dict`` (version 1, .model) or ``network_weights`` (version 2, .pth),
perhaps with the prefixes of torch.compile and of several processes. What else is in them, see ``dense.io.nnunet``.
"""
from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dense.models.stunet.network import VARIANTS

STEM = "conv_blocks_context.0.0.conv1.weight"
HEAD = "seg_outputs.4.weight"
PREFIXES = ("_orig_mod.", "module.")
STAGES = 6


def read_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` without the prefixes of torch.compile and of several processes."""
    out = dict(state)
    while prefix := next((p for p in PREFIXES if out and all(k.startswith(p) for k in out)), None):
        out = {k.removeprefix(prefix): v for k, v in out.items()}
    return out


def recognise_stunet(name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict | None:
    """Settings of the ``STUNet`` of a name that weights of these shapes may belong to, or None.

    Strides leave no trace in the weights, and a width, where it is not 1, is taken to be the small network's.
    """
    prefix = next((k.removesuffix(STEM) for k in shapes if f".{k}".endswith(f".{STEM}")), None)
    if prefix is None or f"{prefix}{HEAD}" not in shapes:
        return None
    c, in_channels = shapes[f"{prefix}{STEM}"][:2]
    depth = 0
    while f"{prefix}conv_blocks_context.0.{depth}.conv1.weight" in shapes:
        depth += 1
    if shapes.get(f"{prefix}conv_blocks_context.{STAGES - 1}.0.conv1.weight", (0,))[0] != 16 * c:
        return None
    exact = next((n for n, v in VARIANTS.items() if (v.c, v.depth) == (c, depth)), None)
    if name != (exact or "stunet_small"):
        return None
    variant, classes = VARIANTS[name], shapes[f"{prefix}{HEAD}"][0]
    settings = {"in_channels": (in_channels, 1), "num_classes": (classes, 105), "width": (c / variant.c, 1),
                "depth": (depth, variant.depth)}
    return {k: found for k, (found, usual) in settings.items() if found != usual}
