"""Files of segmentation results: overlay, labels, colours and masks of a picture, and a table of areas of a run."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from dense.errors import ConfigError
from dense.inference.run_table import RunTable
from dense.inference.segmentation import KINDS, SegmentResult
from dense.inference.sinks import Owners
from dense.io import check_folder, encode_picture, write_bytes
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
    _owned: Owners = field(default_factory=Owners, compare=False, repr=False)

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
        self._owned.claim(self.files(path), path)
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


def area_table() -> RunTable:
    """Pixels and share of each class in each picture."""
    return RunTable("table of areas", COLUMNS, _area_rows)


def _area_rows(result: SegmentResult) -> list[dict]:
    height, width = result.labels.shape
    return [{"picture": result.source, "width": width, "height": height, "class": area.name, "pixels": area.pixels,
             "share": f"{area.share:.6f}"} for area in result.areas()]
