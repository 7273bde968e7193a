"""Run lengths as pycocotools writes them."""
import numpy as np
import pytest

from dense.io.rle import decode_rle, encode_rle


def masks():
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (7, 1), (13, 29), (200, 301)):
        yield from (rng.random(shape) < density for density in (0, 0.02, 0.5, 1))
    yield np.indices((301, 400)).sum(0) > 350
    large = np.zeros((2000, 3000), bool)
    large[5:-7, 11:13] = True  # runs that take more digits than one
    yield large


def test_both_forms_come_back():
    for mask in masks():
        for compress in (True, False):
            rle = encode_rle(mask, compress)
            assert rle["size"] == list(mask.shape) and isinstance(rle["counts"], str if compress else list)
            np.testing.assert_array_equal(decode_rle(rle), mask)


def test_a_mask_worked_out_by_hand():
    mask = np.array([[0, 1, 1], [0, 1, 0]])
    assert encode_rle(mask, False) == {"size": [2, 3], "counts": [2, 3, 1]}
    assert encode_rle(1 - mask, False)["counts"] == [0, 2, 3, 1]
    assert encode_rle(mask) == {"size": [2, 3], "counts": "231"}


def test_they_are_those_of_pycocotools():
    coco = pytest.importorskip("pycocotools.mask", reason="compares with pycocotools (extra 'det')")
    for mask in masks():
        expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        found = encode_rle(mask)
        assert found == {"size": expected["size"], "counts": expected["counts"].decode()}
        assert coco.frPyObjects(encode_rle(mask, False), *mask.shape)["counts"] == expected["counts"]
        np.testing.assert_array_equal(decode_rle(expected), mask)
        assert coco.area({**found, "counts": found["counts"].encode()}) == mask.sum()


@pytest.mark.parametrize(("rle", "words"), [
    ({"size": [2, 3], "counts": [2, 3]}, "no mask of 2 x 3"), ({"size": [2, 3], "counts": [7, -1]}, "no mask"),
    ({"size": [2, 3], "counts": "2 1"}, "does not occur"), ({"size": [2, 3], "counts": "23Q"}, "in the middle")])
def test_what_is_no_mask_is_an_error(rle, words):
    with pytest.raises(ValueError, match=words):
        decode_rle(rle)
    with pytest.raises(ValueError, match="a mask is"):
        encode_rle(np.zeros((2, 3, 4)))
