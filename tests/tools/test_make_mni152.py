"""tools/data/make_mni152.py: labels of maps, the parts, and a data set that is read; of drawn maps, no wheel."""
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nibabel", reason="volumes need the extra 'medical'")

from dense.datasets.volume import VolumeDataset
from dense.io.volume import Volume
from dense.tasks import VolumeTask

TOOL = Path(__file__).resolve().parents[2] / "tools" / "data" / "make_mni152.py"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOL.parent))
    spec = importlib.util.spec_from_file_location("make_mni152_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("make_mni152_tool", None)


def maps() -> dict[str, Volume]:
    """Voxels of 5 mm along y, from y = -100 on; tissue in the middle of the planes."""
    rng = np.random.default_rng(0)
    affine = np.diag([1.0, 5.0, 1.0, 1.0])
    affine[1, 3] = -100
    t1 = np.zeros((10, 30, 12), np.uint8)
    t1[1:-1, 1:-1, 1:-1] = 90
    grey, white = (np.where(t1 > 0, rng.integers(0, 128, t1.shape), 0).astype(np.uint8) for _ in range(2))
    return {name: Volume(a[None], (1.0, 5.0, 1.0), affine) for name, a in (("t1", t1), ("gm", grey), ("wm", white))}


def test_labels_of_maps(tool):
    t1, grey, white = (np.array(a, np.uint8) for a in ([0, 9, 9, 9, 9], [0, 40, 80, 120, 255], [0, 87, 48, 130, 0]))
    assert tool.label_tissues(t1, grey, white).tolist() == [0, 1, 2, 3, 2]


def test_the_parts_do_not_touch_and_the_set_is_read(tool, tmp_path):
    drawn = maps()
    counts = tool.write_set(tmp_path, drawn)
    task = VolumeTask(size=16, spacing=(1.0, 5.0, 1.0), channels=("T1",),
                      classes=("background", "fluid", "grey", "white"))
    labels = {}
    for split in ("train", "val"):
        data = VolumeDataset(tmp_path, split, [dict(type="PackVolume", mode="plain")], task)
        packed, = (data[i] for i in range(len(data)))
        assert np.array_equal(packed["inputs"].numpy(), drawn["t1"].values)
        labels[split] = packed["data_samples"].gt_labels.numpy()
    whole = tool.label_tissues(*(drawn[k].values[0] for k in ("t1", "gm", "wm")))
    rows = {split: sorted(set(np.argwhere(a >= 0)[:, 1].tolist())) for split, a in labels.items()}
    assert rows["val"] == list(range(10, 18))  # -50 to -15 mm
    assert rows["train"] == [*range(9), *range(19, 30)]  # one row of 5 mm is left out on either side
    for array in labels.values():
        assert np.array_equal(array[array >= 0], whole[array >= 0])
    assert counts["mni152_val"]["ignore"] == np.count_nonzero(labels["val"] < 0)
    assert "Louis Collins" in (tmp_path / "NOTICE.txt").read_text()
