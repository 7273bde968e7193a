"""Volumes in files: values and geometry as they are stored, in and out, and files that are no volumes."""
import gzip
import os
import resource
import signal
import sys

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="volumes need the extra 'medical' (nibabel)")
import nibabel
from toy_volumes import values_of, write_nifti

from dense.errors import DenseError, ImageError, MissingDependencyError
from dense.io import nifti
from dense.io.volume import (
    difference,
    read_volume,
    volume_from_array,
    volume_from_image,
    write_labels,
    write_values,
)


def oblique():
    """A rotation by odd angles with a flip, times odd spacings: nothing in it is round."""
    a, b = 0.31, -0.73
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.7031, 0.7031, 2.417])
    affine[:3, 3] = 31.3, -12.7, 7.1
    return affine


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".hdr"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, ">i2", ">f4"])
def test_values_come_as_they_are_stored(tmp_path, suffix, dtype):
    values = values_of(dtype=dtype)
    kind = nibabel.Nifti1Pair if suffix == ".hdr" else nibabel.Nifti1Image
    header = kind.header_class(endianness=">" if np.dtype(dtype).byteorder == ">" else "<")
    header.set_data_dtype(dtype)
    nibabel.save(kind(values, oblique(), header), tmp_path / f"a{suffix}")
    volume = read_volume(tmp_path / f"a{suffix}")
    assert volume.values.dtype == np.dtype(dtype).newbyteorder("=") and volume.shape == (7, 6, 5)
    np.testing.assert_array_equal(volume.values[0], values.transpose())
    np.testing.assert_array_equal(volume.affine, nibabel.load(tmp_path / f"a{suffix}").affine)
    assert volume.spacing == tuple(np.float32([2.417, 0.7031, 0.7031]).astype(float))
    assert volume.voxel_ml == pytest.approx(0.7031**2 * 2.417 / 1000)


def test_the_img_of_a_pair_and_nifti_2_are_read(tmp_path):
    values = write_nifti(tmp_path / "a.img", kind=nibabel.Nifti1Pair)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.img").values[0], values.T)
    values = write_nifti(tmp_path / "b.nii.gz", kind=nibabel.Nifti2Image)
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii.gz").values[0], values.T)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_scaled_and_double_values_become_float32(tmp_path, suffix, dtype):
    values = write_nifti(tmp_path / "a.nii", values_of(dtype=dtype), slope=(0.3, -1024.5))
    if suffix == ".nii.gz":
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    found = read_volume(tmp_path / f"a{suffix}").values
    assert found.dtype == np.float32
    expected = values.astype(np.float64) * float(np.float32(0.3)) + float(np.float32(-1024.5))
    np.testing.assert_array_equal(found[0], expected.T.astype(np.float32))


def test_a_fourth_axis_and_several_files_are_channels(tmp_path):
    values = write_nifti(tmp_path / "four.nii.gz", values_of((5, 6, 7, 3)))
    volume = read_volume(tmp_path / "four.nii.gz")
    assert volume.values.shape == (3, 7, 6, 5)
    np.testing.assert_array_equal(volume.values, values.transpose(3, 2, 1, 0))
    paths = [tmp_path / f"case_000{i}.nii.gz" for i in range(3)]
    for i, path in enumerate(paths):
        write_nifti(path, values[..., i])
    np.testing.assert_array_equal(read_volume(paths).values, volume.values)
    values = write_nifti(tmp_path / "vector.nii.gz", values_of((5, 6, 7, 1, 2)))
    np.testing.assert_array_equal(read_volume(tmp_path / "vector.nii.gz").values, values[:, :, :, 0].T)


def test_channels_that_do_not_lie_on_each_other_are_refused(tmp_path):
    write_nifti(tmp_path / "a.nii.gz")
    write_nifti(tmp_path / "shape.nii.gz", values_of((5, 6, 8)))
    write_nifti(tmp_path / "spacing.nii.gz", affine=np.diag([-1.5, 1.25, 3.1, 1]))
    shifted = np.diag([-1.5, 1.25, 3, 1])
    shifted[0, 3] = 2
    write_nifti(tmp_path / "shifted.nii.gz", affine=shifted)
    for name, words in (("shape", "has 5 x 6 x 8 voxels"), ("spacing", "has voxels of"), ("shifted", "lies elsewhere")):
        with pytest.raises(ImageError, match=rf"{name}\.nii\.gz: {words}.*Remedy: resample"):
            read_volume([tmp_path / "a.nii.gz", tmp_path / f"{name}.nii.gz"])


def test_an_uncompressed_file_is_not_copied(tmp_path):
    write_nifti(tmp_path / "a.nii")
    values = read_volume(tmp_path / "a.nii").values
    assert isinstance(values, np.memmap) and not values.flags.writeable


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 2), (0, 0), (4, 3)])
@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image", "Nifti1Pair"])
def test_results_have_the_geometry_of_their_source_bit_by_bit(tmp_path, codes, kind):
    kind = getattr(nibabel, kind)
    image = kind(values_of(), oblique())
    image.set_qform(oblique(), codes[0])
    image.set_sform(oblique() + 0.001 * (codes[1] == 3) * np.eye(4), codes[1])
    image.header.set_xyzt_units("mm", "sec")
    image.header["cal_max"], image.header["intent_code"] = 55, 3
    path = tmp_path / ("a.hdr" if kind is nibabel.Nifti1Pair else "a.nii.gz")
    nibabel.save(image, path)
    volume = read_volume(path)
    assert (volume.affine is None) == (codes == (0, 0))
    out = write_labels(tmp_path / "deep/out.nii.gz", values_of(dtype=np.uint8).T, volume)
    source, made = nibabel.load(path).header, nibabel.load(out).header
    for name in nifti.GEOMETRY:
        assert made[name].tobytes() == source[name].tobytes(), name
    assert made["pixdim"][:4].tobytes() == source["pixdim"][:4].tobytes()
    assert nibabel.load(out).affine.tobytes() == nibabel.load(path).affine.tobytes()
    assert made.get_data_dtype() == np.uint8 and made["cal_max"] == 0 and made["intent_code"] == 0
    np.testing.assert_array_equal(np.asarray(nibabel.load(out).dataobj), values_of(dtype=np.uint8))
    again = read_volume(out)
    assert again.spacing == volume.spacing and difference(volume, again) == ""


@pytest.mark.parametrize(("highest", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (70000, np.int32)])
def test_labels_take_the_smallest_type(tmp_path, highest, dtype):
    labels = np.zeros((3, 4, 5), np.int64)
    labels[1, 2, 3] = highest
    path = write_labels(tmp_path / "a.nii.gz", labels, volume_from_array(labels, (1, 1, 1)))
    assert nibabel.load(path).get_data_dtype() == dtype
    np.testing.assert_array_equal(read_volume(path).values[0], labels)
    with pytest.raises(ValueError, match="whole numbers from 0 on"):
        write_labels(path, -labels, volume_from_array(labels, (1, 1, 1)))


def test_values_are_written_as_they_come_and_alike_every_time(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 7, 6, 5)).astype(np.float32)
    like = volume_from_array(values, (3, 1.25, 1.5), np.diag([-1.5, 1.25, 3, 1]))
    write_values(tmp_path / "a.nii.gz", (v for v in values.reshape(-1, 6, 5)), like, np.float32, 2)
    write_values(tmp_path / "b.nii.gz", values, like)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    again = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.affine, like.affine)
    turned = values.transpose(0, 1, 3, 2)  # not in C order
    write_values(tmp_path / "t.nii", turned, volume_from_array(turned, (1, 1, 1)))
    np.testing.assert_array_equal(read_volume(tmp_path / "t.nii").values, turned)


def test_units_become_millimetres_and_stay_in_the_file(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", affine=np.diag([1500.0, 1500, 2000, 1]), xyzt_units=3)
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.spacing, (2, 1.5, 1.5))
    np.testing.assert_allclose(np.diag(volume.affine), (1.5, 1.5, 2, 1))
    made = nibabel.load(write_labels(tmp_path / "b.nii", np.zeros((7, 6, 5), np.uint8), volume))
    assert made.header["xyzt_units"] == 3 and made.affine[0, 0] == 1500


def test_geometry_is_that_of_simpleitk(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="needs the extra 'dicom' (SimpleITK)")
    write_nifti(tmp_path / "a.nii.gz", affine=oblique())
    image, volume = sitk.ReadImage(str(tmp_path / "a.nii.gz")), read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.values[0], sitk.GetArrayFromImage(image))
    assert volume.spacing == image.GetSpacing()[::-1]
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    other, given = read_volume(tmp_path / "a.nrrd"), volume_from_image(image)
    np.testing.assert_array_equal(other.values, volume.values)
    np.testing.assert_allclose(other.affine, volume.affine, atol=1e-5)
    np.testing.assert_allclose(given.affine, volume.affine, atol=1e-5)
    made = sitk.ReadImage(str(write_labels(tmp_path / "b.nii.gz", np.ones(volume.shape, bool), other)))
    np.testing.assert_allclose(made.GetDirection(), image.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(made.GetOrigin(), image.GetOrigin(), atol=1e-5)


def test_arrays_and_images_of_nibabel(tmp_path):
    array = values_of().T
    volume = volume_from_array(array, (3, 1.25, 1.5))
    assert volume.values.base is not None and volume.affine is None  # not copied
    image = nibabel.Nifti1Image(array.T, oblique())
    again = volume_from_image(image)
    np.testing.assert_array_equal(again.values[0], array)
    np.testing.assert_allclose(again.affine, oblique(), atol=1e-6)
    values = write_nifti(tmp_path / "a.mgz", kind=nibabel.MGHImage, values=values_of(dtype=np.float32))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mgz").values[0], values.T)
    nibabel.save(nibabel.AnalyzeImage(array.T, np.diag([-1.5, 1.25, 3, 1])), tmp_path / "old.hdr")
    assert read_volume(tmp_path / "old.hdr").spacing == (3, 1.25, 1.5)
    for bad in (array[0], array.astype(complex), array[:0]):
        with pytest.raises(ImageError, match="is no volume"):
            volume_from_array(bad, (1, 1, 1))
    with pytest.raises(ImageError, match="by the affine"):
        volume_from_array(array, (1, 1, 1), oblique())


def test_voxels_without_a_value_are_counted(tmp_path):
    values = values_of(dtype=np.float32)
    values[0, 0, 0] = values[4, 5, 6] = np.nan
    values[1, 1, 1] = -np.inf
    write_nifti(tmp_path / "a.nii.gz", values)
    with pytest.raises(ImageError, match=r"a\.nii\.gz: has 2 NaN and 1 infinite voxels \(1.43%\)\. Remedy: --fill 0"):
        read_volume(tmp_path / "a.nii.gz")
    filled = read_volume(tmp_path / "a.nii.gz", fill=-7).values[0].T
    assert filled[0, 0, 0] == filled[1, 1, 1] == filled[4, 5, 6] == -7
    np.testing.assert_array_equal(filled[2], values[2])
    values = values_of(dtype=np.float64)
    values[0, 0, 0] = 1e300  # beyond float32
    write_nifti(tmp_path / "b.nii.gz", values)
    with pytest.raises(ImageError, match="1 infinite"):
        read_volume(tmp_path / "b.nii.gz")


def spoil(path, at=None, **fields):
    """Set bytes of an uncompressed header."""
    header = nibabel.Nifti1Header(path.read_bytes()[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])


HUGE = [3, 30000, 30000, 30000, 1, 1, 1, 1]


@pytest.mark.parametrize(("make", "words"), [
    (lambda p: p.write_bytes(p.read_bytes()[:-10]), "is truncated: 410 bytes of 420 bytes"),
    (lambda p: p.write_bytes(p.read_bytes()[:200]), "ends within its header"),
    (lambda p: p.write_bytes(b""), "is empty"),
    (lambda p: p.write_text("x,y\n1,2\n" * 100), "is text, not a volume"),
    (lambda p: p.write_bytes(b"<!DOCTYPE html><html>" + b" " * 400), "is an HTML page"),
    (lambda p: p.write_bytes(bytes(128) + b"DICM" + bytes(400)), "is a DICOM file; give the folder"),
    (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(400)), "is a ZIP archive"),
    (lambda p: p.write_bytes(os.urandom(1000)), "is no NIfTI file"),
    (lambda p: p.write_bytes(gzip.compress(p.read_bytes())[:-4]), "is truncated"),
    (lambda p: p.write_bytes(gzip.compress(p.read_bytes())[:200]), "is truncated"),
    (lambda p: p.write_bytes(gzip.compress(p.read_bytes())[:-8] + bytes(8)), "is damaged.*CRC"),
    (lambda p: p.write_bytes(gzip.compress(p.read_bytes()[:-50])), "is truncated"),
    (lambda p: spoil(p, dim=[2, 5, 42, 1, 1, 1, 1, 1]), "is a picture \\(5 x 42\\)"),
    (lambda p: spoil(p, dim=[3, 5, 42, 1, 1, 1, 1, 1]), "is a picture"),
    (lambda p: spoil(p, dim=[3, 5, -6, 7, 1, 1, 1, 1]), "5 x -6 x 7"),
    (lambda p: spoil(p, dim=[0, 5, 6, 7, 1, 1, 1, 1]), "of no axis"),
    (lambda p: spoil(p, dim=[5, 5, 1, 7, 2, 3, 1, 1]), "more than channels"),
    (lambda p: spoil(p, dim=HUGE), "is truncated: 420 bytes of"),
    (lambda p: (spoil(p, dim=HUGE), p.write_bytes(gzip.compress(p.read_bytes()))), "claims 51498413.1 MiB of voxels"),
    (lambda p: spoil(p, pixdim=[1, 0, 1, 1, 0, 0, 0, 0]), "make no sense; correct the header \\(pixdim\\)"),
    (lambda p: spoil(p, pixdim=[1, np.nan, 1, 1, 0, 0, 0, 0]), "make no sense"),
    (lambda p: spoil(p, pixdim=[1, 9, 9, 9, 0, 0, 0, 0]), "by the affine"),
    (lambda p: spoil(p, srow_x=[0, 0, 0, 0]), "no map from voxels"),
    (lambda p: spoil(p, srow_x=[np.nan, 0, 0, 0]), "no map from voxels"),
    (lambda p: spoil(p, datatype=9999), "header is damaged"),
    (lambda p: spoil(p, datatype=128, bitpix=24), "its voxels are colours"),
    (lambda p: spoil(p, datatype=32, bitpix=64), "its voxels are complex numbers"),
    (lambda p: spoil(p, scl_slope=2, scl_inter=np.inf), "header is damaged"),
    (lambda p: p.unlink(), "does not exist"),
    (lambda p: (p.unlink(), p.mkdir()), "holds no DICOM|need SimpleITK"),
])
def test_files_that_are_no_volumes_say_so(tmp_path, make, words, recwarn, capfd):
    path = tmp_path / "brain.nii"
    write_nifti(path)
    make(path)
    with pytest.raises(DenseError, match=rf"^{path}: .*{words}"):
        read_volume(path)
    assert capfd.readouterr().err == ""


def test_a_pair_without_values(tmp_path):
    write_nifti(tmp_path / "a.hdr", kind=nibabel.Nifti1Pair)
    (tmp_path / "a.img").unlink()
    with pytest.raises(ImageError, match=r"a\.hdr: its values are missing, .*a\.img is not there"):
        read_volume(tmp_path / "a.hdr")


def test_more_than_fits_into_memory_is_said(tmp_path, monkeypatch):
    write_nifti(tmp_path / "a.nii.gz")

    def full(*arguments):
        raise MemoryError

    monkeypatch.setattr(nifti.np, "empty", full)
    with pytest.raises(ImageError, match=r"5 x 6 x 7 voxels need .* more memory than there is"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_gzipped_file_may_be_called_nii_and_the_other_way_round(tmp_path):
    values = write_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").rename(tmp_path / "b.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "b.nii").values[0], values.T)
    write_nifti(tmp_path / "c.nii")
    (tmp_path / "c.nii").rename(tmp_path / "d.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "d.nii.gz").values[0], values.T)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_full_disk_leaves_nothing_and_says_so(tmp_path, suffix):
    labels = np.random.default_rng(0).integers(0, 255, (40, 64, 64), np.uint8)
    like = volume_from_array(labels, (1, 1, 1))
    out = tmp_path / f"a{suffix}"
    write_labels(out, np.zeros_like(labels), like)
    before = out.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    try:
        with pytest.raises(DenseError, match="the disk is full"):
            write_labels(out, labels, like)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert out.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [out.name]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    like = volume_from_array(np.zeros((3, 4, 5), np.uint8), (1, 1, 1))

    def blocks():
        yield np.zeros((4, 5), np.float32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_values(tmp_path / "a.nii.gz", blocks(), like, np.float32)
    with pytest.raises(DenseError, match="80 of 240 bytes"):
        write_values(tmp_path / "a.nii.gz", iter([np.zeros((4, 5), np.float32)]), like, np.float32)
    with pytest.raises(ImageError, match=r"volumes are written as \.nii\.gz"):
        write_values(tmp_path / "a.png", like.values[0], like)
    assert list(tmp_path.iterdir()) == []


def test_without_nibabel_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.nii").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(MissingDependencyError, match=r"a\.nii: volumes need nibabel.*pip install 'dense\[medical\]'"):
        read_volume(tmp_path / "a.nii")
