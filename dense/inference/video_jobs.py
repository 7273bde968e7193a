"""Jobs whose results are videos: planned beforehand, then frames in order to one encoder a video."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

from dense.errors import ConfigError, DenseError
from dense.inference.sinks import FrameSink, FrameWriter, Names, check_targets, without_results
from dense.inference.sources import Item, find_source
from dense.inference.video import is_video
from dense.inference.video_out import CODECS, VideoWriter, codec_for
from dense.io import IMAGE_SUFFIXES, check_folder


@dataclass(frozen=True)
class FrameItem(Item):
    """A frame of a video that becomes a frame of ``writer``."""

    writer: VideoWriter | None = None


@dataclass
class VideoPlan:
    """items: frames of all videos; total: their number where known; the rest as in ``Job``."""

    items: Iterator[FrameItem]
    write: Callable[[Any, FrameItem], Any]
    sink: VideoSink
    total: int | None
    place: str
    skipped: int
    notes: list[str]


def means_videos(inputs: Sequence[str], output: str | None, suffix: str | None) -> bool:
    """Whether videos are to be written: by --format, by the name of the output, or as videos in without either."""
    if output and is_video(output) and not Path(output).is_dir():
        return True
    if suffix is not None:
        return suffix in CODECS
    return not output and all(is_video(i) for i in inputs)


def plan_videos(inputs: Sequence[str], maker: FrameWriter, output: str | None, suffix: str | None,
                skip_existing: bool, overwrite: bool) -> VideoPlan:
    """Check inputs and output, and give each video its place.

    maker: makes frames of results. suffix: of the format, None for that of ``output``, else .webm for transparent and
        .mp4 for opaque frames.
    Raises DenseError before anything is done: no videos, a format without transparency, an output that cannot be
    written, would replace an input, or is there already.
    """
    alpha = maker.transparent
    if output == "-":
        raise ConfigError("-o - writes a picture, not a video; give the name of a file")
    to_file = bool(output) and is_video(output) and not Path(output).is_dir()
    if to_file:
        if suffix and Path(output).suffix.lower() != suffix:
            raise ConfigError(f"-o {output} and --format {suffix[1:]} contradict each other; leave one out")
        if len(inputs) != 1:
            raise ConfigError(f"-o {output} is one video, there are {len(inputs)} inputs; give a folder and --format "
                              f"{Path(output).suffix[1:]}")
        codec_for(output, alpha)
    elif output and Path(output).suffix.lower() in IMAGE_SUFFIXES:
        raise ConfigError(f"-o {output} is a picture, the result a video; give {', '.join(CODECS)} or a folder")
    suffix = suffix or (None if to_file else ".webm" if alpha else ".mp4")
    if suffix:
        codec_for(output if to_file else f"NAME{suffix}", alpha)
    for i in inputs:
        if not is_video(i):
            raise ConfigError(f"{i}: is no video, the result would be one; give videos only, or --format png")
    sources = {os.path.realpath(i): find_source(i) for i in inputs}  # told if they are not there
    given = [Item(path, PurePath(Path(path).name), _no_picture, Path(path)) for path in sources]
    notes: list[str] = []
    if to_file:
        names = _One(Path(output))
        check_folder(Path(output).resolve().parent)
    else:
        names = Names(Path(output) if output else None, suffix, maker.marker)
        if output:
            check_folder(Path(output))
        else:
            given, results = without_results(given, names)
            if results:
                notes.append(f"{results} inputs are left out: they are results of others among them")
        names.expect(given)
    left = check_targets(given, names, skip_existing, overwrite)
    writers: dict[str, VideoWriter | DenseError] = {}
    for item in left:
        target = names.assign(item)
        check_folder(target.resolve().parent)
        try:
            writers[str(item.path)] = writer = VideoWriter(target, like=item.path)
            notes += writer.notes
        except DenseError as error:
            if len(left) == 1:
                raise
            writers[str(item.path)] = error  # told in its turn; the others are done
    counts = [sources[path].total for path in writers]
    return VideoPlan(_frames(writers, sources), _prepare_with(maker), VideoSink(),
                     None if None in counts else sum(counts), str(names.assign(left[0])) if len(left) == 1 else
                     output or "the folders of the inputs", len(given) - len(left), notes)


class _One:
    """The only place there is."""

    def __init__(self, path: Path):
        self.path = path

    def assign(self, item: Item) -> Path:
        return self.path


def _no_picture() -> Any:
    raise DenseError("a video is no picture")


def _frames(writers: dict[str, VideoWriter | DenseError], sources: dict) -> Iterator[FrameItem]:
    for path, writer in writers.items():
        if isinstance(writer, DenseError):
            yield FrameItem(path, PurePath(path), partial(_fail, writer))
            continue
        for item in sources[path].items:
            yield FrameItem(**vars(item), writer=writer)


def _fail(error: DenseError) -> Any:
    raise error


def _prepare_with(maker: FrameWriter) -> Callable[[Any, FrameItem], Any]:
    return lambda result, item: item.writer.prepare(maker.frame(result), result.metadata.time)


class VideoSink(FrameSink):
    """Frames in order to their videos; a video whose input is damaged ends where the damage begins."""

    unit = " frames"
    interrupted = "the unfinished video is not kept"

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self._writer: VideoWriter | None = None
        self._frames = 0
        self._whole = True

    def add(self, work: Any) -> None:
        """Take a work of the pipeline. Raises DenseError where the video cannot be written."""
        if work.item.writer is not self._writer:
            self._finish()
            self._writer, self._frames, self._whole = work.item.writer, 0, True
        if work.failure is not None:
            self._whole = False
            return
        self._whole = True  # a frame that is missing inside is no early end
        self._writer.write(work.outcome)
        self._frames += 1
        work.outcome = self._writer.path

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None or not self._frames:
            return
        writer.close(self._whole)
        if not self._whole:
            self.failures.append((str(writer.path), f"is there, but ends early, after {self._frames} frames"))
        self.failures += [(str(writer.like), problem) for problem in writer.problems]

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._finish()
        elif self._writer is not None:
            self._writer.abort()
