"""Find what is wrong with a segmentation data set before hours of training do.

`check_dataset` decodes every picture and mask once, in parallel, and compares the pictures of all splits.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dense.datasets.check_labels import KINDS as LABEL_KINDS
from dense.datasets.check_labels import absent_classes, inspect_labels
from dense.errors import DatasetError, DenseError, ImageError
from dense.io.classes import ClassList, find_class_file, read_classes
from dense.io.images import MaskFormError, image_format, mask_problem, read_image, read_mask
from dense.io.pairs import find_pairs, find_splits, split_folders

KINDS: dict[str, tuple[str, str]] = {
    "image without mask": ("error", "add a mask of the same name, or remove the picture"),
    "mask without image": ("error", "add the picture of the same name, or remove the mask"),
    "ambiguous name": ("error", "keep one picture and one mask per name"),
    "unreadable": ("error", "restore the file from its source, or remove the pair"),
    "no mask": ("error", "save the mask as 8-bit grey, 0 background and 255 foreground"),
    "size mismatch": ("error", "replace the mask by one of the picture's size; mind EXIF rotation"),
    "0/1 mask": ("error", "multiply the mask by 255"),
    "duplicate between splits": ("error", "remove the picture from the training split"),
    "near duplicate between splits": ("warning", "compare by eye; if the same, remove it from training"),
    "duplicate within a split": ("warning", "keep one of them"),
    "empty mask": ("warning", "remove the pair if the picture does show a subject"),
    "full mask": ("warning", "check that the mask is not a placeholder, or inverted"),
    "soft/grey mask": ("warning", "fine for hair or glass; else threshold the mask"),
    **LABEL_KINDS,
    "suffix differs from content": ("note", "rename the file; it is read by content all the same"),
}
"""Kind of finding: (level, remedy). Levels: "error", "warning", "note"."""

LEVELS = ("error", "warning", "note")

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2",),
    "AVIF": (".avif",),
}
_NEAR_BITS, _NEAR_MEAN, _NEAR_MAX = 2, 5.0, 40  # hash distance; levels of 0..255 between the thumbnails
_BLOCK = 2048


@dataclass(frozen=True)
class Finding:
    """One thing found: its kind (a key of `KINDS`), the files concerned, and what exactly, in words."""

    kind: str
    splits: tuple[str, ...]
    files: tuple[str, ...]
    detail: str = ""

    @property
    def level(self) -> str:
        return KINDS[self.kind][0]

    @property
    def remedy(self) -> str:
        return KINDS[self.kind][1]


@dataclass
class Report:
    """The result of `check_dataset`: number of pairs by split, and all findings."""

    root: str
    pairs: dict[str, int]
    findings: list[Finding] = field(default_factory=list)

    def by_kind(self) -> dict[str, list[Finding]]:
        """Findings by kind, errors first, in the order of `KINDS`; kinds without findings are left out."""
        groups = {kind: [item for item in self.findings if item.kind == kind] for kind in KINDS}
        return {kind: items for kind, items in groups.items() if items}

    def count(self, level: str) -> int:
        """Number of findings of a level ("error", "warning" or "note")."""
        return sum(item.level == level for item in self.findings)

    @property
    def ok(self) -> bool:
        """True without errors; warnings and notes do not count."""
        return not self.count("error")

    def raise_for_errors(self) -> None:
        """Raise `DatasetError` with the first finding of each kind of error, if there are errors."""
        lines = [
            f"{kind} ({len(items)}): {items[0].files[0]}: {items[0].detail or kind}; {items[0].remedy}"
            for kind, items in self.by_kind().items()
            if items[0].level == "error"
        ]
        if lines:
            raise DatasetError(f"{self.root}: the data set has errors. " + "\n".join(lines))

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        findings = [asdict(item) | {"level": item.level, "remedy": item.remedy} for item in self.findings]
        counts = {level: self.count(level) for level in LEVELS}
        return {"root": self.root, "pairs": self.pairs, "counts": counts, "findings": findings}


@dataclass(frozen=True)
class _Task:
    split: str
    image: str | None
    mask: str | None
    classes: ClassList | None = None


@dataclass(frozen=True)
class _Seen:
    """What a worker hands back: findings, and of a readable picture its fingerprints."""

    task: _Task
    findings: tuple[Finding, ...]
    digest: bytes = b""
    dhash: int = 0
    thumbnail: np.ndarray | None = None  # uint8 (16, 16, 3)
    pixels: dict[int, int] = field(default_factory=dict)  # of each class in the labels


def check_dataset(
    root: str | os.PathLike[str],
    splits: Sequence[str] | None = None,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    classes: str | os.PathLike[str] | None = None,
) -> Report:
    """Decode all pictures and masks and report what is wrong.

    Args:
        root: a folder that `dense.io.split_folders` understands.
        splits: names of splits; None takes all that `find_splits` finds, or `root` itself without any.
        jobs: processes; 1 works in this one. More start fresh interpreters, so a script that calls this needs
            the usual `if __name__ == "__main__"`.
        progress: called with (files pairs done, all) after each pair.
        classes: a class file (`dense.io.classes`); None looks for one in `root` and its splits. With one, the masks
            are labels of classes; else they are cut-outs of 0 to 255.

    Raises:
        DatasetError: the folders are missing, or hold no pictures at all.
        DenseError: a worker process died.
    """
    root = Path(root)
    report = Report(str(root), {})
    tasks: list[_Task] = []
    names = list(dict.fromkeys(splits or find_splits(root) or [""]))
    file = classes or find_class_file(root, *(root / name for name in names))
    listed = read_classes(file) if file else None
    for split in names:
        label = split or root.resolve().name
        images, masks = split_folders(root, split or None)
        listing = find_pairs(images, masks)
        report.pairs[label] = len(listing.pairs)
        tasks += [_Task(label, str(pair.image), str(pair.mask), listed) for pair in listing.pairs]
        for path in listing.images_without_mask:
            report.findings.append(Finding("image without mask", (label,), (str(path),), f"none in {masks}"))
            tasks.append(_Task(label, str(path), None))
        for path in listing.masks_without_image:
            report.findings.append(Finding("mask without image", (label,), (str(path),), f"none in {images}"))
            tasks.append(_Task(label, None, str(path), listed))
        for name, paths in listing.ambiguous.items():
            files = tuple(map(str, paths))
            detail = f"{len(paths)} files are called {name}"
            report.findings.append(Finding("ambiguous name", (label,), files, detail))
    if not tasks and not report.findings:
        raise DatasetError(f"{root}: the folders hold no pictures; check that the data set was unpacked here")
    seen = []
    for item in _run(tasks, jobs):
        seen.append(item)
        report.findings += item.findings
        if progress:
            progress(len(seen), len(tasks))
    pictures = [item for item in seen if item.thumbnail is not None]
    report.findings += _duplicates(pictures)
    report.findings += _near_duplicates(pictures)
    if listed:
        for label in report.pairs:
            absent = absent_classes(listed, (item.pixels for item in seen if item.task.split == label))
            report.findings += [Finding("class never occurs", (label,), (listed.origin,), name) for name in absent]
    return report


def _run(tasks: list[_Task], jobs: int) -> Iterator[_Seen]:
    if jobs <= 1 or len(tasks) < 2:
        yield from map(_inspect, tasks)
        return
    # Forked processes can hang if the caller has threads or a GPU in use.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_single_thread)
    try:
        yield from pool.map(_inspect, tasks, chunksize=max(1, min(8, len(tasks) // (4 * jobs))))
    except BrokenProcessPool as error:
        remedy = f"use fewer processes than {jobs} (--jobs)"
        raise DenseError(f"A worker process died, most likely for lack of memory; {remedy}") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _single_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _inspect(task: _Task) -> _Seen:
    findings: list[Finding] = []

    def add(kind: str, path: str, detail: str) -> None:
        findings.append(Finding(kind, (task.split,), (path,), detail))

    image = mask = None
    pixels: dict[int, int] = {}
    if task.image:
        try:
            image = read_image(task.image)
        except ImageError as error:
            add("unreadable", task.image, _without_name(error, task.image))
    if task.mask and task.classes:
        mask, problems, pixels = inspect_labels(task.mask, task.classes)
        for kind, detail in problems:
            add(kind, task.mask, detail)
    elif task.mask:
        try:
            mask = read_mask(task.mask)
        except ImageError as error:
            kind = "no mask" if isinstance(error, MaskFormError) else "unreadable"
            add(kind, task.mask, _without_name(error, task.mask))
        else:
            problem = mask_problem(mask)
            if problem:
                kind = problem if problem.endswith("mask") else f"{problem} mask"
                add(kind, task.mask, f"values {mask.min()} to {mask.max()}")
    for path, array in ((task.image, image), (task.mask, mask)):
        if path and array is not None:
            content = image_format(path)
            if Path(path).suffix.lower() not in _SUFFIXES[content]:
                add("suffix differs from content", path, f"the content is {content}")
    if image is not None and mask is not None and image.shape[:2] != mask.shape:
        sizes = f"picture {image.shape[1]} x {image.shape[0]}, mask {mask.shape[1]} x {mask.shape[0]}"
        findings.append(Finding("size mismatch", (task.split,), (task.image, task.mask), sizes))
    if image is None:
        return _Seen(task, tuple(findings), pixels=pixels)
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(image)
    return _Seen(task, tuple(findings), digest.digest(), *_fingerprint(image), pixels)


def _without_name(error: Exception, path: str) -> str:
    return str(error).removeprefix(f"{path}: ")


def _fingerprint(image: np.ndarray) -> tuple[int, np.ndarray]:
    """64-bit difference hash (is each cell brighter than its right neighbour?) and a 16 x 16 thumbnail."""
    import cv2

    thumbnail = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(cv2.resize(image, (9, 8), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    bits = np.packbits(grey[:, :-1] > grey[:, 1:])
    return int.from_bytes(bits.tobytes(), "big"), thumbnail


def _duplicates(pictures: Iterable[_Seen]) -> Iterator[Finding]:
    groups: dict[bytes, list[_Seen]] = {}
    for item in pictures:
        groups.setdefault(item.digest, []).append(item)
    for group in groups.values():
        by_split: dict[str, list[str]] = {}
        for item in group:
            by_split.setdefault(item.task.split, []).append(item.task.image or "")
        if len(by_split) > 1:
            files = tuple(path for paths in by_split.values() for path in paths)
            yield Finding("duplicate between splits", tuple(by_split), files, "the same pixels")
        for split, paths in by_split.items():
            if len(paths) > 1:
                yield Finding("duplicate within a split", (split,), tuple(paths), "the same pixels")


def _near_duplicates(everything: Iterable[_Seen]) -> Iterator[Finding]:
    """Pairs between splits that look the same (resized, recompressed) without having the same pixels."""
    pictures = list({(item.digest, item.task.split): item for item in everything}.values())
    if len(pictures) < 2:
        return
    raw = np.array([item.dhash for item in pictures], dtype=">u8").view(np.uint8).reshape(-1, 8)
    # As vectors of -1 and 1 the inner product is 64 - 2 * distance: a matrix product finds all close pairs.
    signs = np.unpackbits(raw, axis=1).astype(np.float32) * 2 - 1
    split = np.array([item.task.split for item in pictures])
    for top in range(0, len(pictures), _BLOCK):
        for left in range(top, len(pictures), _BLOCK):
            a, b = slice(top, top + _BLOCK), slice(left, left + _BLOCK)
            close = signs[a] @ signs[b].T >= 64 - 2 * _NEAR_BITS
            close &= split[a, None] != split[None, b]
            for row, column in np.argwhere(close).tolist():
                i, j = top + row, left + column
                one, other = pictures[i], pictures[j]
                if i > j or one.digest == other.digest:
                    continue
                difference = np.abs(one.thumbnail.astype(np.int16) - other.thumbnail)
                if difference.mean() <= _NEAR_MEAN and difference.max() <= _NEAR_MAX:
                    files = (one.task.image or "", other.task.image or "")
                    detail = f"thumbnails differ by {difference.mean():.1f} of 255 on average"
                    splits = (one.task.split, other.task.split)
                    yield Finding("near duplicate between splits", splits, files, detail)
