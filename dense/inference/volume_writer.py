"""Files of a volume's results: labels, and beside them probabilities, planes, surfaces; volumes in ml of a run."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from dense.errors import ConfigError
from dense.inference.probabilities import FORMATS
from dense.inference.run_table import RunTable
from dense.inference.segment_writer import mask_names
from dense.inference.sinks import Owners
from dense.inference.volumes import VolumeResult
from dense.io import check_folder, write_image
from dense.io.volume_files import NIFTI_SUFFIXES, bare_name

COLUMNS = ("case", "class", "index", "voxels", "ml")


@dataclass(frozen=True)
class VolumeWriter:
    """Writes the labels of each result, NAME.nii.gz, and what is asked for beside them.

    probabilities: 'npz' (NAME.probabilities.npz) or 'nii' (NAME.probabilities.nii.gz), None for none. planes:
    NAME.planes.png. surfaces: 'ply' or 'stl', NAME.surfaces/CLASS.ply of each class that occurs.
    """

    probabilities: str | None = None
    planes: bool = False
    surfaces: str | None = None
    marker: ClassVar[str] = "-labels"
    _owned: Owners = field(default_factory=Owners, compare=False, repr=False)

    def check(self, target: Path) -> None:
        """See ``Writer``."""
        if not target.name.lower().endswith(NIFTI_SUFFIXES):
            raise ConfigError(f"-o {target}: labels are written as .nii.gz or .nii")

    def files(self, target: Path) -> tuple[Path, ...]:
        """See ``dense.inference.sinks.files_of``."""
        kinds = (self.probabilities and f"probabilities{FORMATS[self.probabilities]}", self.planes and "planes.png",
                 self.surfaces and "surfaces")
        return (*(_extra(target, kind) for kind in kinds if kind), target)

    def write(self, result: VolumeResult, path: Path) -> Path:
        """Write all, the labels last: where they are there, so are the others.

        DenseError where a file is another result's of this run.
        """
        self._owned.claim(self.files(path), path)
        if self.probabilities:
            result.probabilities.save(_extra(path, f"probabilities{FORMATS[self.probabilities]}"), result.given)
        if self.planes:
            write_image(_extra(path, "planes.png"), result.planes())
        if self.surfaces:
            write_surfaces(result, _extra(path, "surfaces"), self.surfaces)
        return result.save(path)


def _extra(target: Path, kind: str) -> Path:
    return target.with_name(f"{bare_name(target)}.{kind}")


def write_surfaces(result: VolumeResult, folder: Path, suffix: str) -> None:
    """CLASS.ply or CLASS.stl in the folder, of each class that occurs; those of an earlier run are removed."""
    check_folder(folder)
    names = mask_names(result.classes)
    absent = set(range(1, len(names)))
    for index, surface in result.surfaces():
        absent.remove(index)
        surface.save(folder / f"{names[index]}.{suffix}", result.classes[index])
    for index in absent:
        (folder / f"{names[index]}.{suffix}").unlink(missing_ok=True)


def volume_table() -> RunTable:
    """Voxels and millilitres of each class but the background in each case."""
    return RunTable("table of volumes", COLUMNS, lambda result: [
        {"case": result.source, "class": e.name, "index": e.index, "voxels": e.voxels, "ml": f"{e.ml:.6f}"}
        for e in result.extents()])
