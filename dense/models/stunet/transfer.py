"""Weights of one STU-Net as a beginning for another, with other classes or other channels."""
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dense.errors import ConfigError

HEADS = ("fit", "new")
STEM = ("conv_blocks_context.0.0.conv1.weight", "conv_blocks_context.0.0.conv3.weight")


def transfer_state(state: Mapping[str, Tensor], own: Mapping[str, Tensor], heads: str = "fit"
                   ) -> tuple[dict[str, Tensor], list[str]]:
    """``state`` for a network with the state dict ``own``, and what was changed, in words.

    heads: 'fit' keeps the heads where the number of classes is the same; 'new' never. Heads that are not kept are those
    of ``own``, as initialised.

    The stem's weights are summed over the channels that they were trained on, given to each of the new ones, and
    divided by their number: where all channels are alike, the first features are what they were.

    Raises ConfigError for another value of ``heads``.
    """
    if heads not in HEADS:
        raise ConfigError(f"heads={heads!r}: 'fit' keeps heads of the same number of classes, 'new' none")
    out, notes = dict(state), []
    keys = [k for k in own if k.startswith("seg_outputs.")]
    other = any(k in state and state[k].shape != own[k].shape for k in keys)
    if heads == "new" or other:
        before, after = (len(s[keys[0]]) if keys[0] in s else 0 for s in (state, own))
        out |= {k: own[k] for k in keys}
        notes.append(f"the heads ({len(keys) // 2} levels, {before} classes) were dropped; those for {after} classes "
                     "are newly initialised: they know nothing before they are trained")
    for key in STEM:
        given = state.get(key)
        count = own[key].shape[1]
        if given is not None and given.ndim == own[key].ndim and given.shape[1] != count:
            out[key] = (given.sum(1, keepdim=True) / count).expand_as(torch.empty_like(own[key])).contiguous()
            if key == STEM[0]:
                notes.append(f"the stem takes {count} channels instead of {given.shape[1]}: its weights were repeated "
                             f"and divided by {count}")
    return out, notes
