"""Folders of predictions against a folder of ground truths: every image once, over the cores, resumable."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dense.errors import DatasetError, ImageError
from dense.evaluation.journal import Journal, digest, entry_key
from dense.evaluation.listing import Method, Problem, list_methods, truth_folders
from dense.evaluation.measures import MEASURES, Row, columns, evaluate_pair, resolve, summarise
from dense.evaluation.pool import Died, cores, work
from dense.evaluation.skeletons import SkeletonCache, skeleton_folder
from dense.io import image_size, mask_problem, read_mask
from dense.progress import Meter

_CHUNK = 1 << 20  # pixels handed to a process at once, unless there are too few for that
_WORTH_A_PROCESS = 4 << 20  # pixels; below, starting processes takes longer than the work


class Settings(NamedTuple):
    """What the figures of an image depend on besides the files.

    names: measures. stretched: see ``ImagePair``. resize: scale predictions of another size. skeletons: folder
    of their cache, or None.
    """

    names: tuple[str, ...]
    stretched: bool = False
    resize: bool = False
    skeletons: Path | None = None

    def key(self) -> str:
        """What an entry of the journal depends on."""
        return f"stretched={self.stretched} resize={self.resize}"

    def columns(self) -> list[str]:
        """What a complete row holds."""
        counts = ["counts"] if any(MEASURES[name].counts for name in self.names) else []
        return [*columns(self.names), *counts]


class Item(NamedTuple):
    """A ground truth and the predictions for it: (number of the method, file)."""

    name: str
    gt: Path
    preds: tuple[tuple[int, Path], ...]


class Outcome(NamedTuple):
    """What came of one prediction: a row and its key in the journal, or a problem."""

    method: int
    name: str
    key: str = ""
    row: Row | None = None
    problem: Problem | None = None


@dataclass
class Result:
    """A method's figures.

    Attributes:
        method: its files and problems; those that came up while reading are among them.
        rows: of its images in natural order of their names, with ``name``, ``height``, ``width`` and ``note``.
        figures: of the data set by measure, and the means of HCE's parts; empty without rows.
    """

    method: Method
    rows: list[Row]
    figures: dict[str, float]


@dataclass
class Evaluation:
    """What :func:`evaluate_folders` found; ``reused`` results of the total are those of an earlier run.

    pictures: the folder of the pictures, or the files by name.
    """

    settings: Settings
    truths: Path
    pictures: Path | Mapping[str, Path] | None
    results: list[Result]
    reused: int
    total: int

    @property
    def complete(self) -> bool:
        """Whether every ground truth was compared with a prediction of every method."""
        return all(problem.kind == "extra" for result in self.results for problem in result.method.problems)


def evaluate_folders(
    folders: Sequence[Path | str],
    truths: Path | str,
    names: str | Sequence[str] = "all",
    *,
    labels: Sequence[str] | None = None,
    split: str | None = None,
    stretched: bool = False,
    resize: bool = False,
    jobs: int | None = None,
    skeletons: str | Path | None = None,
    journal: Path | None = None,
) -> Evaluation:
    """Measure the predictions of one or several methods.

    Args:
        folders: of the predictions, a method each; files go with the ground truth of the same name.
        truths: the folder of the ground truths, or of a data set with pictures and ground truths inside.
        names: measures or groups of them, see ``dense.evaluation.measures``.
        labels: names of the methods; by default those of the folders.
        split: of the data set.
        stretched: stretch every prediction to its own minimum and maximum first, as PySODMetrics does.
        resize: scale a prediction of another size to that of the ground truth (linear, in its grey values);
            otherwise it is a problem.
        jobs: processes; None takes the cores, or fewer where that is faster.
        skeletons: see ``skeleton_folder``.
        journal: file that keeps the results of single images, for a run that goes on; None for none.

    Raises:
        DenseError: nothing to evaluate, a folder that cannot be read, an unknown name, a disk that is full.
            What is wrong with single files is listed in the methods' ``problems``.
    """
    truth_folder, pictures = truth_folders(Path(truths), split)
    methods = list_methods([Path(folder) for folder in folders], truth_folder, labels)
    settings = Settings(resolve(names), stretched, resize, skeleton_folder(skeletons, truth_folder))
    return evaluate_methods(methods, settings, truth_folder, pictures, jobs, journal)


def evaluate_methods(
    methods: Sequence[Method], settings: Settings, truths: Path, pictures: Path | Mapping[str, Path] | None = None,
    jobs: int | None = None, journal: Path | None = None,
) -> Evaluation:
    """``evaluate_folders`` where it is known already which prediction belongs to which ground truth.

    Args:
        methods: with their pairs.
        settings: what is measured.
        truths: the folder of the ground truths.
        pictures: their folder, or the files by name; None for none.
        jobs, journal: see ``evaluate_folders``.

    Raises DenseError as ``evaluate_folders``.
    """
    items = _items(methods)
    total = sum(len(item.preds) for item in items)
    book = Journal(journal)
    keys: dict[tuple[int, str], str] = {}
    try:
        if book.rows:
            items, keys = _known(items, settings, book, jobs)
        reused = len(keys)
        with Meter("evaluate", total, reused) as meter:
            for outcome in _outcomes(items, settings, jobs):
                if outcome.row is not None:
                    book.add(outcome.key, outcome.row)
                    keys[outcome.method, outcome.name] = outcome.key
                if outcome.problem is not None:
                    methods[outcome.method].problems.append(outcome.problem)
                meter.step(len(keys) + sum(map(_read_problems, methods)))
        results = [_result(method, number, keys, book, settings) for number, method in enumerate(methods)]
        if not keys:
            first = methods[0].problems[0].detail
            raise DatasetError(f"{methods[0].folder}: none of {total} predictions could be evaluated; {first}")
        book.finish(keys[number, name] for number, method in enumerate(methods) for name in method.pairs
                    if (number, name) in keys)
    finally:
        book.close()
    return Evaluation(settings, truths, pictures, results, reused, total)


def read_pair(pred: Path, gt: Path, resize: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and ground truth, uint8 (H, W), as they are compared.

    Raises ImageError for files that cannot be read, and without ``resize`` for a prediction of another size.
    """
    truth = read_mask(gt)
    return _fitted(read_mask(pred), truth, pred, resize), truth


def evaluate_item(settings: Settings, item: Item) -> list[Outcome]:
    """All predictions of a ground truth; each file is read once. Works in any process."""
    try:
        content = _read(item.gt)
        gt, gt_hash = _decode(content, item.gt), digest(content)
        if int(gt.max()) == 1:
            raise ImageError(f"{item.gt}: a mask of 0 and 1, but foreground is > 128; multiply it by 255")
    except ImageError as error:
        problem = Problem(item.name, "unreadable", str(error))
        return [Outcome(number, item.name, problem=problem) for number, _ in item.preds]
    return [_outcome(settings, item, number, path, gt, gt_hash) for number, path in item.preds]


def _outcome(settings: Settings, item: Item, number: int, path: Path, gt: np.ndarray, gt_hash: str) -> Outcome:
    kind = "unreadable"
    try:
        content = _read(path)
        pred = _decode(content, path)
        kind = "size"
        fitted = _fitted(pred, gt, path, settings.resize)
        kind = "failed"
        row = {"height": gt.shape[0], "width": gt.shape[1], "note": _note(pred, gt)}
        row |= evaluate_pair(fitted, gt > 128, settings.names, _skeletons(settings.skeletons), settings.stretched)
    except (ImageError, ValueError, MemoryError) as error:
        text = str(error) or type(error).__name__
        detail = text if text.startswith(str(path)) else f"{path}: {text}"
        return Outcome(number, item.name, problem=Problem(item.name, kind, detail))
    return Outcome(number, item.name, entry_key(digest(content), gt_hash, settings.key()), row)


@cache
def _skeletons(folder: Path | None) -> SkeletonCache:
    return SkeletonCache(folder)


def _note(pred: np.ndarray, gt: np.ndarray) -> str:
    notes = []
    if mask_problem(pred) == "0/1 mask":
        notes.append("prediction of 0 and 1: taken as nearly black")
    if pred.shape != gt.shape:
        notes.append(f"scaled from {pred.shape[1]}x{pred.shape[0]}")
    if int(gt.max()) <= 128:
        notes.append("empty ground truth: F is 0")
    return "; ".join(notes)


def _fitted(pred: np.ndarray, gt: np.ndarray, path: Path, resize: bool) -> np.ndarray:
    if pred.shape == gt.shape:
        return pred
    if not resize:
        sizes = f"{pred.shape[1]}x{pred.shape[0]}, its ground truth {gt.shape[1]}x{gt.shape[0]}"
        raise ImageError(f"{path}: is {sizes} (width x height); write predictions at that size, or use --resize")
    import cv2

    scaled = cv2.resize(pred.astype(np.float32), gt.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.rint(scaled).astype(np.uint8)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error


def _decode(content: bytes, path: Path) -> np.ndarray:
    try:
        return read_mask(content)
    except ImageError as error:
        raise type(error)(f"{path}{str(error).removeprefix('the given bytes')}") from error


def _items(methods: Sequence[Method]) -> list[Item]:
    preds: dict[str, list[tuple[int, Path]]] = {}
    truths: dict[str, Path] = {}
    for number, method in enumerate(methods):
        for name, (pred, gt) in method.pairs.items():
            preds.setdefault(name, []).append((number, pred))
            truths[name] = gt
    return [Item(name, truths[name], tuple(found)) for name, found in preds.items()]


def _known(
    items: Sequence[Item], settings: Settings, book: Journal, jobs: int | None
) -> tuple[list[Item], dict[tuple[int, str], str]]:
    """What is left to do, and the keys of what the journal holds by (number of the method, name)."""
    paths = list(dict.fromkeys(path for item in items for path in (item.gt, *(pred for _, pred in item.preds))))
    with ThreadPoolExecutor(jobs or cores()) as threads:
        hashes = dict(zip(paths, threads.map(_hash, paths), strict=True))
    left, keys = [], {}
    for item in items:
        rest = []
        for number, pred in item.preds:
            key = entry_key(hashes[pred], hashes[item.gt], settings.key())
            if book.find(key, settings.columns()) is None:
                rest.append((number, pred))
            else:
                keys[number, item.name] = key
        if rest:
            left.append(item._replace(preds=tuple(rest)))
    return left, keys


def _hash(path: Path) -> str:
    try:
        return digest(path.read_bytes())
    except OSError:  # said when it is read to be evaluated
        return ""


def _outcomes(items: Sequence[Item], settings: Settings, jobs: int | None) -> Iterator[Outcome]:
    sizes = {item.name: _pixels(item) for item in items}
    total = sum(sizes.values())
    if jobs is None:
        jobs = cores() if total >= _WORTH_A_PROCESS else 1
    limit = min(_CHUNK, total // (4 * jobs))
    chunks: list[list[Item]] = []
    filled = limit
    for item in sorted(items, key=lambda item: -sizes[item.name]):  # the big ones first: all end together
        if filled >= limit:
            chunks.append([])
            filled = 0
        chunks[-1].append(item)
        filled += max(1, sizes[item.name])
    with closing(work(partial(evaluate_item, settings), chunks, jobs)) as found:
        for outcomes in found:
            if isinstance(outcomes, Died):
                yield from _died(outcomes.item)
            else:
                yield from outcomes


def _died(item: Item) -> Iterator[Outcome]:
    for number, path in item.preds:
        detail = f"{path}: its process was ended (not enough memory?); use a machine with more, or smaller masks"
        yield Outcome(number, item.name, problem=Problem(item.name, "failed", detail))


def _pixels(item: Item) -> int:
    try:
        height, width = image_size(item.gt)
    except ImageError:
        return 0
    return height * width * len(item.preds)


def _read_problems(method: Method) -> int:
    return sum(problem.kind in ("unreadable", "size", "failed") for problem in method.problems)


def _result(
    method: Method, number: int, keys: dict[tuple[int, str], str], book: Journal, settings: Settings
) -> Result:
    order = {name: place for place, name in enumerate(method.pairs)}
    method.problems.sort(key=lambda problem: (problem.kind == "extra", order.get(problem.name, -1)))
    rows: list[dict[str, Any]] = []
    for name in method.pairs:
        if (number, name) in keys:
            row = book.rows[keys[number, name]]
            chosen = ("height", "width", "note", *settings.columns())
            rows.append({"name": name} | {column: row[column] for column in chosen})
    figures = summarise(rows, settings.names) if rows else {}
    if rows and "HCE" in settings.names:
        figures |= {part: float(np.mean([row[part] for row in rows])) for part in columns(["HCE"])[1:]}
    return Result(method, rows, figures)
