"""A job: what was asked for at the command line, checked before anything is done, as items and a writer."""
from __future__ import annotations

import glob
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dense.errors import ConfigError, DenseError
from dense.inference.results import Result
from dense.inference.sinks import (
    FrameSink,
    FrameWriter,
    Names,
    Writer,
    check_targets,
    files_of,
    is_done,
    without_results,
    write_stdout,
)
from dense.inference.sources import IDLE, Item, Source, find_source, watch
from dense.inference.video import is_video
from dense.inference.video_jobs import means_videos, plan_videos
from dense.io import IMAGE_SUFFIXES, check_folder
from dense.io.picture import FORMATS, format_of


@dataclass
class Job:
    """items: to be done; write: for ``Inferencer.run``; total: their number where known; place: for people; skipped:
    results that were there; notes: what a person should know beforehand; sink: takes works in order; facts: to be
    filled with the results' provenance before the run, None where nobody asks; finish: to be called after the run,
    however it ends."""

    items: Iterable
    write: Callable[[Result, Item], object]
    total: int | None
    place: str
    skipped: int
    notes: list[str]
    sink: FrameSink = field(default_factory=FrameSink)
    facts: dict | None = None
    finish: Callable[[], object] | None = None


@dataclass(frozen=True)
class Inputs:
    """What a job's inputs are: how they are found, the suffixes of files that results may be written to, and the usual
    one."""

    find: Callable[..., Source] = find_source
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES
    usual: str = ".png"
    what: str = "picture"


def plan_job(inputs: Sequence[str], writer: Writer, output: str | None = None, suffix: str | None = None,
             recursive: bool = False, watched: bool = False, idle: float = float("inf"), skip_existing: bool = False,
             overwrite: bool = False, reserved: Sequence[Path] = (), kind: Inputs = Inputs()) -> Job:
    """Check inputs and output, and give each input its place.

    suffix: of the results, None for the usual one or what ``output`` says. reserved: files that no result may be. kind:
    of inputs, pictures if nothing is said.

    Raises DenseError before anything is done: inputs that are not there, an output that cannot be written or would
    replace inputs, results that are there already without a word on what to do with them.
    """
    if not all(inputs):
        raise ConfigError("an input is empty (a variable that is not set?); give a path, or . for the current folder")
    if watched:
        return _watched(inputs, output, suffix or ".png", writer, recursive, idle, reserved)
    inputs = list(itertools.chain.from_iterable(map(_videos_of_pattern, inputs)))
    if isinstance(writer, FrameWriter) and means_videos(inputs, output, suffix):
        plan = plan_videos(inputs, writer, output, suffix, skip_existing, overwrite)
        return Job(plan.items, plan.write, plan.total, plan.place, plan.skipped, plan.notes, plan.sink)
    folder = Path(output) if output and output != "-" else None
    to_file = folder is not None and not folder.is_dir() and folder.name.lower().endswith(kind.suffixes)
    if to_file or output == "-":
        return _single(inputs, output, suffix, writer, skip_existing, overwrite, kind)
    if len(inputs) == 1 and folder is None and (Path(inputs[0]).is_dir() or is_video(inputs[0])):
        path = Path(inputs[0]).resolve()
        folder = path.with_name(f"{path.stem if is_video(path) else path.name}{writer.marker}")
    many_folders = sum(Path(i).is_dir() for i in inputs) > 1
    sources = [kind.find(i, recursive, many_folders, folder) for i in inputs]
    if folder is None and any(is_video(i) or Path(i).is_dir() or i == "-" for i in inputs):
        raise ConfigError("several inputs with a folder, a video or standard input need -o FOLDER")
    if folder is not None:
        if any(Path(i).is_dir() and Path(i).resolve() == folder.resolve() for i in inputs):
            raise ConfigError(f"-o {folder}: is a folder of inputs, its results would be taken for inputs next time; "
                              "choose another folder (one below it will do)")
        check_folder(folder)
    names = Names(folder, suffix or kind.usual, writer.marker, reserved)
    job = _listed_job(sources, names, writer, skip_existing, overwrite,
                      str(folder) if folder else "the folders of the inputs")
    for place in dict.fromkeys(i for i in inputs if Path(i).is_dir()):
        if videos := sum(is_video(p) for p in Path(place).iterdir()):
            job.notes.append(f"{place}: {videos} videos are left out; give them as inputs of their own")
    return job


def _videos_of_pattern(text: str) -> list[str]:
    """The videos that a pattern matches, where it matches nothing but videos; else the text as it is."""
    if not is_video(text) or Path(text).exists() or not glob.has_magic(text):
        return [text]
    found = sorted(p for p in glob.iglob(text, recursive=True) if Path(p).is_file())
    return found if found and all(map(is_video, found)) else [text]


def _listed_job(sources: list[Source], names: Names, writer: Writer, skip_existing: bool, overwrite: bool,
                place: str) -> Job:
    notes: list[str] = []
    known = [item for s in sources if isinstance(s.items, list) for item in s.items]
    if names.folder is None:
        known, results = without_results(known, names, writer)
        if results:
            notes.append(f"{results} inputs are left out: they are results of others among them")
    known = _once(known)
    names.expect(known)
    left = check_targets(known, names, skip_existing, overwrite, writer)
    if names.folder is None:
        for folder in {names.assign(item).parent for item in left}:
            check_folder(folder)
    streams = [s for s in sources if not isinstance(s.items, list)]
    counted = all(s.total is not None for s in streams)
    total = len(left) + sum(s.total or 0 for s in streams) if counted and not (streams and skip_existing) else None
    job = Job([], lambda result, item: writer.write(result, names.assign(item)), total, place, len(known) - len(left),
              notes)
    frames = _new_frames(streams, names, writer, skip_existing, overwrite, job)
    job.items = itertools.chain(left, frames) if streams else left
    return job


def _new_frames(streams: list[Source], names: Names, writer: Writer, skip_existing: bool, overwrite: bool,
                job: Job) -> Iterator[Item]:
    for item in itertools.chain.from_iterable(s.items for s in streams):
        target = names.assign(item)
        there = [f for f in files_of(writer, target) if f.exists()]
        if there and not (overwrite or skip_existing):
            raise DenseError(f"{there[-1]}: is there already. Remedy: --skip-existing goes on where it ended, "
                             "--overwrite makes it anew")
        if skip_existing and is_done(writer, target):
            job.skipped += 1
            continue
        yield item


def _once(items: Iterable[Item]) -> list[Item]:
    """Without files that were named twice."""
    seen, out = set(), []
    for item in items:
        key = os.path.abspath(item.path) if item.path else item
        if key not in seen:
            seen.add(key)
            out.append(item)
    return out


def _single(inputs: Sequence[str], output: str, suffix: str | None, writer: Writer, skip_existing: bool,
            overwrite: bool, kind: Inputs) -> Job:
    source = kind.find(inputs[0]) if len(inputs) == 1 else Source([])
    if not source.single:
        raise ConfigError(f"-o {output} is one file, the input is not one {kind.what}; give a folder")
    (item,) = source.items
    if output == "-":
        if sys.stdout.isatty():
            raise ConfigError("-o - writes a picture to the terminal; redirect it: ... -o - > cutout.png")
        return Job([item], lambda result, _: write_stdout(writer.encode(result, suffix or ".png")), 1,
                   "standard output", 0, [])
    target = Path(output)
    if suffix and format_of(target) != FORMATS[suffix]:
        raise ConfigError(f"-o {output} and --format {suffix[1:]} contradict each other; leave one out")
    writer.check(target)
    if item.path and target.exists() and item.path.exists() and os.path.samefile(target, item.path):
        raise DenseError(f"{output}: the result would replace the input; choose another name")
    if skip_existing and is_done(writer, target):
        return Job([], lambda result, _: None, 0, output, 1, [])
    there = [str(f) for f in files_of(writer, target) if f.exists()]
    if there and not (overwrite or skip_existing):
        raise DenseError(f"{there[-1]}: is there already. Remedy: another name, or --overwrite")
    check_folder(target.resolve().parent)
    return Job([item], lambda result, _: writer.write(result, target), 1, output, 0, [])


def _watched(inputs: Sequence[str], output: str | None, suffix: str, writer: Writer, recursive: bool,
             idle: float, reserved: Sequence[Path] = ()) -> Job:
    if len(inputs) != 1 or not Path(inputs[0]).is_dir():
        raise ConfigError(f"--watch needs one folder that is there, not {' '.join(inputs)}")
    if output == "-":
        raise ConfigError("--watch needs a folder for what comes, not standard output; give -o FOLDER")
    watched = Path(inputs[0]).resolve()
    folder = Path(output) if output else watched.with_name(f"{watched.name}{writer.marker}")
    if folder.resolve() == watched:
        raise ConfigError(f"{folder}: is the watched folder, its results would be taken for inputs; choose another")
    check_folder(folder)
    names = Names(folder, suffix, reserved=reserved)
    job = Job([], lambda result, item: writer.write(result, names.assign(item)), None, str(folder), 0,
              [f"watching {watched}, Ctrl-C ends"])

    def items() -> Iterator:
        for item in watch(watched, recursive, folder, idle=idle):
            if item is not IDLE and is_done(writer, names.assign(item)):
                job.skipped += 1
                continue
            yield item

    job.items = items()
    return job
