"""Files of segmentation results: overlay, labels, colours and masks of a picture, and a table of areas of a run."""
from __future__ import annotations

import csv
import io
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from dense.errors import ConfigError, DenseError
from dense.inference.jobs import Job
from dense.inference.segmentation import KINDS, SegmentResult
from dense.inference.sources import Item
from dense.io import check_folder, encode_picture, write_bytes, write_text
from dense.io.images import natural_key
from dense.io.picture import format_of

WHAT = (*KINDS, "masks")
COLUMNS = ("picture", "width", "height", "class", "pixels", "share")


@dataclass(frozen=True)
class SegmentWriter:
    """Writes one or several kinds of files for each result.

    kinds: of ``WHAT``. The first is the result itself, NAME.png; of 'masks', which are several, NAME is a folder beside
    it, hence never the first. Others have the kind in their name: NAME.labels.png, NAME.overlay.png, and NAME.masks/,
    in it CLASS.png (0 and 255) of each class that occurs.
    opacity, legend: of overlays; see ``SegmentResult``.
    """

    kinds: tuple[str, ...] = ("overlay",)
    opacity: float = 0.5
    legend: bool = True
    marker: ClassVar[str] = "-segment"
    transparent: ClassVar[bool] = False
    _owners: dict[str, Path] = field(default_factory=dict, compare=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def __post_init__(self):
        if strange := [k for k in self.kinds if k not in WHAT]:
            raise ConfigError(f"--what {','.join(self.kinds)}: {strange[0]!r} is none of {', '.join(WHAT)}")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ConfigError(f"--what {','.join(self.kinds)}: give each kind once")
        if self.kinds[0] == "masks":
            raise ConfigError("--what masks: is a folder of files for each picture. Remedy: --what labels,masks, which "
                              "writes the labels as the result and the masks beside them")

    def check(self, target: Path) -> None:
        """See ``Writer``."""
        self.check_format(target.suffix, f"-o {target}")

    def check_format(self, suffix: str, words: str) -> None:
        """ConfigError if results cannot be written with this suffix; words: what asked for it."""
        if self.kinds[0] == "labels" and format_of(f"x{suffix}") != "PNG":
            raise ConfigError(f"{words}: labels are written as .png, whose values stay what they are")
        if self.kinds[0] == "colours" and format_of(f"x{suffix}") == "JPEG":
            raise ConfigError(f"{words}: JPEG changes the colours, which mean classes; write .png")

    def files(self, target: Path) -> tuple[Path, ...]:
        """See ``dense.inference.sinks.files_of``."""
        return (*(self._extra(target, kind) for kind in self.kinds[1:]), target)

    @staticmethod
    def _extra(target: Path, kind: str) -> Path:
        suffix = "" if kind == "masks" else ".png"
        return target.with_name(f"{target.stem}.{kind}{suffix}")

    def write(self, result: SegmentResult, path: Path) -> Path:
        """Write all kinds, the result itself last: where that is there, so are the others.

        DenseError where a file is another result's of this run.
        """
        for file in self.files(path):
            with self._lock:
                owner = self._owners.setdefault(os.path.abspath(file).casefold(), path)
            if owner != path:
                raise DenseError(f"{file}: belongs to {owner} already. Remedy: process them in several output folders")
        for kind in self.kinds[1:]:
            if kind == "masks":
                write_masks(result, self._extra(path, kind))
            else:
                result.save(self._extra(path, kind), kind, self.opacity, self.legend)
        return result.save(path, self.kinds[0], self.opacity, self.legend)

    def encode(self, result: SegmentResult, suffix: str) -> bytes:
        """The result itself, as ``write`` would write it into a file of this suffix."""
        return result.encode(suffix, self.kinds[0], self.opacity, self.legend)

    def frame(self, result: SegmentResult) -> np.ndarray:
        """uint8 RGB (H, W, 3); the legend, below, is of all classes, so that all frames have one size."""
        if self.kinds[0] == "colours":
            return result.colours()
        return result.overlay(self.opacity, self.legend, all_classes=True)


def write_masks(result: SegmentResult, folder: Path) -> None:
    """CLASS.png, 255 where the class is and else 0, of each class that occurs; those of an earlier run are removed."""
    names = mask_names(result.classes)
    present = set(result.present)
    check_folder(folder)
    for index, name in enumerate(names):
        file = folder / f"{name}.png"
        if index in present:
            write_bytes(file, encode_picture(result.mask(index).view(np.uint8) * 255, "PNG", name=str(file)))
        else:
            file.unlink(missing_ok=True)


def mask_names(classes: Sequence[str]) -> list[str]:
    """File names of classes: what file systems take, none twice."""
    names = [re.sub(r"[^\w.+-]+", "_", name).strip("_.") or f"class{i}" for i, name in enumerate(classes)]
    folded = [name.casefold() for name in names]
    return [f"{name}-{i}" if folded.count(name.casefold()) > 1 else name for i, name in enumerate(names)]


class AreaTable:
    """Pixels and share of each class in each picture; safe to add to from several threads."""

    def __init__(self, kept: Sequence[dict] = ()):
        self._rows: dict[str, list[dict]] = {}
        for row in kept:
            self._rows.setdefault(row["picture"], []).append(row)
        self._lock = threading.Lock()

    def add(self, result: SegmentResult) -> None:
        """The rows of a picture, which take the place of earlier ones."""
        height, width = result.labels.shape
        rows = [{"picture": result.source, "width": width, "height": height, "class": area.name, "pixels": area.pixels,
                 "share": f"{area.share:.6f}"} for area in result.areas()]
        with self._lock:
            self._rows[result.source] = rows

    def write(self, path: Path) -> None:
        """Write the CSV, ordered by name. Raises DenseError."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        with self._lock:
            for name in sorted(self._rows, key=lambda n: natural_key(Path(n))):
                writer.writerows(self._rows[name])
        write_text(path, text.getvalue())


def open_areas(path: Path, inputs: Sequence[str], output: str | None, keep: bool, replace: bool) -> AreaTable:
    """The table of a run that is to be written to ``path``.

    keep: rows of a table that is there stay, but for pictures that are done anew; replace: it is replaced.
    Raises DenseError, before anything is done, where it cannot be written, is an input or the result, is there and it
    is not said what becomes of it, or is none of ours.
    """
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"--areas {path}: a table is a .csv")
    if os.path.realpath(path) in {os.path.realpath(p) for p in (*inputs, *([output] if output else []))}:
        raise ConfigError(f"--areas {path}: is an input or the result. Remedy: another name")
    kept: list[dict] = []
    if path.exists():
        if not (keep or replace):
            raise DenseError(f"{path}: is there already. Remedy: another name, --overwrite, or --skip-existing, which "
                             "adds to it")
        kept = read_areas(path)
    check_folder(path.resolve().parent)
    return AreaTable(kept if keep else ())


def add_areas(job: Job, table: AreaTable, path: Path) -> None:
    """Make the job collect areas and write them when it ends."""
    write, finish = job.write, job.finish

    def write_and_add(result: SegmentResult, item: Item) -> object:
        outcome = write(result, item)
        table.add(result)
        return outcome

    def finish_all() -> None:
        try:
            if finish:
                finish()
        finally:
            table.write(path)

    job.write, job.finish = write_and_add, finish_all


def read_areas(path: Path) -> list[dict]:
    """Rows of a table that was written here. DenseError for anything else."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) == COLUMNS:
                return list(rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DenseError(f"{path}: cannot be read ({error}). Remedy: another name") from error
    raise DenseError(f"{path}: is there and is no table of areas. Remedy: another name")


