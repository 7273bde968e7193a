"""Results of volumetric segmentation: the class of every voxel, volumes in ml, planes, surfaces, probabilities."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from dense.inference.probabilities import Probabilities
from dense.inference.results import Result, register_result
from dense.inference.surfaces import Surface, surface_of
from dense.io import write_image
from dense.io.volume import Volume, write_labels
from dense.tasks import volume_pictures as pictures
from dense.tasks.volume import VolumeTask


@dataclass(frozen=True)
class Extent:
    """Of one class in one volume. index: its value in the labels; ml: millilitres."""

    name: str
    index: int
    voxels: int
    ml: float


@register_result("volume")
@dataclass(frozen=True, kw_only=True)
class VolumeResult(Result):
    """Classes of a volume. volume: index of each voxel's class, uint8 or uint16 (Z, Y, X), on the grid of the file.

    given: what was segmented. task: what the classes are called, and their colours. probabilities: of the classes,
    where they were asked for. image: the three planes without the labels, to look at.
    """

    volume: np.ndarray
    given: Volume
    task: VolumeTask
    probabilities: Probabilities | None = field(default=None, repr=False)

    def __post_init__(self):
        if self.volume.shape != self.given.shape:
            raise ValueError(f"labels {self.volume.shape} of a volume {self.given.shape}")

    @classmethod
    def of(cls, task: VolumeTask, picture: Volume, answer: np.ndarray | tuple[np.ndarray, Probabilities], source: str,
           seconds: float) -> Self:
        """See ``Result.of``; picture: the volume; the answer is the labels, or these and the probabilities."""
        labels, probabilities = answer if isinstance(answer, tuple) else (answer, None)
        at = pictures.largest_sections(labels)
        image = pictures.planes_picture(pictures.three_planes(picture.values[0], None, picture.spacing, picture.affine,
                                                              height=320, at=at))
        return cls(image, source, seconds, volume=labels, given=picture, task=task, probabilities=probabilities)

    @property
    def affine(self) -> np.ndarray | None:
        """float64 (4, 4), from an index (x, y, z) to RAS mm; None where the source has none."""
        return self.given.affine

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm along z, y, x."""
        return self.given.spacing

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of their indices, the background first."""
        return self.task.classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """RGB colour of each class."""
        return self.task.palette

    def extents(self) -> list[Extent]:
        """Voxels and millilitres of every class but the background, also of those that do not occur."""
        counts = np.zeros(len(self.classes), np.int64)
        for plane in self.volume:  # bincount makes eight bytes of each voxel
            counts += np.bincount(plane.ravel(), minlength=len(counts))[:len(counts)]
        return [Extent(name, index, int(counts[index]), float(counts[index] * self.given.voxel_ml))
                for index, name in enumerate(self.classes) if index]

    def ml(self) -> dict[str, float]:
        """Millilitres of every class but the background."""
        return {extent.name: extent.ml for extent in self.extents()}

    def mask(self, which: int | str) -> np.ndarray:
        """bool (Z, Y, X): where a class is, by index or name. ValueError if there is no such class."""
        return self.volume == self.index_of(which)

    def index_of(self, which: int | str) -> int:
        """The index of a class, by index or name. ValueError if there is no such class."""
        if isinstance(which, str):
            if which not in self.classes:
                raise ValueError(f"no class is called {which!r}; the classes are {', '.join(self.classes)}")
            which = self.classes.index(which)
        elif not 0 <= which < len(self.classes):
            raise ValueError(f"class {which}: the classes are 0 to {len(self.classes) - 1}")
        return which

    def surface(self, which: int | str, smooth: int = 15) -> Surface | None:
        """The surface of a class in mm, None where it does not occur; see ``dense.inference.surfaces``."""
        index = self.index_of(which)
        return dict(self.surfaces([index], smooth)).get(index)

    def surfaces(self, which: Sequence[int] | None = None, smooth: int = 15) -> Iterator[tuple[int, Surface]]:
        """(index, surface) of classes that occur, one after the other: those given, or all but the background."""
        from scipy.ndimage import find_objects

        boxes = find_objects(self.volume)  # of all classes in one pass
        for index in range(1, len(self.classes)) if which is None else which:
            box = boxes[index - 1] if 0 < index <= len(boxes) else None if index else (slice(0, None),) * 3
            if box is not None:
                start = tuple(b.start for b in box)
                surface = surface_of(self.volume[box] == index, self.spacing, self.affine, smooth, start)
                if surface is not None:
                    yield index, surface

    def planes(self, height: int = 480, opacity: float = 0.45, at: Sequence[int] | None = None,
               legend: bool = True) -> np.ndarray:
        """uint8 RGB (h, w, 3): an axial, a coronal and a sagittal plane with the classes over it.

        height: of the planes; below them, with ``legend``, the classes that occur and their ml. at: indices (z, y, x)
        of the planes, those through the largest sections of what was found by default. Right is on the left, as
        radiologists have it; letters say so where the affine is known.
        """
        panels = self._panels(height, opacity, at)
        entries = [(f"{e.name} {e.ml:.4g} ml", self.palette[e.index]) for e in self.extents() if e.voxels]
        return pictures.planes_picture(panels, entries if legend else ())

    def _panels(self, height: int, opacity: float = 0.45, at: Sequence[int] | None = None) -> list[np.ndarray]:
        return pictures.three_planes(self.given.values[0], self.volume, self.spacing, self.affine, self.palette, height,
                                     opacity, tuple(at) if at is not None else None)

    def plot(self, height: int = 480) -> np.ndarray:
        """See ``planes``."""
        return self.planes(height)

    def panels(self) -> list[np.ndarray]:
        """The axial, the coronal and the sagittal plane, with the classes over them."""
        return self._panels(320)

    def to_dict(self) -> dict:
        """Plain values (JSON): source; voxels along x, y, z; spacing in mm along x, y, z; orientation, where x, y, z
        grow to ('LPS'; None where that is not known); classes with index, voxels and ml; seconds."""
        z, y, x = self.volume.shape
        return {"source": self.source, "size": [x, y, z], "spacing": [round(s, 6) for s in self.spacing[::-1]],
                "orientation": pictures.orientation(self.affine).code or None, "seconds": round(self.seconds, 4),
                "classes": [{"class": e.name, "index": e.index, "voxels": e.voxels, "ml": round(e.ml, 6),
                             "colour": list(self.palette[e.index])} for e in self.extents()]}

    def save(self, path: str | Path) -> Path:
        """Write the labels, .nii.gz or .nii, in the geometry of the source; or, as .png, the planes.

        Raises ImageError for other suffixes, DenseError where the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() == ".png":
            write_image(path, self.planes())
            return path
        return write_labels(path, self.volume, self.given)
