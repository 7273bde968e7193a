"""What is wrong with one label picture, and with the labels of a whole data set."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dense.errors import ImageError
from dense.io.classes import ClassList
from dense.io.images import MaskFormError
from dense.io.labels import LabelValueError, read_labels

KINDS: dict[str, tuple[str, str]] = {
    "value without class": ("error", "correct the labels, or name the value in the class file, as a class or 'ignore'"),
    "labels of another form": ("error", "save them as PNG, 8-bit grey or palette; or give the class file colours"),
    "class never occurs": ("warning", "add pictures that show it, or take it off the class file; it cannot be learned"),
    "nothing labelled": ("warning", "remove the pair, or label it"),
}
"""Kind of finding: (level, remedy), as ``dense.datasets.check.KINDS``."""


def inspect_labels(path: str, classes: ClassList) -> tuple[np.ndarray | None, list[tuple[str, str]], dict[int, int]]:
    """Labels of a file (None if it cannot be read), findings (kind, detail), and pixels by index of the class."""
    ignore = 255 if len(classes.ids) < 255 else 65535
    try:
        labels = read_labels(path, classes, ignore)
    except ImageError as error:
        kind = ("value without class" if isinstance(error, LabelValueError) else
                "labels of another form" if isinstance(error, MaskFormError) else "unreadable")
        return None, [(kind, str(error).removeprefix(f"{path}: "))], {}
    values, counts = np.unique(labels, return_counts=True)
    pixels = {int(v): int(n) for v, n in zip(values, counts, strict=True) if v != ignore}
    return labels, [] if pixels else [("nothing labelled", "every pixel is ignored")], pixels


def absent_classes(classes: ClassList, pixels: Iterable[Mapping[int, int]]) -> list[str]:
    """Classes (id and name) that none of the pictures has."""
    seen = {index for counts in pixels for index in counts}
    return [f"{i} {name}" for index, (i, name) in enumerate(zip(classes.ids, classes.names, strict=True))
            if index not in seen]
