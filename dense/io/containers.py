"""What a file is by its first bytes, and whether a JPEG or PNG is all there.

The decoders are not asked about truncation: OpenCV returns a half grey picture for a cut JPEG, and Pillow
can be told by any other library in the process to do the same.
"""

import re
import struct
from typing import BinaryIO

from dense.errors import ImageError

HEAD_BYTES = 64
"""How much of a file `sniff` and `explain_unknown` need."""

_PNG = b"\x89PNG\r\n\x1a\n"
# A marker that ends a JPEG scan: not a stuffed zero, not a restart marker, not a fill byte.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_COPY_AGAIN = "copy or download it again"


def sniff(head: bytes) -> str | None:
    """The format by the first `HEAD_BYTES` bytes: Pillow's name ("JPEG", "PNG", ...), or None if unknown."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(_PNG):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    if re.match(rb"P[1-6][\s#]|P[fF]\s", head):
        return "PPM"
    if head.startswith((b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "JPEG2000"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "AVIF"
    return None


def explain_unknown(head: bytes) -> str:
    """Problem and remedy, as one phrase, for a file whose first bytes `sniff` does not know."""
    if not head:
        return f"is empty (0 bytes); {_COPY_AGAIN}"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the picture; run `git lfs pull`"
    if head[4:8] == b"ftyp":
        return "is a HEIC/HEIF picture or a video, which cannot be decoded; convert it to JPEG or PNG"
    if head.startswith(b"%PDF"):
        return "is a PDF, not a picture; export its page as PNG"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "is an HTML page, not a picture (often a failed download); download the picture itself"
    if text.startswith((b"<svg", b"<?xml")):
        return "is XML or SVG text, not a pixel picture; export it as PNG"
    if not re.search(rb"[\x00-\x08\x0e-\x1f\x7f]", head):
        return "is text, not a picture; replace it with a picture or remove it"
    if not head.strip(b"\x00"):
        return f"holds only zero bytes (an interrupted copy); {_COPY_AGAIN}"
    return "is not in a known picture format; convert it to JPEG, PNG, TIFF or WebP"


def check_jpeg_complete(data: bytes, name: str) -> None:
    """Raise `ImageError` unless the JPEG `data` reaches its end-of-image marker.

    The markers are followed from the start, so that neither a thumbnail in the metadata nor bytes that look
    like a marker inside a table is taken for the end.
    """
    pos, seen_scan = 2, False
    while True:
        if seen_scan:
            found = _SCAN_END.search(data, pos)
            pos = found.start() if found else len(data)
        while data[pos : pos + 2] == b"\xff\xff":  # fill bytes before a marker
            pos += 1
        if pos + 2 > len(data):
            raise ImageError(f"{name}: the JPEG is truncated (its end is missing); {_COPY_AGAIN}")
        if data[pos] != 0xFF:  # stray bytes between segments: every decoder skips them
            pos = data.find(b"\xff", pos) % (len(data) + 1)
            continue
        marker = data[pos + 1]
        if marker == 0xD9:
            if not seen_scan:
                raise ImageError(f"{name}: the JPEG holds no picture data; {_COPY_AGAIN}")
            return
        if marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # markers without a length
            pos += 2
            continue
        if pos + 4 > len(data):
            pos = len(data)
            continue
        seen_scan = seen_scan or marker == 0xDA
        pos += 2 + struct.unpack_from(">H", data, pos + 2)[0]


def png_exif(file: BinaryIO, name: str) -> bytes | None:
    """The EXIF bytes of the PNG in `file` or None; `ImageError` if its chunks stop before the last one.

    Pillow finds an EXIF chunk behind the pixels only by decoding them, so the chunks are walked here.
    """
    end = file.seek(0, 2)
    file.seek(len(_PNG))
    exif = None
    while True:
        header = file.read(8)
        if len(header) < 8:
            break
        length, kind = struct.unpack(">I4s", header)
        next_chunk = file.tell() + length + 4
        if next_chunk > end:
            break
        if kind == b"IEND":
            return exif
        if kind == b"eXIf":
            exif = file.read(length)
        file.seek(next_chunk)
    raise ImageError(f"{name}: the PNG is truncated (its end is missing); {_COPY_AGAIN}")
