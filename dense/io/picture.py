"""Pictures that go through the program: pixels with their metadata, from a file, an array or Pillow, and back."""

import io
import os
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import ImageError
from dense.io.atomic import PathLike, write_bytes
from dense.io.decode import Source, decode
from dense.io.images import MAX_PIXELS, over_ground, to_uint8
from dense.io.metadata import Metadata, metadata_of, pillow_options, png_with_metadata

FORMATS = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Suffixes that `write_picture` knows."""

_LONGEST = {"WEBP": 16383, "JPEG": 65500, "PNG": 1_000_000, "TIFF": 1_000_000}


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 RGB (H, W, 3), upright, as a network sees them; name: for messages; metadata: what a copy should
    keep. rgba: uint8 (H, W, 4), not premultiplied, where the source is transparent anywhere, else None; then ``pixels``
    are laid over white, or over black where what is visible is mostly light. mask: uint8 (H, W),
    above 127 where to change something, for tasks that need it."""

    pixels: np.ndarray
    name: str
    metadata: Metadata = field(default_factory=Metadata)
    rgba: np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def alpha(self) -> np.ndarray | None:
        """uint8 (H, W), 0 transparent to 255, or None where all is opaque."""
        return None if self.rgba is None else self.rgba[..., 3]

    def opaque(self) -> "Picture":
        """The same with all its colours visible, whatever its alpha says."""
        if self.rgba is None:
            return self
        return replace(self, pixels=np.ascontiguousarray(self.rgba[..., :3]), rgba=None)


def read_picture(source: Source, name: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """As `read_image`, with the metadata. Raises `ImageError`."""
    try:
        decoded = decode(source, max_pixels, keep_metadata=True)
    except ImageError as error:
        if name is None:
            raise
        raise ImageError(str(error).replace("the given bytes", name, 1)) from error
    return _picture(to_uint8(decoded.pixels), name or decoded.name, decoded.metadata)


def picture_from_array(array: np.ndarray, name: str = "array") -> Picture:
    """A picture from uint8 (H, W) or (H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) RGBA.

    RGB arrays are not copied. Raises `ImageError` for anything else.
    """
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if channels not in (1, 3, 4) or array.dtype != np.uint8 or array.size == 0:
        raise ImageError(f"{name}: an array of {array.dtype} {array.shape} is no picture; give uint8 values 0..255 "
                         "of shape (H, W), (H, W, 3) RGB or (H, W, 4) RGBA")
    return _picture(array[..., 0] if array.ndim == 3 and channels == 1 else array, name, Metadata())


def picture_from_pillow(image: Any, name: str | None = None) -> Picture:
    """A picture from Pillow's image, turned upright, with its metadata. Raises `ImageError`."""
    from PIL import ImageOps

    name = name or getattr(image, "filename", "") or "Pillow picture"
    try:
        metadata = metadata_of(image, image.getexif().tobytes() if len(image.getexif()) else None)
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            array = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        elif image.mode in ("I", "F"):
            raise ImageError(f"{name}: a picture of mode {image.mode} has no known range; convert it to L or RGB")
        else:
            transparent = image.has_transparency_data
            array = np.array(image.convert("RGBA" if transparent else "L" if image.mode in "1L" else "RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{name}: cannot be decoded ({error}); load it from an undamaged file") from error
    return _picture(array, name, metadata)


def _picture(pixels: np.ndarray, name: str, metadata: Metadata) -> Picture:
    if pixels.ndim == 2:
        return Picture(np.repeat(pixels[:, :, None], 3, axis=2), name, metadata)
    if pixels.shape[2] == 3 or int(pixels[..., 3].min()) == 255:
        return Picture(np.ascontiguousarray(pixels[..., :3]), name, metadata)
    return Picture(over_ground(pixels, _ground(pixels)), name, metadata, pixels)


def _ground(rgba: np.ndarray) -> int:
    """255 (white), or 0 where the visible pixels are mostly light and would not be seen on it."""
    part = rgba[::max(1, rgba.shape[0] // 512), ::max(1, rgba.shape[1] // 512)].astype(np.float32)
    share = part[..., 3:]
    return 0 if (part[..., :3] * share).sum() > 0.7 * 255 * 3 * max(1.0, share.sum()) else 255


def encode_picture(array: np.ndarray, format: str, metadata: Metadata | None = None, *, quality: int = 95,
                   name: str = "picture") -> bytes:
    """A file's content: uint8 grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4) with metadata.

    format: 'PNG', 'WEBP', 'TIFF' or 'JPEG'. quality: 1..100, of JPEG and of WebP's colours (alpha is exact).
    Raises ImageError where the format cannot hold the picture.
    """
    metadata = metadata or Metadata()
    if max(array.shape[:2]) > _LONGEST[format]:
        raise ImageError(f"{name}: {format} allows sides of at most {_LONGEST[format]} pixels, not "
                         f"{array.shape[1]} x {array.shape[0]}; write PNG or TIFF")
    if format == "JPEG" and array.ndim == 3 and array.shape[2] == 4:
        raise ImageError(f"{name}: JPEG has no transparency; write PNG, WebP or TIFF, or give a background")
    return _png(array, metadata, name) if format == "PNG" else _by_pillow(array, format, metadata, quality, name)


def _png(array: np.ndarray, metadata: Metadata, name: str) -> bytes:
    """By OpenCV, several times faster than Pillow at its usual compression."""
    import cv2

    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR if array.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    try:
        done, encoded = cv2.imencode(".png", np.ascontiguousarray(array))
    except cv2.error as error:
        raise ImageError(f"{name}: could not be encoded as PNG ({error.err}); try TIFF") from error
    if not done:
        raise ImageError(f"{name}: could not be encoded as PNG; try TIFF")
    return png_with_metadata(encoded.tobytes(), metadata)


def _by_pillow(array: np.ndarray, format: str, metadata: Metadata, quality: int, name: str) -> bytes:
    from PIL import Image

    options = pillow_options(metadata, format)
    if format == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    else:
        options["quality"] = quality
    buffer = io.BytesIO()
    try:
        Image.fromarray(array).save(buffer, format, **options)
    except (OSError, ValueError, struct.error) as error:
        raise ImageError(f"{name}: could not be encoded as {format} ({error}); try PNG") from error
    return buffer.getvalue()


def format_of(path: PathLike) -> str:
    """The format of a file name's suffix; ImageError for one that is not written."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ImageError(f"{os.fspath(path)}: cannot write pictures as {suffix or 'a file without suffix'}; "
                         "use .png, .webp, .tiff or .jpg")
    return FORMATS[suffix]


def write_picture(path: PathLike, array: np.ndarray, metadata: Metadata | None = None, *, quality: int = 95) -> None:
    """`encode_picture` in the format of the suffix, into a file as `atomic_path` does.

    Raises ImageError where the format is unknown or cannot hold the picture, DenseError where the file cannot
    be written.
    """
    write_bytes(path, encode_picture(array, format_of(path), metadata, quality=quality, name=os.fspath(path)))
