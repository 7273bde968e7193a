"""Geometry of boxes: xyzr, xyxy, how they overlap, and their position encoding.

xyzr: centre x, y in pixels, z = log2 sqrt(w h), r = log2(h / w), so that w = 2^(z - r/2) and h = 2^(z + r/2).
xyxy: left, top, right, bottom in pixels.
"""
from __future__ import annotations

import torch
from torch import Tensor

POSITION_SCALE = (1000.0, 1000.0, 1.0, 1.0)
TEMPERATURE = 10000.0


def to_xyxy(xyzr: Tensor) -> Tensor:
    """(..., 4) xyzr -> (..., 4) xyxy."""
    centre, half = xyzr[..., :2], 0.5 * sides(xyzr)
    return torch.cat((centre - half, centre + half), -1)


def to_xyzr(xyxy: Tensor) -> Tensor:
    """(..., 4) xyxy -> (..., 4) xyzr; sides below a hundredth of a pixel, and negative ones, are that long."""
    low, high = xyxy.chunk(2, -1)
    width, height = (high - low).clamp(min=0.01).log2().chunk(2, -1)
    return torch.cat((0.5 * (low + high), 0.5 * (width + height), height - width), -1)


def sides(xyzr: Tensor) -> Tensor:
    """(..., 4) xyzr -> (..., 2) width, height."""
    _, _, z, r = xyzr.split(1, -1)
    return torch.exp2(torch.cat((z - 0.5 * r, z + 0.5 * r), -1))


def refine(xyzr: Tensor, delta: Tensor) -> Tensor:
    """Boxes xyzr (..., 4) moved by ``delta`` (..., 4): x, y in units of width and height, z and r added."""
    return torch.cat((xyzr[..., :2] + delta[..., :2] * sides(xyzr), xyzr[..., 2:] + delta[..., 2:]), -1)


def encode_position(xyzr: Tensor, channels: int) -> Tensor:
    """Boxes (..., 4) -> sines and cosines (..., channels), a quarter of them for each coordinate.

    channels: a multiple of 8.
    """
    each = channels // 4
    # halves of the exponents are whole: position 2k is the sine, 2k + 1 the cosine of one frequency
    exponent = torch.arange(each // 2, dtype=torch.float32, device=xyzr.device) * (2 / each)
    scaled = (xyzr / xyzr.new_tensor(POSITION_SCALE))[..., None] / TEMPERATURE ** exponent
    return torch.stack((scaled.sin(), scaled.cos()), -1).flatten(-3)


def area(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4) xyxy; 0 where a side is negative."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def intersection(one: Tensor, other: Tensor) -> Tensor:
    """Common areas (..., N, M) of boxes (..., N, 4) and (..., M, 4), xyxy."""
    low = torch.maximum(one[..., :, None, :2], other[..., None, :, :2])
    high = torch.minimum(one[..., :, None, 2:], other[..., None, :, 2:])
    side = (high - low).clamp(min=0)
    return side[..., 0] * side[..., 1]


def iof(boxes: Tensor) -> Tensor:
    """(..., N, 4) xyxy -> (..., N, N): share of box i that box j covers."""
    return intersection(boxes, boxes) / area(boxes).clamp(min=1e-7)[..., None]


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union (..., N, M) of boxes (..., N, 4) and (..., M, 4), xyxy; 0 where both are empty."""
    common = intersection(one, other)
    return common / (area(one)[..., :, None] + area(other)[..., None, :] - common).clamp(min=1e-6)


def paired_giou(one: Tensor, other: Tensor) -> Tensor:
    """Generalised IoU (...) of boxes (..., 4) and (..., 4), xyxy, pair by pair (Rezatofighi et al., CVPR 2019)."""
    side = (torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])).clamp(min=0)
    common = side[..., 0] * side[..., 1]
    union = (area(one) + area(other) - common).clamp(min=1e-6)
    hull = torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])
    outer = (hull[..., 0] * hull[..., 1]).clamp(min=1e-6)
    return common / union - (outer - union) / outer
