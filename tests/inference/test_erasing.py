"""Erasing through the inferencer: masks of all kinds, what stays, and what cannot be."""
from pathlib import PurePath

import cv2
import numpy as np
import pytest

from dense.errors import ConfigError, DatasetError, DenseError, ImageError
from dense.inference import EraseResult
from dense.inference.masks import find_masks
from dense.inference.sources import file_item
from dense.io import Picture, read_image

pytest.importorskip("onnx", reason="bundles need the extra 'deploy' (onnx)")
pytest.importorskip("onnxruntime", reason="bundles need the extra 'deploy' (onnxruntime)")


@pytest.fixture(scope="module")
def eraser(tmp_path_factory):
    from toy_eraser import eraser_bundle

    from dense import Inferencer

    folder = eraser_bundle(tmp_path_factory.mktemp("eraser") / "bundle")
    return Inferencer(folder, backend="onnxruntime", threads=1)


def noise(height=90, width=130, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_box_is_erased_and_the_rest_is_as_it_was(eraser):
    image = noise()
    result = eraser(image, mask=[(20, 30, 40, 10)])
    assert isinstance(result, EraseResult)
    assert np.array_equal(result.original, image)
    assert np.array_equal(result.image[30:40, 20:60], 255 - image[30:40, 20:60])
    changed = (result.image != image).any(2)
    assert not changed[:27].any()
    assert not changed[43:].any()
    assert not changed[:, :17].any()
    assert not changed[:, 63:].any()


@pytest.mark.parametrize("kind", ["bool", "uint8", "file", "folder", "function"])
def test_masks_come_in_many_forms(eraser, tmp_path, kind):
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), noise())
    mask = np.zeros((90, 130), np.uint8)
    mask[30:40, 20:60] = 255
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "a.tif"), mask)
    value = {"bool": mask > 0, "uint8": mask, "file": tmp_path / "masks" / "a.tif", "folder": tmp_path / "masks",
             "function": lambda picture, item: mask}[kind]
    result = eraser(path, mask=value)
    assert np.array_equal(result.mask, mask)
    assert np.array_equal(result.image, eraser(path, mask=[(20, 30, 40, 10)]).image)


def test_a_folder_of_masks_goes_by_relative_names_and_tells_what_lacks(eraser, tmp_path):
    for name in ("in/x/a.png", "in/x/b.png", "in/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), noise())
    for name, row in (("masks/x/a.png", 10), ("masks/a.png", 60)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((90, 130), np.uint8)
        mask[row:row + 5, 20:60] = 255
        cv2.imwrite(str(tmp_path / name), mask)
    results = eraser(tmp_path / "in", recursive=True, errors="skip", mask=tmp_path / "masks")
    rows = {r.source: int(np.flatnonzero(r.mask.any(1))[0]) for r in results}
    assert rows == {str(tmp_path / "in/a.png"): 60, str(tmp_path / "in/x/a.png"): 10}
    assert [f.source for f in results.failures] == [str(tmp_path / "in/x/b.png")]
    assert "x/b.*" in results.failures[0].reason


def test_nothing_masked_gives_the_picture_back(eraser):
    image = noise()
    assert np.array_equal(eraser(image, mask=np.zeros((90, 130), bool)).image, image)


def test_inverted_masks(eraser, caplog):
    image, mask = noise(), np.full((90, 130), 255, np.uint8)
    mask[30:40, 20:60] = 0
    assert np.array_equal(eraser(image, mask=mask, invert=True).image, eraser(image, mask=mask == 0).image)
    assert not caplog.records
    eraser(image, mask=mask)
    assert "--invert" in caplog.text


def test_a_mask_over_everything_warns_and_works(eraser, caplog):
    image = noise()
    assert np.array_equal(eraser(image, mask=np.ones((90, 130), bool)).image, 255 - image)
    assert "all of the picture" in caplog.text


@pytest.mark.parametrize(("mask", "message"), [
    (np.zeros((130, 90), np.uint8), "130 x 90.*90 x 130"),
    (np.eye(90, 130, dtype=np.uint8), "0 and 1"),
    ([(200, 5, 10, 10)], "outside of the 130 x 90"),
    ([(-20, 5, 10, 10)], "outside"),
    ([(20, 5, 0, 10)], "empty"),
])
def test_masks_that_do_not_fit_are_refused(eraser, mask, message):
    with pytest.raises(ImageError, match=message):
        eraser(noise(), mask=mask)


def test_boxes_are_cut_to_the_picture(eraser):
    mask = eraser(noise(), mask=[(-10, -10, 15, 15), (125, 80, 50, 50)]).mask
    assert np.count_nonzero(mask) == 25 + 50


@pytest.mark.parametrize("value", ["missing.png", 3, [(1, 2, 3)], [], np.zeros((4, 4, 3), np.uint8)])
def test_what_is_no_mask_is_an_error(value):
    with pytest.raises((ConfigError, ImageError), match=r"missing\.png|give a mask"):
        find_masks(value)


def test_colour_pictures_are_no_masks(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), noise())
    with pytest.raises(ImageError, match=r"m\.png.*colour"):
        find_masks(tmp_path / "m.png")


def test_an_empty_folder_of_masks_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="no picture"):
        find_masks(tmp_path)


def test_without_a_mask_the_remedy_is_said(eraser):
    with pytest.raises(ImageError, match="mask or boxes"):
        eraser(noise())


def test_other_tasks_take_no_mask(tmp_path):
    from toy_pictures import toy_bundle

    from dense import Inferencer

    model = Inferencer(toy_bundle(tmp_path / "toy"), backend="onnxruntime", threads=1)
    with pytest.raises(ConfigError, match="takes no mask"):
        model(noise(), mask=[(1, 1, 5, 5)])


def test_bundles_of_one_size_are_fed_windows_of_it(tmp_path):
    from toy_eraser import eraser_bundle

    from dense import Inferencer

    model = Inferencer(eraser_bundle(tmp_path / "fixed", fixed=True), backend="onnxruntime", threads=1)
    assert model.mode == "tiles"
    image = noise(300, 400)
    result = model(image, mask=[(20, 30, 40, 10), (100, 100, 250, 150)])
    assert np.abs(result.image[100:250, 100:350].astype(int) - (255 - image[100:250, 100:350].astype(int))).max() <= 1
    with pytest.raises(DenseError, match="mode of one size"):
        Inferencer(tmp_path / "fixed", mode="whole")(image, mask=[(20, 30, 40, 10)])


def test_files_keep_every_pixel_and_previews_are_red(eraser, tmp_path):
    image = noise()
    result = eraser(image, mask=[(20, 30, 40, 10)])
    assert np.array_equal(read_image(result.save(tmp_path / "a.png")), result.image)
    preview = read_image(result.save(tmp_path / "b.png", preview=True))
    inside = preview[32:38, 24:56].astype(int) - image[32:38, 24:56] // 2
    assert inside[..., 0].min() > 100
    assert inside[..., 1:].max() < 30
    assert np.array_equal(preview[60:], image[60:])
    assert result.plot(100).shape[0] == 100


def test_the_item_is_asked_for_its_name():
    seen = []
    masks = find_masks(lambda picture, item: seen.append(item.relative) or np.zeros((2, 2), np.uint8))
    masks(Picture(np.zeros((2, 2, 3), np.uint8), "a"), file_item(PurePath("x/a.png"), PurePath("a.png")))
    assert seen == [PurePath("a.png")]


def test_transparent_pictures_stay_transparent(eraser, tmp_path):
    rgba = np.dstack([noise(), np.full((90, 130), 200, np.uint8)])
    rgba[:, 100:, 3] = 0
    cv2.imwrite(str(tmp_path / "a.png"), rgba[..., [2, 1, 0, 3]])
    result = eraser(tmp_path / "a.png", mask=[(20, 30, 40, 10)])
    written = cv2.imread(str(result.save(tmp_path / "b.png")), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
    assert np.array_equal(written[..., 3], rgba[..., 3])
    changed = (written != rgba).any(2)
    assert changed[30:40, 20:60].mean() > 0.9
    changed[26:44, 16:64] = False
    assert not changed.any()


def test_results_say_what_was_masked(eraser):
    values = eraser(noise(), mask=[(20, 30, 40, 10), (100, 60, 10, 5)]).to_dict()
    assert values["boxes"] == [[20, 30, 40, 10], [100, 60, 10, 5]]
    assert values["masked"] == pytest.approx(450 / (90 * 130), abs=1e-6)


def test_small_results_to_look_at(eraser):
    result = eraser(noise(200, 300), mask=[(20, 30, 40, 10)])
    assert result.small(100).image.shape == result.small(100).original.shape == (100, 150, 3)
    assert result.small(400) is result
