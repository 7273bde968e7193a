"""A mask is read from every guise it comes in, and what is none is refused."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from dense.io import MaskFormError, mask_problem, read_mask

H, W = 30, 44


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


def assert_acts(error, *words):
    """Each message names the problem and, after a semicolon, the remedy."""
    text = str(error.value)
    assert "; " in text, text
    for word in words:
        assert str(word) in text, text


@pytest.fixture
def mask() -> np.ndarray:
    out = np.zeros((H, W), np.uint8)
    out[5:20, 5:30] = 255
    out[20, 5:30] = 100
    return out


def test_masks_in_all_guises(mask):
    grey3 = np.dstack([mask] * 3)
    white = np.full_like(grey3, 255)
    cleared = np.where(mask[..., None] > 0, 255, 0).astype(np.uint8).repeat(3, axis=2)
    clear_la = Image.merge("LA", [Image.new("L", (W, H), 255), Image.fromarray(mask)])
    for data in (
        encode(mask, "PNG"),
        encode(grey3, "PNG"),
        encode(mask, "TIFF"),
        encode(mask.astype(np.uint16) * 257, "PNG"),
        encode(np.dstack([grey3, np.full_like(mask, 255)]), "PNG"),
        encode(np.dstack([white, mask]), "PNG"),
        encode(np.dstack([white * 0, mask]), "PNG"),
        encode(np.dstack([cleared, mask]), "PNG"),
        encode(clear_la, "PNG"),
        encode(Image.fromarray(grey3).quantize(8), "PNG"),
        encode_cv2(mask.astype(np.float32) / 255, ".tif"),
        encode(grey3, "WEBP", lossless=True),
    ):
        out = read_mask(data)
        assert out.dtype == np.uint8 and out.flags.c_contiguous
        np.testing.assert_array_equal(out, mask)
    assert np.abs(read_mask(encode(grey3, "JPEG", quality=100)).astype(int) - mask).max() <= 3
    bits = Image.fromarray(mask).convert("1", dither=Image.Dither.NONE)
    np.testing.assert_array_equal(read_mask(encode(bits, "PNG")), (mask > 127) * np.uint8(255))


def test_palette_gives_colours_not_indices():
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([0, 0, 0, 255, 255, 255])
    assert read_mask(encode(image, "PNG")).tolist() == [[0, 255]]
    image.putpalette([0, 0, 0, 128, 0, 0])
    with pytest.raises(MaskFormError):
        read_mask(encode(image, "PNG"))


def test_masks_that_are_none(tmp_path, rgb, mask):
    path = tmp_path / "m.png"
    path.write_bytes(encode(rgb, "PNG"))
    with pytest.raises(MaskFormError) as error:
        read_mask(path)
    assert_acts(error, path, "colour")
    slight = np.dstack([mask // 255, mask * 0, mask * 0])
    with pytest.raises(MaskFormError):
        read_mask(encode(slight, "PNG"))
    with pytest.raises(MaskFormError) as error:
        read_mask(encode(np.dstack([rgb, mask]), "PNG"))
    assert_acts(error, "alpha", "cut-out")
    for top in (1, 255):
        with pytest.raises(MaskFormError) as error:
            read_mask(encode((mask > 0).astype(np.uint16) * top, "PNG"))
        assert_acts(error, "16-bit", "8 bits")


def test_transparent_everywhere(mask):
    nothing = np.zeros_like(mask)
    assert not read_mask(encode(np.dstack([nothing] * 4), "PNG")).any()
    with pytest.raises(MaskFormError):
        read_mask(encode(np.dstack([mask, mask, mask, nothing]), "PNG"))


def test_mask_problem(mask):
    assert mask_problem(mask) is None
    assert mask_problem(mask // 255) == "0/1 mask"
    assert mask_problem(mask * 0 + 1) == "0/1 mask"
    assert mask_problem(mask * 0) == "empty"
    assert mask_problem(mask * 0 + 255) == "full"
    assert mask_problem(np.linspace(0, 255, 999).astype(np.uint8).reshape(27, 37)) == "soft/grey"
    zero_one = read_mask(encode(mask // 255, "PNG"))
    assert zero_one.max() == 1
