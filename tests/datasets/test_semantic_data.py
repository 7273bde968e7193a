"""Semantic data: folders with a class file, Cityscapes, transforms, and what people's folders have wrong with them."""
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dense.datasets.semantic import CITYSCAPES_IDS, CityscapesDataset, SemanticDataset
from dense.datasets.transforms import LoadSemantic, PackSemantic, RandomFlip, RandomScaleCrop
from dense.datasets.transforms.semantic import crop
from dense.errors import ConfigError, DatasetError, ImageError
from dense.tasks import SemanticTask

TASK = SemanticTask((64, 96), classes=("sky", "road", "car"))
TRAIN = [dict(type="LoadSemantic"), dict(type="RandomScaleCrop"), dict(type="RandomFlip"),
         dict(type="PackSemantic")]


def draw(seed: int, shape=(80, 120)) -> tuple[np.ndarray, np.ndarray]:
    """Picture whose red channel tells the class, and labels of raw ids 0, 7 and 11."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    mask[shape[0] // 2:] = 7
    x, y = int(rng.integers(10, shape[1] - 40)), int(rng.integers(10, shape[0] - 30))
    mask[y:y + 20, x:x + 30] = 11
    return np.dstack([mask * 20, rng.integers(0, 99, shape).astype(np.uint8), mask * 3]), mask


def save(root: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    for folder, array, suffix in (("images", image, "jpg"), ("masks", mask, "png")):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(root / folder / f"{name}.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))


@pytest.fixture
def root(tmp_path) -> Path:
    for split, count in (("train", 4), ("val", 2)):
        for index in range(count):
            save(tmp_path / "data" / split, f"{split}{index}", *draw(index))
    (tmp_path / "data" / "classes.txt").write_text("0 sky\n7 road\n11 car\n")
    return tmp_path / "data"


def test_pairs_and_classes_of_a_folder(root):
    data = SemanticDataset(root, "train", [dict(type="LoadSemantic")], TASK)
    assert len(data) == 4 and data.metainfo["classes"] == TASK.classes
    sample = data[0]
    assert np.array_equal(sample["mask"], np.searchsorted((0, 7, 11), draw(0)[1]))
    assert len(SemanticDataset(root, ["train", "val"], task=TASK)) == 6
    assert len(SemanticDataset(root / "val", None, task=TASK, classes=root / "classes.txt", limit=1)) == 1
    assert SemanticDataset(root, "val", task=TASK, classes="classes.txt").classes.ids == (0, 7, 11)


def test_without_a_class_file_the_tasks_classes_count_from_0(root):
    (root / "classes.txt").unlink()
    data = SemanticDataset(root, "train", [dict(type="LoadSemantic")], TASK)
    assert data.classes.ids == (0, 1, 2)
    with pytest.raises(ImageError, match=r"values that are no class: 7 \(\d+ pixels\), 11 \(600 pixels\)"):
        data[0]


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda r: (r / "classes.txt").write_text("0 sky\n7 road\n"), "classes sky, road are not those of the task"),
    (lambda r: (r / "train" / "masks" / "train0.png").unlink(), "1 files without a partner"),
    (lambda r: [f.unlink() for f in (r / "train").rglob("*.*")], "no pair of picture and labels")])
def test_what_is_wrong_with_a_folder(root, spoil, message):
    spoil(root)
    with pytest.raises(DatasetError, match=message):
        SemanticDataset(root, "train", task=TASK)


def test_a_missing_folder_is_explained(tmp_path):
    with pytest.raises(DatasetError, match=r"(?s)there is no folder .*nowhere.*classes.txt.*--data-root"):
        SemanticDataset(tmp_path / "nowhere", "train", task=TASK)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="is empty"):
        SemanticDataset(tmp_path / "empty", "train", task=TASK)


def test_labels_of_another_size_are_an_error(root):
    save(root / "train", "train1", draw(1)[0], draw(1, (80, 100))[1])
    with pytest.raises(ImageError, match=r"train1.png: the labels have 100 x 80 pixels, their picture .* 120 x 80"):
        SemanticDataset(root, "train", TRAIN, TASK)[1]


def test_a_draw_depends_on_seed_epoch_and_index_alone(root):
    data, again = (SemanticDataset(root, "train", TRAIN, TASK, seed=3) for _ in range(2))
    for draw_index in (0, 1, 4, 9):
        a, b = data[draw_index], again[draw_index]
        assert (a["inputs"] == b["inputs"]).all()
        assert (a["data_samples"].gt_sem_seg.data == b["data_samples"].gt_sem_seg.data).all()
    assert (data[0]["inputs"] != data[4]["inputs"]).any()
    assert (data[0]["inputs"] != SemanticDataset(root, "train", TRAIN, TASK, seed=4)[0]["inputs"]).any()


# transforms

def results(seed: int = 0, shape=(80, 120)) -> dict:
    image, mask = draw(seed, shape)
    return {"image": image, "mask": np.searchsorted((0, 7, 11), mask).astype(np.uint8), "task": TASK,
            "rng": np.random.default_rng(seed)}


@pytest.mark.parametrize("scale", [(0.3, 0.5), (1.0, 1.0), (2.0, 3.0), (0.5, 2.0)])
def test_crops_keep_picture_and_labels_together(scale):
    for seed in range(10):
        out = RandomScaleCrop(scale=scale, most=1.0)(results(seed))
        assert out["image"].shape == (64, 96, 3) and out["mask"].shape == (64, 96)
        labelled = out["mask"] != 255
        level = np.array([0, 140, 220])[out["mask"].clip(max=2)]
        wrong = (np.abs(out["image"][..., 0].astype(int) - level) > 30) & labelled
        assert wrong.mean() < 0.05, (scale, seed)  # blurred outlines
        assert np.abs(out["image"][~labelled].astype(int) - np.array(TASK.mean)).max(initial=0) <= 1
        if scale[0] >= 1:
            assert labelled.all()
        elif scale[1] < 0.6:
            assert not labelled.all()


def test_a_crop_without_scaling_is_a_slice():
    array = np.arange(80 * 120).reshape(80, 120).astype(np.uint16)
    found = crop(array, (10, 20), (64, 96), (64, 96), 1.0, 255, cv2.INTER_NEAREST_EXACT)
    assert np.array_equal(found, array[10:74, 20:116])
    beyond = crop(array, (-4, 30), (64, 96), (64, 96), 1.0, 9, cv2.INTER_NEAREST_EXACT)
    assert (beyond[:4] == 9).all() and (beyond[:, 90:] == 9).all()
    assert np.array_equal(beyond[4:, :90], array[:60, 30:])


def test_crops_of_one_class_are_drawn_again():
    def largest(most):
        shares = []
        for seed in range(40):
            mask = RandomScaleCrop(scale=(3.0, 4.0), most=most)(results(seed))["mask"]
            shares.append(np.bincount(mask.ravel()).max() / mask.size)
        return np.mean(np.array(shares) > 0.75)

    assert largest(0.75) < largest(1.0) / 2


@pytest.mark.parametrize("settings", [dict(scale=(2, 1)), dict(scale=(0, 1)), dict(scale=(1,))])
def test_bad_crops(settings):
    with pytest.raises(ConfigError, match="scale"):
        RandomScaleCrop(**settings)


def test_flips_take_the_labels_along():
    out = RandomFlip(horizontal=1.0)(results())
    assert np.array_equal(out["mask"], results()["mask"][:, ::-1])


@pytest.mark.parametrize("mode", ["global", "whole", "sliding"])
def test_packing_for_evaluation_is_the_tasks_tensor(root, mode):
    data = SemanticDataset(root, "val", [LoadSemantic(), PackSemantic(mode)], TASK)
    packed = data[0]
    sample, image = packed["data_samples"], LoadSemantic()({"pair": data.pairs[0], "classes": data.classes,
                                                            "task": TASK})["image"]
    assert sample.ori_shape == (80, 120) and sample.mode == mode and sample.name == "val0"
    assert tuple(sample.gt_sem_seg.data.shape) == (1, 80, 120)
    expected = image.transpose(2, 0, 1) if mode == "sliding" else TASK.tensor(image, TASK.plan((80, 120), mode))
    assert np.array_equal(packed["inputs"].numpy(), expected)


def test_packing_for_training(root):
    packed = SemanticDataset(root, "train", TRAIN, TASK)[0]
    assert tuple(packed["inputs"].shape) == (3, 64, 96) and str(packed["inputs"].dtype) == "torch.uint8"
    assert tuple(packed["data_samples"].gt_sem_seg.data.shape) == (1, 64, 96)
    with pytest.raises(ConfigError, match="tiles"):
        PackSemantic("tiles")


# Cityscapes

@pytest.fixture
def cityscapes(tmp_path) -> Path:
    pytest.importorskip("mmseg", reason="Cityscapes needs the extra 'seg'")
    for city, count in (("aachen", 2), ("bochum", 1)):
        for index in range(count):
            stem = f"{city}_{index:06}_000019"
            labels = np.random.default_rng(index).integers(0, 34, (32, 64)).astype(np.uint8)
            for folder, name, array in (("leftImg8bit", "leftImg8bit", np.dstack([labels] * 3)),
                                        ("gtFine", "gtFine_labelIds", labels)):
                (tmp_path / folder / "train" / city).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(tmp_path / folder / "train" / city / f"{stem}_{name}.png")
    return tmp_path


def test_cityscapes_as_it_is_unpacked(cityscapes):
    data = CityscapesDataset(cityscapes, "train", [dict(type="LoadSemantic")], SemanticTask())
    assert [p.name for p in data.pairs] == ["aachen_000000_000019", "aachen_000001_000019", "bochum_000000_000019"]
    sample = data[0]
    raw = sample["image"][..., 0]
    expected = np.full(raw.shape, 255)
    for index, value in enumerate(CITYSCAPES_IDS):
        expected[raw == value] = index
    assert np.array_equal(sample["mask"], expected) and len(data.classes.names) == 19


def test_cityscapes_with_train_ids_is_the_same(cityscapes):
    before = [CityscapesDataset(cityscapes, "train", [LoadSemantic()], SemanticTask())[i]["mask"] for i in range(3)]
    for file in sorted((cityscapes / "gtFine").rglob("*_labelIds.png")):
        labels = np.array(Image.open(file))
        train = np.full(labels.shape, 255, np.uint8)
        for index, value in enumerate(CITYSCAPES_IDS):
            train[labels == value] = index
        Image.fromarray(train).save(file.with_name(file.name.replace("labelIds", "labelTrainIds")))
        file.unlink()
    data = CityscapesDataset(cityscapes, "train", [LoadSemantic()], SemanticTask())
    assert all(np.array_equal(data[i]["mask"], before[i]) for i in range(3))


def test_what_is_missing_of_cityscapes_is_said(cityscapes):
    with pytest.raises(DatasetError, match=r"(?s)no folders .*leftImg8bit/val.*Expected"):
        CityscapesDataset(cityscapes, "val", task=SemanticTask())
    for file in (cityscapes / "gtFine").rglob("bochum_*.png"):
        file.unlink()
    with pytest.raises(DatasetError, match=r"bochum.*missing.*gtFine_trainvaltest"):
        CityscapesDataset(cityscapes, "train", task=SemanticTask())
