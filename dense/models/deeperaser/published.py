"""Which ``DeepEraser`` weights belong to. The keys are the published ones, so nothing is renamed."""
from __future__ import annotations

from collections.abc import Mapping
from math import isqrt


def recognise_deeperaser(shapes: Mapping[str, tuple[int, ...]]) -> dict | None:
    """Settings of the network that weights of these shapes (by key, a prefix allowed) may belong to, or None.

    Width and stride are told by shapes; the number of iterations is not, it stays the published one.
    """
    found = {name: shape for name in ("fnet.conv1", "update_block.gru.convz1", "update_block.encoder.convf1",
                                      "update_block.pre_head.conv2")
             for key, shape in shapes.items() if f".{key}".endswith(f".{name}.weight") and len(shape) == 4}
    if len(found) < 4 or found["fnet.conv1"][1] != 4:
        return None
    width = found["update_block.encoder.convf1"][0] / 128
    stride = isqrt(found["update_block.pre_head.conv2"][0] // 3)
    return ({} if width == 1 else {"width": width}) | ({} if stride == 1 else {"stride": stride})
