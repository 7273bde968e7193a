"""Results: values, backgrounds, files that keep what the source had."""
import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from toy_pictures import disc

from dense.errors import ConfigError, DenseError, ImageError
from dense.inference import CutoutResult
from dense.io import Metadata, picture_from_pillow, read_image, read_picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAKER, ORIENTATION, EXPOSURE = 271, 274, 33434


@pytest.fixture
def result():
    image = disc(40, 60)
    image[..., 1] //= 2
    alpha = np.linspace(0, 1, 40 * 60, dtype=np.float32).reshape(40, 60)
    return CutoutResult(image, "disc.png", alpha=alpha, colours="original")


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[MAKER], tags[ORIENTATION] = "camera", orientation
    tags.get_ifd(0x8769)[EXPOSURE] = 0.5
    return tags.tobytes()


def file_of(format: str, orientation: int = 6, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(disc(40, 60)).save(buffer, format, icc_profile=PROFILE, dpi=(300, 300), exif=exif(orientation),
                                       **options)
    return buffer.getvalue()


def test_values(result):
    assert result.rgba().dtype == np.uint8 and result.rgba().shape == (40, 60, 4)
    np.testing.assert_array_equal(result.rgba()[..., :3], result.image)
    np.testing.assert_allclose(result.rgba()[..., 3] / 255, result.alpha, atol=0.5 / 255 + 1e-6)
    assert set(np.unique(result.mask())) == {0, 255}
    assert (result.mask(0.25) > 0).mean() == pytest.approx(0.75, abs=0.01)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        result.mask(2)


@pytest.mark.parametrize(("background", "colour"), [
    ("white", (255, 255, 255)), ("#102030", (16, 32, 48)), ("#fff", (255, 255, 255)), ((1, 2, 3), (1, 2, 3)),
    ([9, 8, 7], (9, 8, 7)), ("Navy", (0, 0, 128)), ("green", (0, 177, 64)),
    (Image.new("RGB", (3, 3), (7, 6, 5)), (7, 6, 5))])
def test_over_a_colour(result, background, colour):
    a = result.alpha[..., None].astype(np.float64)
    expected = result.image * a + np.array(colour) * (1 - a)
    assert np.abs(result.over(background) - expected).max() <= 0.51


def test_over_a_picture_that_is_scaled_to_cover(result, tmp_path):
    ground = np.zeros((100, 50, 3), np.uint8)
    ground[30:70] = (0, 0, 200)  # the middle: all that a wide picture shows
    clear = CutoutResult(result.image, "x", alpha=np.zeros_like(result.alpha))
    assert (clear.over(ground) == (0, 0, 200)).all()
    Image.fromarray(ground).save(tmp_path / "ground.png")
    np.testing.assert_array_equal(clear.over(tmp_path / "ground.png"), clear.over(ground))
    for tiny in (np.full((1, 1, 3), 7, np.uint8), np.full((1, 500, 3), 7, np.uint8)):
        assert (clear.over(tiny) == 7).all()


def test_blur_keeps_the_subject_and_takes_nothing_of_it_into_the_surroundings():
    y, x = np.mgrid[:200, :300]
    subject = (y - 100) ** 2 + (x - 150) ** 2 < 50 ** 2
    image = np.where(subject[..., None], np.uint8((255, 0, 0)), np.where((x // 4 % 2)[..., None], np.uint8(40),
                                                                        np.uint8(80)))
    out = CutoutResult(image, "x", alpha=subject.astype(np.float32)).over("blur")
    np.testing.assert_array_equal(out[subject], image[subject])
    around = out[~subject].astype(int)
    assert abs(around - 60).max() < 25  # a red rim would be far off
    assert around.std() < 0.3 * image[~subject].std()


def test_a_wrong_background(result):
    for wrong in ("#12", "#gggggg", "nowhere.png", (1, 2), (1, 2, 300), "none", "", 5, ("a", "b", "c")):
        with pytest.raises(ConfigError, match="Remedy"):
            result.over(wrong)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_profile_resolution_and_exif_are_kept_and_turned_once(tmp_path, source, suffix):
    picture = read_picture(file_of(source))
    assert picture.pixels.shape == (60, 40, 3)  # orientation 6: on its side
    alpha = np.full((60, 40), 0.5, np.float32)
    path = CutoutResult(picture.pixels, "x", metadata=picture.metadata, alpha=alpha).save(tmp_path / f"a{suffix}")
    with Image.open(path) as saved:
        saved.load()
        assert saved.size == (40, 60) and saved.mode == "RGBA"
        assert saved.info["icc_profile"] == PROFILE
        if source != "WEBP" and suffix != ".webp":  # WebP has no field for it
            assert [round(float(v)) for v in saved.info["dpi"]] == [300, 300]
        tags = saved.getexif()
        assert tags.get(ORIENTATION, 1) == 1 and tags[MAKER].strip("\0") == "camera"
        if suffix != ".tiff":  # see pillow_options
            assert float(tags.get_ifd(0x8769)[EXPOSURE]) == 0.5
    again = read_image(path)
    assert again.shape == (60, 40, 3)


def test_pillow_pictures_keep_theirs_too():
    picture = picture_from_pillow(Image.open(io.BytesIO(file_of("JPEG"))))
    assert picture.pixels.shape == (60, 40, 3) and picture.metadata.profile == PROFILE
    assert picture.metadata == read_picture(file_of("JPEG")).metadata


def test_a_profile_of_other_colours_is_not_attached_to_rgb():
    grey = bytearray(PROFILE)
    grey[16:20] = b"GRAY"
    buffer = io.BytesIO()
    Image.fromarray(disc()[..., 0]).save(buffer, "PNG", icc_profile=bytes(grey))
    assert read_picture(buffer.getvalue()).metadata.profile is None


def test_damaged_metadata_is_no_reason_to_refuse_a_picture():
    buffer = io.BytesIO()
    Image.fromarray(disc()).save(buffer, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", icc_profile=b"rubbish")
    assert read_picture(buffer.getvalue()).metadata.profile is None


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_saved_values_come_back(result, tmp_path, suffix):
    saved = np.asarray(Image.open(result.save(tmp_path / f"a{suffix}")))
    np.testing.assert_array_equal(saved[..., 3], result.rgba()[..., 3])
    if suffix != ".webp":  # its colours are lossy
        np.testing.assert_array_equal(saved, result.rgba())


def test_mask_and_background_are_saved_without_alpha(result, tmp_path):
    np.testing.assert_array_equal(np.asarray(Image.open(result.save(tmp_path / "m.png", mask=True))),
                                  result.alpha_uint8())
    np.testing.assert_array_equal(np.asarray(Image.open(result.save(tmp_path / "w.png", "white"))),
                                  result.over("white"))
    assert Image.open(result.save(tmp_path / "w.jpg", "white")).mode == "RGB"


def test_what_a_format_cannot_hold_is_refused(result, tmp_path):
    with pytest.raises(ImageError, match=r"JPEG has no transparency; .*background"):
        result.save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match=r"cannot write pictures as \.gif; use \.png"):
        result.save(tmp_path / "a.gif")
    long = CutoutResult(np.zeros((1, 17000, 3), np.uint8), "x", metadata=Metadata(),
                        alpha=np.zeros((1, 17000), np.float32))
    with pytest.raises(ImageError, match="WEBP allows sides of at most 16383"):
        long.save(tmp_path / "a.webp")
    (tmp_path / "file").touch()
    with pytest.raises(DenseError, match="file instead of a folder"):
        result.save(tmp_path / "file/a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_plot_is_three_panels(result):
    plot = result.plot(100)
    assert plot.dtype == np.uint8 and plot.shape == (100, 3 * 150 + 8, 3)
    np.testing.assert_allclose(plot[50, 154 + 75], 127, atol=6)  # the middle of alpha
