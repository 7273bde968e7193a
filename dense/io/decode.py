"""From a path or bytes to the pixels as the file stores them, turned upright. See `dense.io.images`."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from dense.errors import ImageError
from dense.io.containers import HEAD_BYTES, check_jpeg_complete, explain_unknown, png_exif, sniff
from dense.io.metadata import Metadata, metadata_of

Source = str | os.PathLike[str] | bytes | bytearray | memoryview
"""A path, or the contents of a picture file."""

_DAMAGED = "copy or download it again, or open it in an image editor and save it anew"
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Decoded:
    """Upright pixels: uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, or uint16 (H, W)."""

    pixels: np.ndarray
    format: str
    name: str
    metadata: Metadata = field(default_factory=Metadata)


@contextlib.contextmanager
def open_source(source: Source) -> Iterator[tuple[str, BinaryIO, str]]:
    """Yield (name for messages, open binary file, format by content); `ImageError` if there is no picture."""
    is_path = isinstance(source, str | os.PathLike)
    name = os.fspath(source) if is_path else "the given bytes"
    with contextlib.ExitStack() as stack:
        try:
            file: BinaryIO = stack.enter_context(open(source, "rb")) if is_path else io.BytesIO(source)
            head = file.read(HEAD_BYTES)
            file.seek(0)
        except (OSError, ValueError) as error:
            raise ImageError(f"{name}: {_explain_os(error)}") from error
        kind = sniff(head)
        if kind is None:
            raise ImageError(f"{name}: {explain_unknown(head)}")
        yield name, file, kind


def _explain_os(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist; check the path"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not a picture; give one file, or list the folder with list_images"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied); change its permissions (chmod +r) or its owner"
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "cannot be opened (too many open files); raise the limit with `ulimit -n` or use fewer workers"
    reason = getattr(error, "strerror", None) or error
    return f"cannot be read ({reason}); check the path and the disk"


def open_pillow(file: BinaryIO, kind: str, name: str) -> Any:
    """Pillow's image of format `kind`, header read, pixels not; None for a TIFF that Pillow does not know.

    The plug-in is called directly: Image.open has a process-wide size limit below ours, and would also try
    formats that run other programs (EPS).
    """
    from PIL import Image

    if kind not in Image.OPEN:
        Image.init()
    if kind not in Image.OPEN:
        raise ImageError(f"{name}: this Pillow cannot decode {kind}; update it, or convert the file to PNG")
    try:
        return Image.OPEN[kind][0](file, "")
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything on damaged data
        if kind == "TIFF":
            return None
        problem = f"the {kind} header is damaged or gives zero width or height ({error})"
        raise ImageError(f"{name}: {problem}; {_DAMAGED}") from error


def header(file: BinaryIO, kind: str, name: str, image: Any) -> tuple[int, int, int]:
    """(width, height, orientation 1..8 still to be applied) without decoding; `image` from `open_pillow`."""
    if image is None:
        return (*_tiff_header(file, name)[:2], 1)
    if kind == "TIFF":  # Pillow turns TIFFs itself, its versions differ in when they swap the size
        width, height = image.tag_v2[256], image.tag_v2[257]
        return (height, width, 1) if image.tag_v2.get(_ORIENTATION, 1) in (5, 6, 7, 8) else (width, height, 1)
    if kind != "PNG":
        return *image.size, _orientation(image.info.get("exif"))
    position = file.tell()
    exif = png_exif(file, name)
    file.seek(position)
    return *image.size, _orientation(exif)


def _orientation(exif: bytes | None) -> int:
    if not exif:
        return 1
    from PIL import Image

    tags = Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(_ORIENTATION, 1)
    except Exception:
        return 1
    return value if value in range(1, 9) else 1


def _tiff_header(file: BinaryIO, name: str) -> tuple[int, int, int]:
    """(width, height, samples per pixel) of a TIFF that Pillow refuses; the size is upright."""
    from PIL import TiffImagePlugin

    try:
        file.seek(0)
        head = file.read(8)
        if 43 in head[2:4]:  # BigTIFF
            head += file.read(8)
        directory = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(directory.next)
        directory.load(file)
        width, height = int(directory[256]), int(directory[257])
        samples, turned = int(directory.get(277, 1)), directory.get(274, 1) in (5, 6, 7, 8)
    except Exception as error:
        raise ImageError(f"{name}: the TIFF header is damaged or of an unknown kind; {_DAMAGED}") from error
    return (height, width, samples) if turned else (width, height, samples)


def decode(source: Source, max_pixels: int, keep_metadata: bool = False) -> Decoded:
    """Decode `source`, on demand with its metadata; `ImageError` naming file, problem and remedy for whatever
    prevents it."""
    with open_source(source) as (name, file, kind):
        try:
            data = file.read()
        except OSError as error:
            raise ImageError(f"{name}: {_explain_os(error)}") from error
    if kind == "JPEG":
        check_jpeg_complete(data, name)
    file = io.BytesIO(data)
    image, metadata = open_pillow(file, kind, name), Metadata()
    width, height, orientation = header(file, kind, name, image)
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than the limit of {max_pixels}; shrink the picture, "
            "or raise max_pixels if the file is trustworthy and memory allows"
        )
    try:
        if image is None:
            pixels = _tiff_by_opencv(file, data, name)
        else:
            if keep_metadata:
                metadata = metadata_of(image, png_exif(io.BytesIO(data), name) if kind == "PNG" else None)
            pixels = _jpeg_by_opencv(data, image) if kind == "JPEG" else None
            if pixels is None:
                pixels = _by_pillow(image, kind, name)
        return Decoded(_upright(pixels, orientation), kind, name, metadata)
    except ImageError:
        raise
    except MemoryError as error:
        problem = f"not enough memory to decode {width} x {height} pixels"
        raise ImageError(f"{name}: {problem}; shrink the picture or close other programs") from error
    except Exception as error:  # decoders raise anything on damaged data
        raise ImageError(f"{name}: the {kind} is truncated or damaged ({error}); {_DAMAGED}") from error


def _jpeg_by_opencv(data: bytes, image: Any) -> np.ndarray | None:
    """8-bit grey and colour JPEGs, nearly twice as fast as through Pillow; None for others."""
    import cv2

    if image.mode not in ("L", "RGB"):
        return None
    colour = image.mode == "RGB"
    flags = (cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[1::-1] != image.size:
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels) if colour else pixels


def _by_pillow(image: Any, kind: str, name: str) -> np.ndarray:
    mode, transparency = image.mode, image.info.get("transparency")
    if kind == "TIFF" and mode not in ("L", "P", "1") and not mode.startswith("I;16"):
        _refuse_planar_16(image, name)
    if mode.startswith("I;16") or (mode == "I" and kind in ("PPM", "PNG")):
        pixels = np.asarray(image).astype(np.uint16)
        if kind == "TIFF" and image.tag_v2.get(262) == 0:  # white is zero: Pillow inverts only 8 bits
            pixels = 65535 - pixels
        if isinstance(transparency, int):
            grey, alpha = (pixels >> 8).astype(np.uint8), np.where(pixels == transparency, 0, 255)
            return np.dstack([grey, grey, grey, alpha.astype(np.uint8)])
        return pixels
    if mode == "F":
        return _float_to_uint8(np.asarray(image), name)
    if mode == "I":
        raise ImageError(f"{name}: holds 32-bit or signed integers; save it with 8 or 16 bits per channel")
    if transparency is not None and isinstance(transparency, tuple) and max(transparency) > 255:
        image.info["transparency"] = tuple(value >> 8 for value in transparency)  # of a 16-bit PNG
    if transparency is not None or mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return np.array(_convert(_convert(image, "LA", name) if mode == "La" else image, "RGBA", name))
    if mode in ("1", "L"):
        return np.array(_convert(image, "L", name))
    return np.array(_convert(image, "RGB", name))


def _convert(image: Any, mode: str, name: str) -> Any:
    if image.mode == mode:
        return image
    image.load()
    try:
        return image.convert(mode)
    except ValueError as error:
        raise ImageError(f"{name}: colours of kind {image.mode} are not supported; save it as RGB") from error


def _refuse_planar_16(image: Any, name: str) -> None:
    bits = image.tag_v2.get(258, (8,))
    if image.tag_v2.get(284, 1) == 2 and max(bits if isinstance(bits, tuple) else (bits,)) > 8:
        raise ImageError(
            f"{name}: a 16-bit TIFF with its channels in separate planes is not supported; "
            "save it with interleaved channels or as PNG"
        )


def _tiff_by_opencv(file: BinaryIO, data: bytes, name: str) -> np.ndarray:
    """Float RGB and other TIFFs that Pillow does not know. OpenCV turns them upright itself."""
    import cv2

    samples = _tiff_header(file, name)[2]
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    found = 0 if pixels is None else 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels is None or found != samples or found not in (1, 3, 4):
        raise ImageError(f"{name}: the TIFF is damaged or of an unsupported kind; save it as 8-bit RGB PNG")
    if found > 1:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if found == 3 else cv2.COLOR_BGRA2RGBA)
    if pixels.dtype.kind == "f":
        return _float_to_uint8(pixels, name)
    if pixels.dtype == np.uint16:
        return pixels if found == 1 else (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ImageError(f"{name}: holds {pixels.dtype} values; save it with 8 or 16 bits per channel")
    return pixels


def _float_to_uint8(pixels: np.ndarray, name: str) -> np.ndarray:
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # also true for NaN
        raise ImageError(
            f"{name}: float values from {low:g} to {high:g}, expected 0..1; "
            "scale them to 0..1, or save 8- or 16-bit integers"
        )
    return np.rint(pixels * np.float32(255)).astype(np.uint8)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply the EXIF `orientation`; by OpenCV, several times faster than NumPy's strided copies."""
    import cv2

    if orientation == 2:
        return cv2.flip(pixels, 1)
    if orientation == 3:
        return cv2.rotate(pixels, cv2.ROTATE_180)
    if orientation == 4:
        return cv2.flip(pixels, 0)
    if orientation == 5:
        return cv2.transpose(pixels)
    if orientation == 6:
        return cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
    if orientation == 7:
        return cv2.transpose(cv2.rotate(pixels, cv2.ROTATE_180))
    if orientation == 8:
        return cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return pixels
