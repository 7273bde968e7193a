"""DICOM series: order, rescale and geometry of their slices, and series that are none."""
import contextlib
import locale
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("SimpleITK", reason="DICOM needs the extra 'dicom' (SimpleITK)")
import SimpleITK as sitk

from dense.errors import ImageError, MissingDependencyError
from dense.io.dicom import read_series
from dense.io.volume import read_volume

TURN = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1.0]])


@contextlib.contextmanager
def same_locale():
    """Writing DICOM numbers through GDCM sets the process's locale to C; other tests' output would be read as ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


@same_locale()
def write_series(folder: Path, values: np.ndarray, step=(0, 0, 2.5), uid="1.2.3", keep=None, direction=TURN) -> None:
    """A series of values (Z, Y, X) int16; files are named against their order."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for i, plane in enumerate(values):
        if keep is not None and i not in keep:
            continue
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((0.7, 0.8, 2.5))
        place = np.array((-11.5, 20.25, -300)) + i * np.array(step)
        tags = {"0008|0060": "CT", "0020|000e": uid, "0020|000d": "1.9", "0020|0013": str(i + 1),
                "0008|0018": f"{uid}.{i + 1}", "0020|0032": "\\".join(f"{v:.6f}" for v in place),
                "0020|0037": "\\".join(f"{v:.6f}" for v in (*direction[:, 0], *direction[:, 1])),
                "0028|1052": "-1024", "0028|1053": "1"}
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}-{len(values) - i:03}.dcm"))
        writer.Execute(image)


@pytest.fixture
def values():
    return np.random.default_rng(0).integers(-1000, 1000, (6, 8, 9)).astype(np.int16)


def test_a_series_is_a_volume_in_order_with_its_place(tmp_path, values):
    write_series(tmp_path / "ct", values)
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.values[0], values)
    assert volume.values.dtype.kind == "i" or volume.values.dtype == np.float32
    np.testing.assert_allclose(volume.spacing, (2.5, 0.8, 0.7))
    np.testing.assert_allclose(volume.affine @ (0, 0, 0, 1), (11.5, -20.25, -300, 1))
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag([-1, -1, 1]) @ TURN @ np.diag([0.7, 0.8, 2.5]), atol=1e-6)


def test_reading_leaves_the_locale_alone(tmp_path, values):
    write_series(tmp_path / "ct", values)
    with same_locale():
        try:
            before = locale.setlocale(locale.LC_ALL, "C.UTF-8")
        except locale.Error:
            pytest.skip("this system has no locale C.UTF-8")
        read_series(tmp_path / "ct")
        assert locale.setlocale(locale.LC_ALL) == before


def test_a_tilted_gantry_is_in_the_affine(tmp_path, values):
    write_series(tmp_path / "ct", values, step=(0, 0.6, 2.5), direction=np.eye(3))
    volume = read_series(tmp_path / "ct")
    np.testing.assert_allclose(volume.affine[:3, 2], (0, -0.6, 2.5), atol=1e-6)
    assert volume.voxel_ml == pytest.approx(0.7 * 0.8 * 2.5 / 1000)


def test_series_with_gaps_or_company_are_refused(tmp_path, values):
    write_series(tmp_path / "gap", values, keep=(0, 1, 2, 4, 5))
    with pytest.raises(ImageError, match=r"gap: slices are missing or doubled at 1 places, first between 1\.2\.3-004"):
        read_series(tmp_path / "gap")
    write_series(tmp_path / "two", values)
    write_series(tmp_path / "two", values[:4] + 1, uid="1.2.4")
    with pytest.raises(ImageError, match=r"holds 2 series: .*\(\d files\).*Remedy: a folder for each"):
        read_series(tmp_path / "two")
    uid = next(u for u in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(tmp_path / "two")) if u.startswith("1.2.4"))
    np.testing.assert_array_equal(read_series(tmp_path / "two", uid).values[0], values[:4] + 1)
    write_series(tmp_path / "one", values[:1])
    with pytest.raises(ImageError, match="is no volume, its size is 9 x 8 x 1"):
        read_series(tmp_path / "one")
    write_series(tmp_path / "same", values, step=(0, 0, 0))
    with pytest.raises(ImageError, match="its slices lie in one place"):
        read_series(tmp_path / "same")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no DICOM series"):
        read_series(tmp_path / "empty")


def test_a_damaged_slice_is_said(tmp_path, values):
    write_series(tmp_path / "ct", values)
    path = sorted((tmp_path / "ct").iterdir())[2]
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ImageError, match=r"ct.*(cannot be read|slices are missing)"):
        read_series(tmp_path / "ct")


def test_without_simpleitk_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dense\[dicom\]'"):
        read_volume(tmp_path)
