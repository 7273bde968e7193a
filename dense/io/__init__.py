"""Reading and writing files: pictures, masks, and anything that must not be left half written.

The bottom layer of the package: it imports nothing of `dense` but the errors, and no torch.
"""

from dense.io.atomic import atomic_path, check_folder, write_bytes, write_image, write_json, write_text
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
from dense.io.metadata import Metadata
from dense.io.pairs import DIS_SPLITS, Pair, PairListing, find_pairs, find_splits, split_folders
from dense.io.picture import (
    Picture,
    encode_picture,
    picture_from_array,
    picture_from_pillow,
    read_picture,
    write_picture,
)

__all__ = [
    "DIS_SPLITS",
    "IMAGE_SUFFIXES",
    "MaskFormError",
    "Metadata",
    "Pair",
    "PairListing",
    "Picture",
    "atomic_path",
    "check_folder",
    "encode_picture",
    "find_pairs",
    "find_splits",
    "image_format",
    "image_size",
    "list_images",
    "mask_problem",
    "picture_from_array",
    "picture_from_pillow",
    "read_image",
    "read_mask",
    "read_picture",
    "split_folders",
    "write_bytes",
    "write_image",
    "write_json",
    "write_picture",
    "write_text",
]
