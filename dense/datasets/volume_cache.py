"""Volumes as the network sees them, prepared once and kept on disk as memory maps."""
from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dense.datasets.volume_cases import VolumeCase, VolumeClasses
from dense.errors import DatasetError, DenseError, ImageError
from dense.io.cache import cache_folder
from dense.io.lock import file_lock
from dense.io.volume import Volume, difference, read_volume
from dense.tasks.volume import VolumeTask
from dense.tasks.volume_prepare import Prepared, input_resampling
from dense.tasks.volume_resample import Resampling, resample

# raise when preparing changes its result: older entries are then no longer found
VERSION = 1
PREPARING = ("spacing", "transpose", "channels", "normalisation", "masked", "intensities", "crop", "generation",
             "order", "order_z", "anisotropy")
"""Of a task, what its prepared volumes depend on."""
MOST_PLACES = 10_000  # voxels of each class that are remembered, as in nnU-Net
IGNORED = -1
TIE = np.float32(1e-5)  # shares that differ by less are equal


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """values: float32 (C, z, y, x), and labels: int16 (z, y, x), indices of the task's classes, -1 where nobody knows;
    both read-only memory maps. places: by class, int32 (n, 3), some of its voxels, the background's left out."""

    values: np.ndarray
    labels: np.ndarray
    places: dict[int, np.ndarray]


def read_case(case: VolumeCase, task: VolumeTask, classes: VolumeClasses) -> tuple[Volume, np.ndarray]:
    """A case's volume, and int16 labels (Z, Y, X) of the same grid: indices of classes, -1 where nobody knows.

    ImageError for files that cannot be read, NaN, another grid of the labels, and values that are no class.
    """
    volume = read_volume(case.images if len(case.images) > 1 else case.images[0])
    if len(volume.values) != len(task.channels):
        raise ImageError(f"{case.images[0]}: has {len(volume.values)} channels, but the task takes "
                         f"{len(task.channels)} ({', '.join(task.channels)}). Remedy: give these, in this order")
    truth = read_volume(case.label)
    if problem := difference(volume, truth):
        raise ImageError(f"{case.label}: {problem}. Remedy: labels and image must lie voxel on voxel: resample one "
                         "onto the other, or look whether they belong together")
    if len(truth.values) != 1:
        raise ImageError(f"{case.label}: has {len(truth.values)} channels, labels have one. Remedy: one number a voxel")
    return volume, index_labels(truth.values[0], classes, case.label)


def index_labels(values: np.ndarray, classes: VolumeClasses, name: object) -> np.ndarray:
    """int16 indices of classes of stored values (Z, Y, X), -1 for those to ignore; ImageError for others."""
    known = {value: index for index, value in enumerate(classes.values)}
    if classes.ignore is not None:
        known[classes.ignore] = IGNORED
    labels = np.empty(values.shape, np.int16)
    strange: dict[float, int] = {}
    for part, out in zip(values, labels, strict=True):
        present, inverse, counts = np.unique(part, return_inverse=True, return_counts=True)
        for value, count in zip(present.tolist(), counts.tolist(), strict=True):
            if value not in known:
                strange[value] = strange.get(value, 0) + count
        out[...] = np.array([known.get(v, 0) for v in present.tolist()], np.int16)[inverse].reshape(part.shape)
    if strange:
        some = ", ".join(f"{v:g} ({n} voxels)" for v, n in sorted(strange.items())[:8])
        raise ImageError(f"{name}: has values that are no class: {some}; {classes.origin} has "
                         f"{', '.join(map(str, known))}. Remedy: correct the labels, or name the value")
    return labels


def prepare_labels(labels: np.ndarray, prepared: Prepared, task: VolumeTask) -> np.ndarray:
    """int16 labels (Z, Y, X) of a file on the network's grid, as nnU-Net resamples them: the class whose share of a
    voxel, interpolated linearly, is largest; where two are equal, the nearest voxel's."""
    part = labels.transpose(task.transpose)[prepared.crop.slices]
    values = input_resampling(task, prepared.crop.size, prepared.spacing)
    plan = Resampling(values.source, values.target, 1, 0, values.coarse)
    if plan.none:
        return np.ascontiguousarray(part)
    out, best, share, nearest = (np.zeros(plan.target, t) for t in (np.int16, np.float32, np.float32, np.float32))
    resample(lambda a, b: part[a:b].astype(np.float32), replace(plan, order=0), nearest)
    for index in np.unique(part):
        resample(lambda a, b, index=index: (part[a:b] == index).astype(np.float32), plan, share)
        share += TIE * (nearest == index)
        larger = share > best
        out[larger] = index
        np.maximum(best, share, out=best)
    return out


def find_places(labels: np.ndarray, classes: int) -> dict[int, np.ndarray]:
    """Voxels of each class but the background, int32 (n, 3): all, or 10 000 drawn from them."""
    rng = np.random.default_rng(1234)
    flat, places = labels.reshape(-1), {}
    order = np.flatnonzero(flat > 0)
    values = flat[order]
    for index in range(1, classes):
        own = order[values == index]
        if len(own) > MOST_PLACES:
            own = np.sort(rng.choice(own, MOST_PLACES, replace=False))
        if len(own):
            places[index] = np.stack(np.unravel_index(own, labels.shape), 1).astype(np.int32)
    return places


class VolumeCache:
    """Prepared cases on disk, under a hash of (content of the files, what the task does to them, version).

    Files are read and hashed once a process (about 1 ms per MB). Entries are never stale and never removed: the folder
    may be deleted when nothing trains.
    """

    def __init__(self, task: VolumeTask, classes: VolumeClasses, folder: str | Path | None = None):
        self.task, self.classes = task, classes
        self.folder = Path(folder) if folder else cache_folder() / "volumes"
        self._entries: dict[str, Path] = {}

    def get(self, case: VolumeCase) -> PreparedCase:
        """The prepared case; made, by one process while others wait, if it is not there.

        Raises what ``read_case`` raises, and DenseError where the cache cannot be written.
        """
        entry = self._entries.get(case.name) or self.folder / (name := self._key(case))[:2] / name
        self._entries[case.name] = entry
        if not entry.is_dir():
            with file_lock(entry.with_suffix(".lock")):
                if not entry.is_dir():
                    self._make(case, entry)
        try:
            arrays = {p.stem: np.load(p, mmap_mode="r", allow_pickle=False) for p in entry.glob("*.npy")}
            places = {int(k.removeprefix("places_")): v for k, v in arrays.items() if k.startswith("places_")}
            return PreparedCase(arrays["values"], arrays["labels"], dict(sorted(places.items())))
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(f"{entry}: the prepared volume of {case.name} is damaged ({error}). "
                               "Remedy: delete that folder; it is made again") from None

    def _key(self, case: VolumeCase) -> str:
        task = self.task.to_dict()
        settings = [VERSION, {k: task[k] for k in PREPARING}, self.classes.values, self.classes.ignore]
        key = hashlib.blake2b(json.dumps(settings).encode(), digest_size=20, person=b"dense")
        for path in (*case.images, case.label):
            try:
                with open(path, "rb") as file:
                    key.update(hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise ImageError(f"{path}: cannot be read ({error.strerror or error}). Remedy: check the path and its "
                                 "permissions") from None
        return key.hexdigest()

    def _make(self, case: VolumeCase, entry: Path) -> None:
        volume, labels = read_case(case, self.task, self.classes)
        prepared = self.task.inputs(volume)
        labels = prepare_labels(labels, prepared, self.task)
        arrays = {"values": prepared.values, "labels": labels}
        arrays |= {f"places_{k}": v for k, v in find_places(labels, len(self.classes.values)).items()}
        try:
            temporary = Path(tempfile.mkdtemp(prefix=f"{entry.name}.", dir=entry.parent))
            try:
                for name, array in arrays.items():
                    np.save(temporary / f"{name}.npy", array, allow_pickle=False)
                temporary.rename(entry)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
        except OSError as error:
            raise DenseError(f"{entry}: the prepared volume of {case.name} cannot be written "
                             f"({error.strerror or error}). Remedy: free space there, or name another folder with "
                             "DENSE_CACHE") from error


def prepare_all(cache: VolumeCache, cases: Sequence[VolumeCase], say) -> None:
    """Prepare all cases; DatasetError at the end that lists those that could not be. say(done, total)."""
    problems = []
    for number, case in enumerate(cases, start=1):
        try:
            cache.get(case)
        except ImageError as error:
            problems.append(str(error))
        say(number, len(cases))
    if problems:
        rest = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DatasetError(f"{len(problems)} of {len(cases)} cases cannot be used:\n" + "\n".join(problems[:10]) + rest)
