"""Which volumes a data set has: nnU-Net's folders (versions 1 and 2) or a list, their classes, and folds."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dense.errors import DatasetError
from dense.io.volume_files import bare_name, list_volumes

LAYOUT = """\
  {root}/
    dataset.json                     nnU-Net's: "channel_names", "labels" ("background": 0, "liver": 1 ...)
    imagesTr/CASE_0000.nii.gz        a file for each channel
    labelsTr/CASE.nii.gz
    splits_final.json                nnU-Net's, if there is one: which cases are validated on, fold by fold"""


@dataclass(frozen=True)
class VolumeCase:
    """name; images: a file for each channel; label: a file, None where there is none."""

    name: str
    images: tuple[Path, ...]
    label: Path | None


@dataclass(frozen=True)
class VolumeClasses:
    """channels, classes: names. values: what the label files hold for each class. ignore: what they hold where nobody
    knows the class, or None. origin: for messages."""

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[int, ...]
    ignore: int | None = None
    origin: str = "the task's classes"


def read_json(path: Path) -> dict | list:
    """A JSON file; DatasetError naming it and the reason."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}). Remedy: mend or replace it") from None


def read_dataset_json(path: Path) -> VolumeClasses:
    """Channels and classes of nnU-Net's dataset.json, of version 1 or 2; the background first, then by value."""
    values = read_json(path)
    if not isinstance(values, Mapping) or not isinstance(values.get("labels"), Mapping):
        raise DatasetError(f"{path}: holds no \"labels\". Remedy: write it as nnU-Net's documents describe")
    labels = dict(values["labels"])
    if all(str(k).isdigit() for k in labels):  # version 1: "0": "background"
        labels = {name: int(value) for value, name in labels.items()}
    for name, value in labels.items():
        if isinstance(value, list | tuple):
            raise DatasetError(f"{path}: the label {name!r} is a region, several values as one class, which is not "
                               "supported. Remedy: give each class a value of its own")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise DatasetError(f"{path}: the label {name!r} has the value {value!r}. Remedy: whole numbers from 0 on")
    ignore = labels.pop("ignore", None)
    ordered = sorted(labels.items(), key=lambda item: item[1])
    numbers = [value for _, value in ordered]
    if len(set(numbers)) < len(numbers) or len(numbers) < 2 or numbers[0] != 0:
        raise DatasetError(f"{path}: the labels' values are {numbers}. Remedy: 0 for the background, then a different "
                           "number for each class")
    channels = values.get("channel_names", values.get("modality"))
    if not isinstance(channels, Mapping) or not channels:
        raise DatasetError(f"{path}: holds no \"channel_names\". Remedy: \"channel_names\": {{\"0\": \"CT\"}}")
    names = tuple(str(channels[k]) for k in sorted(channels, key=int))
    return VolumeClasses(names, tuple(name for name, _ in ordered), tuple(numbers), ignore, str(path))


def find_cases(root: Path, part: str = "Tr", channels: int = 1) -> list[VolumeCase]:
    """Cases of ``imagesTr`` and ``labelsTr`` (or Ts), by name. DatasetError for images without labels, the other way
    round, and missing channels."""
    images, labels = root / f"images{part}", root / f"labels{part}"
    if not images.is_dir() or not labels.is_dir():
        raise DatasetError(f"{root}: there are no folders {images.name} and {labels.name}. Expected there:\n"
                           + LAYOUT.format(root=root))
    found: dict[str, dict[int, Path]] = {}
    for path in list_volumes(images):
        name, _, number = bare_name(path).rpartition("_")
        if not name or len(number) != 4 or not number.isdigit():
            raise DatasetError(f"{path}: the name does not end with the channel. Remedy: CASE_0000.nii.gz for the "
                               "first")
        found.setdefault(name, {})[int(number)] = path
    truths = {bare_name(path): path for path in list_volumes(labels)}
    if lone := sorted(found.keys() ^ truths.keys()):
        what = "no labels" if lone[0] in found else "no image"
        raise DatasetError(f"{root}: {lone[0]} has {what} in {labels if lone[0] in found else images}, nor have "
                           f"{len(lone) - 1} more a partner. Remedy: complete or remove them")
    cases = []
    for name in sorted(found):
        if sorted(found[name]) != list(range(channels)):
            raise DatasetError(f"{images}: {name} has the channels {sorted(found[name])}, but {channels} are expected. "
                               f"Remedy: {name}_0000 to {name}_{channels - 1:04}, and no others")
        cases.append(VolumeCase(name, tuple(found[name][c] for c in range(channels)), truths[name]))
    return cases


def read_list(source: str | Path | Sequence[Mapping], root: Path, channels: int = 1) -> list[VolumeCase]:
    """Cases of a list of {'image': file or files, 'label': file}, or of a JSON file of one; relative to ``root``.

    The name of a case is 'name', or that of its label file.
    """
    rows = read_json(Path(source)) if isinstance(source, str | Path) else source
    origin = source if isinstance(source, str | Path) else "the list of cases"
    if not isinstance(rows, Sequence) or not all(isinstance(r, Mapping) and "image" in r for r in rows):
        raise DatasetError(f"{origin}: is no list of cases. Remedy: [{{\"image\": \"a.nii.gz\", \"label\": "
                           "\"a_seg.nii.gz\"}, ...]")
    cases = []
    for row in rows:
        files = [row["image"]] if isinstance(row["image"], str | Path) else list(row["image"])
        if len(files) not in (1, channels):
            raise DatasetError(f"{origin}: {files[0]} and others are {len(files)} files, but {channels} channels are "
                               "expected. Remedy: a file for each, or one that holds all")
        label = root / row["label"] if row.get("label") else None
        cases.append(VolumeCase(str(row.get("name") or bare_name(label or files[0])),
                                tuple(root / f for f in files), label))
    names = [c.name for c in cases]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise DatasetError(f"{origin}: {twice[0]} is there twice. Remedy: give cases different names with \"name\"")
    return cases


def split_cases(cases: Sequence[VolumeCase], split: str | None, fold: int = 0, folds: int = 5,
                listing: Path | None = None) -> list[VolumeCase]:
    """Cases of 'train' or 'val' of a fold; of None, all.

    listing: nnU-Net's splits_final.json, followed where it exists. Else folds are nnU-Net's own: names in order are
    shuffled by numpy's RandomState(12345) and cut into ``folds`` parts, as sklearn's KFold does.
    """
    if split is None:
        return list(cases)
    if split not in ("train", "val"):
        raise DatasetError(f"no split is called {split!r}; there are 'train', 'val', 'test' and None, all cases")
    by_name = {c.name: c for c in cases}
    if listing is not None and listing.is_file():
        rows = read_json(listing)
        if not isinstance(rows, list) or not 0 <= fold < len(rows):
            raise DatasetError(f"{listing}: has no fold {fold}. Remedy: fold=0 to {len(rows) - 1}")
        names = rows[fold].get(split, []) if isinstance(rows[fold], Mapping) else []
        if missing := [n for n in names if n not in by_name]:
            raise DatasetError(f"{listing}: {missing[0]}, of fold {fold}, is not among the cases, nor are "
                               f"{len(missing) - 1} more. Remedy: correct the names, or remove the file")
        return [by_name[n] for n in names]
    if not 0 <= fold < folds:
        raise DatasetError(f"there is no fold {fold} of {folds}. Remedy: fold=0 to {folds - 1}")
    if len(cases) < folds:
        raise DatasetError(f"{len(cases)} cases cannot be cut into {folds} folds. Remedy: folds={max(2, len(cases))}, "
                           "or a splits_final.json beside dataset.json that says which are validated on")
    names = sorted(by_name)
    order = np.arange(len(names))
    np.random.RandomState(12345).shuffle(order)
    held_out = {names[i] for i in np.array_split(order, folds)[fold]}
    return [by_name[n] for n in names if (n in held_out) == (split == "val")]
