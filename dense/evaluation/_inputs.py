"""Checks that every per-image measure makes on its arrays."""

import numpy as np


def binarise(mask: np.ndarray, name: str, *, refuse_labels: bool = False) -> np.ndarray:
    """Foreground of a mask.

    Args:
        mask: bool, or uint8 in 0..255 (foreground is > 128); any shape.
        name: how the message calls the array.
        refuse_labels: raise for a uint8 mask whose largest value is 1. Such a mask holds class labels (0 and
            1), and thresholding it at 128 would silently call it empty. Not for predictions: a faint one may
            well have the maximum 1.

    Returns:
        bool array of the same shape (the array itself if it is bool already).

    Raises:
        ValueError: another dtype, or 0/1 labels where they are refused.
    """
    if mask.dtype == np.bool_:
        return mask
    if np.issubdtype(mask.dtype, np.floating):
        raise ValueError(
            f"{name} has dtype {mask.dtype}: scale it to 0..255 and convert it to uint8, "
            "for values in 0..1 np.rint(x * 255).astype(np.uint8)"
        )
    if mask.dtype != np.uint8:
        raise ValueError(f"{name} has dtype {mask.dtype}: expected uint8 (0..255) or bool")
    if refuse_labels and mask.size and mask.max() == 1:
        raise ValueError(
            f"{name} is uint8 with the values 0 and 1, but the foreground is > 128: "
            f"convert it to bool ({name} > 0) or multiply it by 255"
        )
    return mask > 128
