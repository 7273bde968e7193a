"""The converter of the head CT, on a tiny project."""
import io
import plistlib
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dense.errors import DatasetError
from dense.tasks.volume_pictures import orientation

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "data"


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(TOOLS))
    import make_head_ct

    yield make_head_ct
    sys.path.remove(str(TOOLS))


def write_project(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"tmp/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def project(values, masks):
    padded = [np.pad(m, ((1, 0),) * 3, constant_values=255) for m in masks]
    files = {"main.plist": plistlib.dumps({
        "matrix": {"dtype": "int16", "shape": list(values.shape)}, "spacing": [0.5, 0.75, 2.0],
        "masks": {str(i): f"mask_{i}.plist" for i in range(2)}}), "matrix.dat": values.tobytes()}
    for i, mask in enumerate(padded):
        files[f"mask_{i}.plist"] = plistlib.dumps({"mask_file": f"mask_{i}.dat", "mask_shape": list(mask.shape)})
        files[f"mask_{i}.dat"] = mask.tobytes()
    return files


def test_voxels_masks_and_geometry(tool, tmp_path):
    values = np.random.default_rng(0).integers(-1024, 3000, (4, 5, 6)).astype(np.int16)
    bone, tissue = ((values > t).astype(np.uint8) * 255 for t in (1000, 0))
    write_project(tmp_path / "a.inv3", project(values, (bone, tissue)))
    volume, labels = tool.read_project(tmp_path / "a.inv3")
    np.testing.assert_array_equal(volume.values[0], values)
    np.testing.assert_array_equal(labels, (values > 0).astype(int) + (values > 1000))
    assert volume.spacing == (2.0, 0.75, 0.5) and orientation(volume.affine).code == "LAS"
    np.testing.assert_allclose(volume.affine @ (2.5, 2, 1.5, 1), (0, 0, 0, 1))


def test_another_content_is_said(tool, tmp_path):
    write_project(tmp_path / "a.inv3", {"main.plist": b"nonsense"})
    (tmp_path / "b.inv3").write_bytes(b"no archive")
    for name in ("a", "b"):
        with pytest.raises(DatasetError, match=rf"{name}\.inv3: is no project as expected"):
            tool.read_project(tmp_path / f"{name}.inv3")
