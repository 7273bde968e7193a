"""Masks as COCO writes them: run lengths column by column, as a list ("uncompressed") or packed into a string."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_DIGITS = 7  # of 5 bits each: enough for differences of runs of up to 2 ** 33 pixels


def encode_rle(mask: np.ndarray, compress: bool = True) -> dict[str, Any]:
    """``{"size": [H, W], "counts": ...}`` of a mask (H, W), set where it is not 0.

    counts: a string (what pycocotools' ``encode`` gives, decoded as ASCII), or with ``compress`` False a list of run
    lengths; the first run is of pixels that are not set, and may be 0.
    Raises ValueError for an array that is not (H, W).
    """
    if mask.ndim != 2:
        raise ValueError(f"a mask is (H, W), not {mask.shape}")
    flat = (np.asarray(mask) != 0).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(edges, prepend=0, append=flat.size)
    if flat.size and flat[0]:
        runs = np.insert(runs, 0, 0)
    return {"size": [int(side) for side in mask.shape], "counts": _pack(runs) if compress else runs.tolist()}


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """The mask, bool (H, W), of either form (``bytes`` will do as well). Raises ValueError for what is none."""
    height, width = (int(side) for side in rle["size"])
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        counts = _unpack(counts.encode() if isinstance(counts, str) else counts)
    runs = np.asarray(counts, np.int64)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"run lengths of {runs.sum()} pixels are no mask of {height} x {width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _pack(runs: np.ndarray) -> str:
    """Each run as its difference from the last but one (the first three as they are), in digits of 5 bits, the
    smallest first; a sixth bit says that more follow, the last digit's highest bit is the sign."""
    left = runs.astype(np.int64)
    left[3:] -= runs[1:-2]
    digits = np.zeros((len(left), _DIGITS), np.uint8)
    used = np.zeros((len(left), _DIGITS), bool)
    more = np.ones(len(left), bool)
    for place in range(_DIGITS):
        digit = left & 31
        left >>= 5
        used[:, place] = more
        going_on = np.where(digit & 16, left != -1, left != 0)
        digits[:, place] = 48 + digit + 32 * going_on
        more &= going_on
    return digits[used].tobytes().decode("ascii")


def _unpack(text: bytes) -> Sequence[int]:
    runs: list[int] = []
    value = shift = 0
    for byte in text:
        digit = byte - 48
        if not 0 <= digit < 64:
            raise ValueError(f"the character {chr(byte)!r} does not occur in packed run lengths")
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            if digit & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("packed run lengths end in the middle of a number")
    return runs
