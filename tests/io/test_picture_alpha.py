"""Transparent inputs: their alpha and colours stay known, a network sees them over a ground."""
import io

import numpy as np
import pytest
from PIL import Image

from dense.io import picture_from_array, picture_from_pillow, read_image, read_picture


def rgba(colour=(200, 40, 90)):
    out = np.zeros((6, 8, 4), np.uint8)
    out[..., :3] = colour
    out[..., 3] = np.linspace(0, 255, 48).reshape(6, 8)
    return out


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_files_keep_alpha_and_colours(format):
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    data = encoded(Image.fromarray(rgba()), format, **options)
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.rgba, rgba())
    np.testing.assert_array_equal(picture.alpha, rgba()[..., 3])
    np.testing.assert_array_equal(picture.pixels, read_image(data))  # over white, as before


def test_palettes_with_a_transparent_colour():
    image = Image.fromarray(np.uint8([[0, 1], [1, 0]]), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    picture = read_picture(encoded(image, "PNG", transparency=1))
    np.testing.assert_array_equal(picture.alpha, [[255, 0], [0, 255]])
    np.testing.assert_array_equal(picture.pixels, [[[10, 20, 30], [255] * 3], [[255] * 3, [10, 20, 30]]])


def test_arrays_and_pillow_pictures():
    for picture in (picture_from_array(rgba()), picture_from_pillow(Image.fromarray(rgba()))):
        np.testing.assert_array_equal(picture.rgba, rgba())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_opaque_pictures_have_none(channels):
    array = np.full((4, 5, channels), 255, np.uint8)
    picture = picture_from_array(array)
    assert picture.alpha is None and picture.rgba is None and picture.opaque() is picture
    assert picture.pixels.flags.c_contiguous and (picture.pixels == 255).all()


def test_light_colours_are_laid_over_black():
    picture = picture_from_array(rgba((250, 240, 255)))
    a = picture.alpha[..., None] / 255
    np.testing.assert_array_equal(picture.pixels, np.rint(a * [250, 240, 255]).astype(np.uint8))


def test_nothing_visible():
    picture = picture_from_array(np.zeros((4, 5, 4), np.uint8))
    assert (picture.pixels == 255).all() and (picture.alpha == 0).all()


def test_opaque_shows_what_alpha_hides():
    opaque = picture_from_array(rgba()).opaque()
    assert opaque.alpha is None and (opaque.pixels == (200, 40, 90)).all()
