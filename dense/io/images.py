"""Pictures and masks from files of any common kind, decoded by content and turned upright.

Every function takes a path or the bytes of a file, and raises `ImageError` naming the file, the problem and
the remedy. Formats: JPEG, PNG, TIFF, WebP, BMP, GIF, PNM, JPEG 2000 and AVIF; of animations and multi-page
files the first picture. ICC profiles are ignored: the values are those in the file, not converted to sRGB.
"""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dense.errors import DatasetError, ImageError
from dense.io.decode import Decoded, Source, decode, header, open_pillow, open_source

MAX_PIXELS = 400_000_000
"""Default limit of width x height: 20,000 x 20,000, 1.2 GB as RGB."""

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif",
)  # fmt: skip
"""Suffixes taken for pictures when a folder is listed, in lower case; capitals count as well."""

_LOSSY = ("JPEG", "WEBP", "AVIF", "JPEG2000")
_STRIPE = 1 << 16  # pixels handled at once, so that 16-bit temporaries stay in the cache


class MaskFormError(ImageError):
    """A file that decodes but does not hold one grey value per pixel."""


def read_image(source: Source, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture to uint8 (H, W, 3) RGB, contiguous and writable, EXIF orientation applied.

    Grey is repeated to three channels. Transparent pictures are laid over white. CMYK is converted without
    a profile. 16-bit values are divided by 256, float values in 0..1 are multiplied by 255.

    Raises:
        ImageError: missing, unreadable, truncated or no picture; more than `max_pixels` pixels; float values
            outside 0..1; 32-bit integers.
    """
    pixels = to_uint8(decode(source, max_pixels).pixels)
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return over_white(pixels) if pixels.shape[2] == 4 else np.ascontiguousarray(pixels)


def read_mask(source: Source, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a mask to uint8 (H, W), values 0..255 as in the file, EXIF orientation applied.

    - Grey and 1-bit files: their values (1-bit gives 0 and 255); 16-bit divided by 256, float 0..1 times 255.
    - Colour files, palettes included (their colours, not their indices): the common value of the three
      channels; in lossy formats they may differ by up to 3 levels, and green is taken.
    - With transparency: if all is opaque, as above; if everything that is visible at all has one colour,
      the alpha channel.

    A mask of 0 and 1 is returned as it is; see `mask_problem`.

    Raises:
        MaskFormError: channels that differ, alpha together with varying colours, or a 16-bit mask whose
            largest value is 1..255, which division by 256 would make black.
        ImageError: as for `read_image`.
    """
    decoded = decode(source, max_pixels)
    raw = decoded.pixels
    if raw.dtype == np.uint16 and 0 < int(raw.max()) < 256:
        raise MaskFormError(
            f"{decoded.name}: a 16-bit mask with values of at most {int(raw.max())}, black once scaled to 8 "
            "bits; save it with 8 bits, foreground 255"
        )
    pixels = to_uint8(raw)
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3]
        if int(alpha.min()) < 255:
            return _alpha_as_mask(pixels, decoded.name)
    return _common_channel(pixels, decoded)


def mask_problem(mask: np.ndarray) -> str | None:
    """What is suspicious about a uint8 (H, W) mask, or None.

    "0/1 mask": the largest value is 1, foreground meant to be 255; "empty": no value above 16;
    "full": no value below 239; "soft/grey": more than 20 % of the values lie strictly between 16 and 239.
    """
    import cv2

    counts = cv2.calcHist([mask], [0], None, [256], [0, 256])[:, 0]
    present = np.flatnonzero(counts)
    if present.size == 0:
        return "empty"
    low, high = int(present[0]), int(present[-1])
    if high == 1:
        return "0/1 mask"
    if high <= 16:
        return "empty"
    if low >= 239:
        return "full"
    return "soft/grey" if counts[17:239].sum() > 0.2 * mask.size else None


def image_size(source: Source) -> tuple[int, int]:
    """(height, width) in pixels after EXIF orientation, from the header; the pixels are not decoded."""
    with open_source(source) as (name, file, kind):
        width, height, orientation = header(file, kind, name, open_pillow(file, kind, name))
    return (width, height) if orientation >= 5 else (height, width)


def image_format(source: Source) -> str:
    """The format by content, whatever the suffix: "JPEG", "PNG", "TIFF", "WEBP", ..."""
    with open_source(source) as (_, _, kind):
        return kind


def over_white(rgba: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 4) RGBA, not premultiplied, to uint8 (H, W, 3) RGB over a white ground, rounded."""
    return over_ground(rgba, 255)


def over_ground(rgba: np.ndarray, grey: int) -> np.ndarray:
    """As `over_white`, over a white (255) or black (0) ground."""
    out = np.ascontiguousarray(rgba[:, :, :3])
    rows = max(1, _STRIPE // max(1, rgba.shape[1]))
    for top in range(0, rgba.shape[0], rows):
        alpha = rgba[top : top + rows, :, 3:]
        if int(alpha.min()) == 255:
            continue
        part = out[top : top + rows]
        distance = (part ^ grey).astype(np.uint16) * alpha + 128  # from the ground: v or 255 - v
        part[...] = ((distance + (distance >> 8)) >> 8).astype(np.uint8) ^ grey  # exact rounded division by 255
    return out


def natural_key(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """Sorting key that puts "img2" before "img10" and ignores capitals."""
    parts = re.split(r"([0-9]+)", path.as_posix().lower())
    return [(0, int(part)) if index % 2 else (1, part) for index, part in enumerate(parts)], path.as_posix()


def list_images(folder: str | os.PathLike[str], recursive: bool = False) -> list[Path]:
    """The files in `folder` with one of `IMAGE_SUFFIXES`, naturally sorted; hidden files are left out.

    With `recursive` also those in the folders below; links to folders are followed, each folder once.

    Raises:
        DatasetError: the folder, or one below it, is missing, no folder, or may not be read.
    """
    return list_files(folder, lambda name: os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES, recursive)


def list_files(folder: str | os.PathLike[str], wanted: Callable[[str], bool], recursive: bool = False) -> list[Path]:
    """The files in `folder` whose name is `wanted`, as `list_images` does."""
    found: list[Path] = []
    pending, seen = [Path(folder)], set()
    while pending:
        here = pending.pop()
        try:
            status = here.stat()
            if not stat.S_ISDIR(status.st_mode):
                raise DatasetError(f"{here}: is a file, not a folder; give the folder that holds it")
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if wanted(entry.name) \
                            and (entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))):
                        found.append(Path(entry.path))  # a broken link is told, a pipe would hang
                    elif recursive and entry.is_dir():
                        pending.append(Path(entry.path))
        except FileNotFoundError as error:
            raise DatasetError(f"{here}: the folder does not exist; check the path") from error
        except PermissionError as error:
            problem, remedy = "may not be read (permission denied)", "change its permissions (chmod +rx)"
            raise DatasetError(f"{here}: the folder {problem}; {remedy} or its owner") from error
        except OSError as error:
            raise DatasetError(f"{here}: cannot be listed ({error.strerror}); check the disk") from error
    return sorted(found, key=natural_key)


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Decoded uint16 values divided by 256; uint8 as they are."""
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def _alpha_as_mask(rgba: np.ndarray, name: str) -> np.ndarray:
    alpha = np.ascontiguousarray(rgba[:, :, 3])
    visible = alpha > 0
    # Programs store any colour under full transparency; with nothing visible all pixels are asked instead.
    colours = rgba[visible][:, :3] if visible.any() else rgba[:, :, :3].reshape(-1, 3)
    if (colours != colours[0]).any():
        raise MaskFormError(
            f"{name}: has an alpha channel and varying colours, so either could be the mask (a cut-out?); "
            "save the one that is meant as a grey picture"
        )
    return alpha


def _common_channel(pixels: np.ndarray, decoded: Decoded) -> np.ndarray:
    import cv2

    red, green, blue = cv2.split(pixels)[:3]
    difference = max(float(cv2.norm(red, green, cv2.NORM_INF)), float(cv2.norm(green, blue, cv2.NORM_INF)))
    if difference > (3 if decoded.format in _LOSSY else 0):
        raise MaskFormError(
            f"{decoded.name}: a colour picture (channels differ by up to {difference:g}), not a mask; save "
            "it as a grey picture with 0 for background and 255 for foreground"
        )
    return np.array(green)
