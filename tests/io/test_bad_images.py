"""Files that are no picture, or not a whole one, are refused with the file, the problem and the remedy."""

import builtins
import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from dense.errors import ImageError
from dense.io import image_format, image_size, read_image, read_mask

H, W = 30, 44
PNG_START = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (W, H), interpolation=cv2.INTER_CUBIC)


def encode(array, fmt, mode=None, **options) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, fmt, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def assert_acts(error, *words):
    """Each message names the problem and, after a semicolon, the remedy."""
    text = str(error.value)
    assert "; " in text, text
    for word in words:
        assert str(word) in text, text


def test_content_decides_not_suffix(tmp_path, rgb):
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(rgb, "PNG"))
    np.testing.assert_array_equal(read_image(path), rgb)
    np.testing.assert_array_equal(read_image(str(path)), rgb)
    assert image_format(path) == "PNG"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"hello world, this is text\n", "text"),
        (b"\n<!DOCTYPE html><html>404</html>", "HTML"),
        (b'<?xml version="1.0"?><svg/>', "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%PDF-1.4", "PDF"),
        (bytes(500), "zero bytes"),
        (b"\x01\x02\x03\x04" * 30, "known picture format"),
        (b"BMW is a car maker, this is text", "BMP header"),
        (b"II*\0 nothing behind", "TIFF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "text"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_picture(tmp_path, content, word):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (read_image, read_mask, image_size):
        with pytest.raises(ImageError) as error:
            read(path)
        assert_acts(error, path, word)


def test_missing_folder_and_denied(tmp_path, rgb, monkeypatch):
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "none.png")
    assert_acts(error, "none.png", "does not exist")
    with pytest.raises(ImageError) as error:
        read_image(tmp_path)
    assert_acts(error, tmp_path, "folder")
    with pytest.raises(ImageError):
        read_image("nul\0byte.png")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", denied)
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / "secret.png")
    monkeypatch.undo()
    assert_acts(error, "secret.png", "permission denied", "chmod")


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_truncated(tmp_path, rgb, fmt, monkeypatch):
    tolerant = fmt in ("JPEG", "PNG")  # for these another library's setting must not matter
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    data = encode(rgb, fmt)
    path = tmp_path / "cut"
    for keep in (len(data) - 10, len(data) * 2 // 3, len(data) // 4, 40, 12):
        path.write_bytes(data[:keep])
        with pytest.raises(ImageError) as error:
            read_image(path)
        assert_acts(error, path)


def test_truncated_at_every_byte(rgb):
    exif = Image.Exif()
    exif[0x010E] = "thumbnail \xff\xd9 inside"
    for data in (encode(rgb[:9, :9], "JPEG", progressive=True, exif=exif), encode(rgb[:9, :9], "PNG")):
        read_image(data)
        read_image(data + b"trailing")
        for keep in range(len(data)):
            with pytest.raises(ImageError):
                read_image(data[:keep])


def test_zeros_in_the_place_of_the_end(rgb):
    data = encode(rgb, "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        read_image(data[:-50] + bytes(50))


def test_bombs_and_zero_sides(rgb):
    with pytest.raises(ImageError) as error:
        read_image(encode(rgb, "PNG"), max_pixels=H * W - 1)
    assert_acts(error, f"{W} x {H}", "max_pixels")
    read_image(encode(rgb, "PNG"), max_pixels=H * W)

    def png(width, height):
        head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        return PNG_START + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")

    with pytest.raises(ImageError) as error:
        read_image(png(100_000, 100_000))
    assert_acts(error, "100000 x 100000", "limit")
    assert image_size(png(15_000, 25_000)) == (25_000, 15_000)  # beyond Pillow's own limit
    for size in ((0, 5), (5, 0)):
        with pytest.raises(ImageError) as error:
            read_image(png(*size))
        assert_acts(error, "zero width or height")


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000", "AVIF"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_gives_a_picture_or_our_error(rgb, fmt):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encode(rgb, fmt), np.uint8)
    for _ in range(40):
        data = whole.copy()
        data[rng.integers(4, len(data) if rng.random() < 0.5 else 80, 3)] = rng.integers(0, 256, 3)
        for read in (read_image, read_mask, image_size):
            with contextlib.suppress(ImageError):
                read(data.tobytes(), **({} if read is image_size else {"max_pixels": 1_000_000}))


def test_damaged_inside(rgb):
    data = bytearray(encode(rgb, "PNG"))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(ImageError) as error:
        read_image(bytes(data))
    assert_acts(error, "the given bytes")
