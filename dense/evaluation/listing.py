"""Which prediction belongs to which ground truth, for one or several folders of predictions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dense.errors import ConfigError, DatasetError
from dense.io import find_pairs, list_images, split_folders

KINDS = {
    "missing": "without a prediction",
    "unreadable": "unreadable",
    "size": "of another size",
    "ambiguous": "with several files of one name",
    "failed": "that could not be evaluated",
    "extra": "predictions without a ground truth",
}
"""Kinds of problems, and how a count of several reads."""


def counted(count: int, kind: str, more: str = "") -> str:
    """``3 unreadable``, ``1 prediction without a ground truth``; ``more`` goes behind the number."""
    words = KINDS[kind].replace("predictions", "prediction") if count == 1 else KINDS[kind]
    return f"{count} {more}{words}"


class Problem(NamedTuple):
    """An image that is left out, and why; ``kind`` is one of ``KINDS``."""

    name: str
    kind: str
    detail: str


@dataclass
class Method:
    """A folder of predictions.

    Attributes:
        name: in tables.
        key: the name as a file name.
        folder: where the predictions are.
        pairs: (prediction, ground truth) by name, naturally sorted.
        problems: what cannot be evaluated.
    """

    name: str
    key: str
    folder: Path
    pairs: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def method_key(name: str) -> str:
    """A method's name as the name of a folder."""
    return re.sub(r"[^\w.+ -]+", "_", name).strip(". ") or "method"


def truth_folders(root: Path, split: str | None = None) -> tuple[Path, Path | None]:
    """The folder of the ground truths, and that of their pictures if it can be told.

    Args:
        root: the folder of the masks themselves, or that of a data set (``im`` and ``gt`` inside).
        split: of the data set (``DIS-VD``).

    Raises:
        DatasetError: there are none; the message says what was looked for.
    """
    if split is None and root.is_dir() and list_images(root):
        try:
            images, masks = split_folders(root.parent)
        except DatasetError:
            return root, None
        return root, images if masks.resolve() == root.resolve() else None
    if not root.exists():
        raise DatasetError(f"{root}: the folder of the ground truths does not exist; check the path")
    try:
        images, masks = split_folders(root, split)
    except DatasetError as error:
        if split is not None or not root.is_dir():
            raise
        raise DatasetError(f"{error}; masks directly in {root} were looked for too, and there are none") from error
    return masks, images


def list_methods(folders: Sequence[Path], truths: Path, names: Sequence[str] | None = None) -> list[Method]:
    """The methods, with their pairs and what is missing.

    Args:
        folders: of the predictions, one a method.
        truths: the folder of the ground truths.
        names: of the methods; by default the shortest ends of the folders' paths that differ.

    Raises:
        ConfigError: names that are not one for each folder, or not different.
        DatasetError: a folder that is missing, or holds no prediction of any of the ground truths.
    """
    names = list(names) if names else _names(folders)
    if len(names) != len(folders) or len(set(names)) != len(names):
        raise ConfigError(f"{len(folders)} folders of predictions, but the names {', '.join(names)}: "
                          "give a name of its own to each")
    methods, keys = [], set()
    for name, folder in zip(names, folders, strict=True):
        base = key = method_key(name)
        number = 1
        while key.lower() in keys:
            number += 1
            key = f"{base}_{number}"
        keys.add(key.lower())
        methods.append(_listed(Method(name, key, folder), truths))
    return methods


def _listed(method: Method, truths: Path) -> Method:
    listing = find_pairs(method.folder, truths)
    method.pairs = {pair.name: (pair.image, pair.mask) for pair in listing.pairs}
    method.problems = [
        *(Problem(path.stem, "missing", f"{path}: no prediction of this name in {method.folder}")
          for path in listing.masks_without_image),
        *(Problem(name, "ambiguous", f"{', '.join(map(str, files))}: which ones are meant?")
          for name, files in listing.ambiguous.items()),
        *(Problem(path.stem, "extra", f"{path}: no ground truth of this name in {truths}")
          for path in listing.images_without_mask),
    ]  # fmt: skip
    if method.pairs:
        return method
    there = [len(list_images(folder)) for folder in (method.folder, truths)]
    if not there[0]:
        inner = sorted(path.name for path in method.folder.iterdir() if path.is_dir())
        hint = f"; give one of the folders in it: {', '.join(inner[:6])}" if inner else "; check the path"
        raise DatasetError(f"{method.folder}: no predictions (pictures) in this folder{hint}")
    if not there[1]:
        raise DatasetError(f"{truths}: no ground truths (pictures) in this folder; check the path")
    examples = f"{list_images(method.folder)[0].name} and {list_images(truths)[0].name}"
    raise DatasetError(
        f"{method.folder}: none of its {there[0]} pictures has the name of one of the {there[1]} ground truths "
        f"in {truths} ({examples}); a prediction needs the name of its ground truth, the suffix may differ"
    )


def _names(folders: Sequence[Path]) -> list[str]:
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"{folders[0]}: the same folder of predictions is given twice; give each one once")
