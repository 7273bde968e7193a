"""Pictures and their masks: which folders hold them, and which file belongs to which."""

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dense.errors import DatasetError
from dense.io.images import list_images, natural_key

DIS_SPLITS = ("DIS-TR", "DIS-VD", "DIS-TE1", "DIS-TE2", "DIS-TE3", "DIS-TE4")
"""The folders of the DIS5K data set: training, validation, and four test sets from simple to intricate."""

FOLDER_PAIRS = (
    ("im", "gt"),
    ("images", "masks"),
    ("image", "mask"),
    ("img", "mask"),
    ("imgs", "masks"),
    ("JPEGImages", "SegmentationClass"),
)
"""(pictures, masks): the folder names that are recognised, capitals not minded, in order of preference."""


@dataclass(frozen=True)
class Pair:
    """A picture and its mask; `name` is the file name of the picture without suffix."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class PairListing:
    """What `find_pairs` found, each list naturally sorted.

    `ambiguous` maps a name to all its files where several pictures or several masks share it; such names are
    in none of the other lists.
    """

    pairs: list[Pair]
    images_without_mask: list[Path]
    masks_without_image: list[Path]
    ambiguous: dict[str, list[Path]]


def find_pairs(images_dir: str | os.PathLike[str], masks_dir: str | os.PathLike[str]) -> PairListing:
    """Match the pictures in `images_dir` with the masks in `masks_dir` by file name without suffix.

    Suffixes may differ and be in capitals; names must agree in case, but not in how accents are encoded.

    Raises:
        DatasetError: a folder is missing or cannot be read.
    """
    images, masks = _by_stem(list_images(images_dir)), _by_stem(list_images(masks_dir))
    listing = PairListing([], [], [], {})
    for stem in sorted(images.keys() | masks.keys(), key=lambda stem: natural_key(Path(stem))):
        own, other = images.get(stem, []), masks.get(stem, [])
        if len(own) > 1 or len(other) > 1:
            listing.ambiguous[stem] = own + other
        elif not other:
            listing.images_without_mask.append(own[0])
        elif not own:
            listing.masks_without_image.append(other[0])
        else:
            listing.pairs.append(Pair(own[0].stem, own[0], other[0]))
    return listing


def split_folders(root: str | os.PathLike[str], split: str | None = None) -> tuple[Path, Path]:
    """The (pictures, masks) folders of one split, by the names in `FOLDER_PAIRS`.

    Without `split`: folders directly in `root`. With it, tried in this order: in `root/split`; as
    `root/<pictures>/split` and `root/<masks>/split`; and in `root` if that is the folder of the split itself.
    Another split's folders are never taken in its place.

    Raises:
        DatasetError: none is there; the message lists what was looked for.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root}: the data folder does not exist; check the path")
    found = _folder_pair(root) if not split else None
    if split:
        inner = _child(root, split)
        found = _folder_pair(inner) if inner else None
        found = found or _folder_pair(root, split)
        if found is None and root.resolve().name.lower() == split.lower():
            found = _folder_pair(root)
    if found:
        return found
    places = [f"{root / split}/{{A,B}}", f"{root}/{{A,B}}/{split}"] if split else [f"{root}/{{A,B}}"]
    names = ", ".join(f"{image}/{mask}" for image, mask in FOLDER_PAIRS)
    known = find_splits(root)
    remedy = "rename the folders or give their parent"
    if split and known:
        remedy = f"splits that are there: {', '.join(known)}"
    elif split and _folder_pair(root):
        remedy = f"{root} itself holds such a pair: name no split to use it"
    elif known:
        remedy = f"name a split: {', '.join(known)}"
    raise DatasetError(
        f"{root}: no folders with pictures and masks{f' for {split}' if split else ''}; looked for "
        f"{' and '.join(places)} with A/B one of {names}; {remedy}"
    )


def find_splits(root: str | os.PathLike[str]) -> list[str]:
    """The names of the splits in `root` for `split_folders`: those of DIS5K first, in its order.

    Empty if `root` has no split folders (it may hold a pair of folders itself).

    Raises:
        DatasetError: `root` is missing or cannot be read.
    """
    root = Path(root)
    names = [folder.name for folder in _folders(root) if _folder_pair(folder)]
    direct = _folder_pair(root)
    if direct:
        inner = {folder.name for folder in _folders(direct[1])}
        outer = [folder.name for folder in _folders(direct[0])]
        names += [name for name in outer if name in inner and name not in names]
    order = {name: index for index, name in enumerate(DIS_SPLITS)}
    return sorted(names, key=lambda name: (order.get(name, len(order)), natural_key(Path(name))))


def _by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    stems: dict[str, list[Path]] = {}
    for path in paths:
        stems.setdefault(unicodedata.normalize("NFC", path.stem), []).append(path)
    return stems


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        remedy = "check the path and its permissions"
        raise DatasetError(f"{folder}: the folder cannot be read ({error.strerror}); {remedy}") from error


def _child(folder: Path, name: str) -> Path | None:
    """The folder `name` in `folder`; one spelt with other capitals if the exact one is not there."""
    if (folder / name).is_dir():
        return folder / name
    return next((path for path in _folders(folder) if path.name.lower() == name.lower()), None)


def _folder_pair(folder: Path, below: str | None = None) -> tuple[Path, Path] | None:
    for names in FOLDER_PAIRS:
        found = [_child(folder, name) for name in names]
        if below:
            found = [path and _child(path, below) for path in found]
        if found[0] and found[1]:
            return found[0], found[1]
    return None
