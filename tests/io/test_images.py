"""Every kind of picture that is met in practice, made here and read back."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from dense.errors import DatasetError, ImageError
from dense.io import image_format, image_size, list_images, read_image, read_mask

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


def encode_cv2(array, suffix) -> bytes:
    """Uncompressed: OpenCV's default for float TIFF loses precision."""
    array = array[..., ::-1] if array.ndim == 3 and array.shape[2] == 3 else array
    return cv2.imencode(suffix, array, [cv2.IMWRITE_TIFF_COMPRESSION, 1])[1].tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def assert_acts(error, *words):
    """Each message names the problem and, after a semicolon, the remedy."""
    text = str(error.value)
    assert "; " in text, text
    for word in words:
        assert str(word) in text, text


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_lossless_formats(rgb, fmt):
    options = {"WEBP": {"lossless": True}, "JPEG2000": {"irreversible": False}}.get(fmt, {})
    data = encode(rgb, fmt, **options)
    out = read_image(data)
    np.testing.assert_array_equal(out, rgb)
    assert out.dtype == np.uint8 and out.flags.c_contiguous and out.flags.writeable
    assert image_size(data) == (H, W) and image_format(data) == fmt


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 1}]
)
def test_jpeg_equals_pillow(rgb, options):
    data = encode(rgb, "JPEG", quality=90, **options)
    np.testing.assert_array_equal(read_image(data), np.asarray(Image.open(io.BytesIO(data))))


def test_grey_and_palette_and_one_bit(rgb):
    grey = rgb[:, :, 0]
    np.testing.assert_array_equal(read_image(encode(grey, "PNG")), np.dstack([grey] * 3))
    out = read_image(encode(grey, "JPEG"))
    assert out.shape == (H, W, 3) and (out[..., 0] == out[..., 2]).all() and out.flags.writeable
    palette = Image.fromarray(rgb).quantize(16)
    np.testing.assert_array_equal(read_image(encode(palette, "PNG")), np.asarray(palette.convert("RGB")))
    bits = Image.fromarray(grey).convert("1")
    for fmt in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(read_image(encode(bits, fmt))[..., 1], np.asarray(bits) * np.uint8(255))


def test_alpha_is_laid_over_white(rgb):
    alpha = np.linspace(0, 255, H * W).reshape(H, W).round().astype(np.uint8)
    share = alpha[..., None] / 255
    expected = np.rint(rgb * share + 255 * (1 - share)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(encode(np.dstack([rgb, alpha]), "PNG")), expected)
    grey_alpha = Image.merge("LA", [Image.fromarray(rgb[..., 1]), Image.fromarray(alpha)])
    np.testing.assert_array_equal(read_image(encode(grey_alpha, "PNG"))[..., 0], expected[..., 1])
    opaque = np.dstack([rgb, np.full((H, W), 255, np.uint8)])
    np.testing.assert_array_equal(read_image(encode(opaque, "PNG")), rgb)


def test_palette_and_key_transparency():
    palette = Image.frombytes("P", (2, 2), bytes(range(4)))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    out = read_image(encode(palette, "PNG", transparency=1))
    assert out.reshape(-1, 3).tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255], [9, 9, 9]]
    out = read_image(encode(palette, "GIF", transparency=2))
    assert out.reshape(-1, 3).tolist() == [[255, 0, 0], [0, 255, 0], [255, 255, 255], [9, 9, 9]]
    keyed = encode(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), "PNG", transparency=(1, 2, 3))
    assert read_image(keyed).tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_cmyk_jpeg_is_not_inverted(rgb):
    flat = np.full((H, W, 3), (200, 40, 90), np.uint8)
    data = encode(flat, "JPEG", "CMYK", quality=98)
    assert b"Adobe" in data  # Pillow writes the inverted kind
    assert np.abs(read_image(data).astype(int) - flat).max() <= 6
    assert np.abs(read_image(encode(flat, "TIFF", "CMYK")).astype(int) - flat).max() <= 3


def test_16_bit_is_scaled(rgb):
    deep = rgb.astype(np.uint16) * 257 - (rgb > 0)
    for suffix in (".png", ".tif"):
        np.testing.assert_array_equal(read_image(encode_cv2(deep, suffix)), deep >> 8)
        grey = encode_cv2(np.ascontiguousarray(deep[..., 0]), suffix)
        np.testing.assert_array_equal(read_image(grey)[..., 2], deep[..., 0] >> 8)
        np.testing.assert_array_equal(read_mask(grey), deep[..., 0] >> 8)
    rgba = np.dstack([deep[..., ::-1], np.full((H, W), 65535, np.uint16)])
    np.testing.assert_array_equal(read_image(encode_cv2(rgba, ".png")), deep >> 8)
    big_endian = b"P5 %d %d 65535\n" % (W, H) + deep[..., 0].astype(">u2").tobytes()
    np.testing.assert_array_equal(read_image(big_endian)[..., 0], deep[..., 0] >> 8)


def test_16_bit_png_with_transparent_key():
    def png(colour, key, row):
        head = struct.pack(">IIBBBBB", 2, 1, 16, colour, 0, 0, 0)
        body = chunk(b"tRNS", key) + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
        return PNG_START + chunk(b"IHDR", head) + body

    grey = png(0, struct.pack(">H", 0x1234), struct.pack(">2H", 0x1234, 0x4000))
    assert read_image(grey)[0].tolist() == [[255] * 3, [0x40] * 3]
    key = struct.pack(">3H", 0x1234, 0x2345, 0x3456)
    colour = png(2, key, key + struct.pack(">3H", 0x1000, 0x2000, 0x3000))
    assert read_image(colour)[0].tolist() == [[255] * 3, [0x10, 0x20, 0x30]]


def test_16_bit_tiff_white_is_zero():
    values = np.array([[0, 65535, 0x8000]], np.uint16)
    tags = [(256, 3, 1, 3), (257, 3, 1, 1), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 0)]
    tags += [(273, 4, 1, 122), (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 6)]
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    data = b"II*\0" + struct.pack("<I", 8) + body
    assert len(data) == 122
    assert read_mask(data + values.tobytes()).tolist() == [[255, 0, 127]]


def test_float_tiff(rgb):
    for channels in (rgb[..., 0], rgb):
        data = encode_cv2(np.ascontiguousarray(channels).astype(np.float32) / 255, ".tif")
        expected = channels if channels.ndim == 3 else np.dstack([channels] * 3)
        np.testing.assert_array_equal(read_image(data), expected)
        assert image_size(data) == (H, W)
        for bad in (channels.astype(np.float32), np.where(channels > 99, np.nan, 0).astype(np.float32)):
            with pytest.raises(ImageError) as error:
                read_image(encode_cv2(np.ascontiguousarray(bad), ".tif"))
            assert_acts(error, "expected 0..1")


def test_integers_of_32_bits_are_refused():
    with pytest.raises(ImageError) as error:
        read_image(encode(np.full((3, 3), 70000, np.int32), "TIFF"))
    assert_acts(error, "32-bit")


def test_first_frame(rgb):
    frames = [Image.fromarray(rgb), Image.fromarray(255 - rgb)]
    for fmt, options in (("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        data = encode(frames[0], fmt, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(read_image(data), rgb)


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 10))
def test_exif_orientation(fmt, orientation):
    quarters = np.zeros((32, 48), np.uint8)  # four different quarters tell all eight cases apart
    quarters[:16, 24:], quarters[16:, :24], quarters[16:, 24:] = 80, 160, 240
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(np.dstack([quarters] * 3), fmt, exif=exif, **({"lossless": True} if fmt == "WEBP" else {}))
    expected = {
        2: quarters[:, ::-1], 3: quarters[::-1, ::-1], 4: quarters[::-1], 5: quarters.T,
        6: np.rot90(quarters, -1), 7: quarters[::-1, ::-1].T, 8: np.rot90(quarters),
    }.get(orientation, quarters)  # fmt: skip
    assert image_size(data) == expected.shape
    for out in (read_image(data)[..., 1], read_mask(data)):
        assert out.shape == expected.shape
        assert np.abs(out.astype(int) - expected).max() <= 3


def test_exif_behind_the_pixels_of_a_png(rgb):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(rgb, "PNG")
    moved = data[:-12] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + data[-12:]
    assert image_size(moved) == (W, H)
    np.testing.assert_array_equal(read_image(moved), np.rot90(rgb, -1))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_exif_is_no_error(rgb):
    data = encode(rgb, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_image(data).shape == (H, W, 3) and image_size(data) == (H, W)


def test_sizes():
    for shape in ((1, 1), (1, 20_000), (20_000, 3)):
        for fmt in ("PNG", "JPEG"):
            data = encode(np.full((*shape, 3), 128, np.uint8), fmt)
            assert read_image(data).shape == (*shape, 3) and image_size(data) == shape


def test_list_images(tmp_path):
    for name in ("img10.png", "img2.JPG", "IMG1.webp", "notes.txt", ".hidden.png", "._img2.jpg", "sub/b.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert [path.name for path in list_images(tmp_path)] == ["IMG1.webp", "img2.JPG", "img10.png"]
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(str(tmp_path), recursive=True)]
    assert names == ["IMG1.webp", "img2.JPG", "img10.png", "sub/b.tif"]


def test_list_images_errors(tmp_path, monkeypatch):
    with pytest.raises(DatasetError) as error:
        list_images(tmp_path / "none")
    assert_acts(error, "none", "does not exist")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError) as error:
        list_images(tmp_path / "file")
    assert_acts(error, "is a file")

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", denied)
    with pytest.raises(DatasetError) as error:
        list_images(tmp_path)
    monkeypatch.undo()
    assert_acts(error, tmp_path, "permission denied")
