"""Reading and writing files: pictures, masks, and anything that must not be left half written.

The bottom layer of the package: it imports nothing of `dense` but the errors, and no torch.
"""

from dense.io.atomic import atomic_path, write_bytes, write_image, write_json, write_text
from dense.io.images import (
    IMAGE_SUFFIXES,
    MaskFormError,
    image_format,
    image_size,
    list_images,
    mask_problem,
    read_image,
    read_mask,
)
from dense.io.pairs import DIS_SPLITS, Pair, PairListing, find_pairs, find_splits, split_folders

__all__ = [
    "DIS_SPLITS",
    "IMAGE_SUFFIXES",
    "MaskFormError",
    "Pair",
    "PairListing",
    "atomic_path",
    "find_pairs",
    "find_splits",
    "image_format",
    "image_size",
    "list_images",
    "mask_problem",
    "read_image",
    "read_mask",
    "split_folders",
    "write_bytes",
    "write_image",
    "write_json",
    "write_text",
]
