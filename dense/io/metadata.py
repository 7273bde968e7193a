"""What travels with a picture beside its pixels: colour profile, resolution, EXIF."""

import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_PREFIX = b"Exif\x00\x00"
# description, maker, model, software, date, artist, copyright: of a TIFF, whose other tags describe its layout
_TIFF_KEPT = (270, 271, 272, 305, 306, 315, 33432)


@dataclass(frozen=True)
class Metadata:
    """What a copy of a picture should keep.

    profile: ICC colour profile of RGB values; profiles of grey and CMYK files are dropped, since pixels are
        handed on as RGB. dpi: horizontal and vertical. exif: TIFF bytes as in an EXIF block, without prefix; its
        orientation says upright, as the pixels are, and its thumbnail is left out. time: of a frame, in seconds by its
        video's clock; copies of pictures have none.
    """

    profile: bytes | None = None
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    time: Fraction | None = None


def metadata_of(image: Any, exif: bytes | None = None) -> Metadata:
    """Metadata of Pillow's image, whose header has been read; `exif` where the format hides it from Pillow.

    Damaged entries are left out: they are no reason to refuse the picture.
    """
    profile = image.info.get("icc_profile")
    if not (isinstance(profile, bytes) and len(profile) >= 128 and profile[16:20] == b"RGB "):
        profile = None
    try:
        x, y = (float(v) for v in image.info["dpi"])
        dpi = (x, y) if 1 <= x <= 65535 and 1 <= y <= 65535 else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        dpi = None
    return Metadata(profile, dpi, _upright_exif(image, exif or image.info.get("exif")))


def _upright_exif(image: Any, exif: bytes | None) -> bytes | None:
    from PIL import Image

    try:
        tags = Image.Exif()
        if exif:
            tags.load(exif)
        elif hasattr(image, "tag_v2"):
            source = image.getexif()
            tags.update({k: source[k] for k in _TIFF_KEPT if k in source})
            inner = source.get_ifd(_EXIF_IFD)
            if inner:
                tags[_EXIF_IFD] = dict(inner)
        if not len(tags):
            return None
        if _ORIENTATION in tags:
            tags[_ORIENTATION] = 1
        return tags.tobytes().removeprefix(_PREFIX)
    except Exception:  # Pillow raises anything on damaged EXIF
        return None


def png_with_metadata(png: bytes, metadata: Metadata) -> bytes:
    """A PNG with profile, resolution and EXIF put behind its header."""
    end = 8 + 25  # signature, IHDR
    chunks = []
    if metadata.profile:
        chunks.append(_chunk(b"iCCP", b"ICC profile\x00\x00" + zlib.compress(metadata.profile)))
    if metadata.dpi:
        x, y = (round(v / 0.0254) for v in metadata.dpi)  # pixels per metre
        chunks.append(_chunk(b"pHYs", struct.pack(">IIB", x, y, 1)))
    if metadata.exif:
        chunks.append(_chunk(b"eXIf", metadata.exif))
    return png[:end] + b"".join(chunks) + png[end:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pillow_options(metadata: Metadata, format: str) -> dict[str, Any]:
    """Keyword arguments of Pillow's ``save`` for 'WEBP', 'TIFF' and 'JPEG'.

    Of the EXIF a TIFF gets maker, model, date, artist and the like only: libtiff, which compresses it, writes no
    block within a block through Pillow.
    """
    options: dict[str, Any] = {}
    if metadata.profile:
        options["icc_profile"] = metadata.profile
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if metadata.exif:
        options["exif"] = _basic_exif(metadata.exif) if format == "TIFF" else _PREFIX + metadata.exif
    return options


def _basic_exif(exif: bytes) -> Any:
    from PIL import Image

    tags, basic = Image.Exif(), Image.Exif()
    tags.load(_PREFIX + exif)
    basic.update({k: tags[k] for k in _TIFF_KEPT if k in tags})
    return basic
