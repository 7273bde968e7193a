"""``VideoWriter``: frames into a video, with transparency where the format has it, and the sound of another video.

The encoder works in a thread of its own, beside whatever makes the frames; few frames wait for it.
"""
from __future__ import annotations

import contextlib
import os
import queue
import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from dense.errors import ConfigError, DenseError, ImageError, MissingDependencyError
from dense.inference.video import UNKNOWN, VideoInfo, matrix_of, read_info, scaling
from dense.inference.video_audio import Sound, Track, plan_tracks
from dense.io import atomic_path

WAITING = 4  # frames that wait for the encoder
_ABORT, _END = object(), object()
_TV = 1  # range of values: 16..235


@dataclass(frozen=True)
class Codec:
    """An encoder and how it is used. name: for people. even: whether sides must be even. square: whether the file
    cannot say that pixels are not square: VP9 has no word for it, and PyAV none for its container."""

    encoder: str
    pixels: str
    options: dict[str, str]
    name: str
    even: bool = False
    square: bool = False


_VP9 = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1", "auto-alt-ref": "0"}
_H264 = Codec("libx264", "yuv420p", {"crf": "18", "preset": "medium"}, "H.264", even=True)
_VP9_ALPHA = Codec("libvpx-vp9", "yuva420p", _VP9, "VP9 with alpha", square=True)
# opaque frames, frames with alpha
CODECS: dict[str, tuple[Codec, Codec | None]] = {
    ".webm": (Codec("libvpx-vp9", "yuv420p", _VP9, "VP9", square=True), _VP9_ALPHA),
    ".mov": (Codec("prores_ks", "yuv422p10le", {"profile": "hq", "vendor": "apl0"}, "ProRes 422 HQ"),
             Codec("prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0", "alpha_bits": "8"},
                   "ProRes 4444")),
    ".mp4": (_H264, None),
    ".m4v": (_H264, None),
    ".mkv": (_H264, _VP9_ALPHA),
}


def codec_for(path: str | Path, alpha: bool) -> Codec:
    """The codec of a file by its suffix. Raises ConfigError for suffixes that are none, or have no transparency."""
    suffix = Path(path).suffix.lower()
    if suffix not in CODECS:
        raise ConfigError(f"{path}: videos are not written as {suffix or 'a file without suffix'}; use "
                          f"{', '.join(CODECS)}")
    codec = CODECS[suffix][alpha]
    if codec is None:
        raise ConfigError(f"{path}: {suffix[1:]} has no transparency; write .webm or .mov, or give a background")
    return codec


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frame in the encoder's pixel format. time: seconds by the clock of ``like``, or None."""

    frame: Any
    time: Fraction | None
    codec: Codec


class VideoWriter:
    """Writes frames into a video: .webm (VP9), .mov (ProRes), .mp4 (H.264, never transparent), .mkv (VP9 with alpha,
    else H.264).

    path: of the file; it is there, whole, after ``close``, and not before.
    like: a video whose frame rate, time stamps' unit, colour tags, pixel aspect and title are taken, and whose sound,
        if ``audio``, is copied, or encoded anew where the container does not take it.
    rate: frames a second, where there is no ``like`` (default 25).

        with VideoWriter("out.webm", like="clip.mp4") as video:
            for result in model("clip.mp4"):
                video.write(result.rgba(), result.metadata.time)

    Leaving the block after an exception leaves no file. ``notes``, known from the beginning, say what is not kept as it
    is; ``problems``, after ``close``, what could not be done.
    H.264 needs even sides: the last row or column is repeated. VP9 has square pixels only: others are enlarged to
    squares. Values are written in the range 16..235.
    Raises ConfigError for a suffix that is none, ImageError for a ``like`` that cannot be read, MissingDependencyError.
    """

    def __init__(self, path: str | Path, like: str | Path | None = None, rate: float | Fraction | None = None,
                 audio: bool = True):
        self.path = Path(path)
        codec_for(self.path, alpha=False)
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(f"{path}: videos need PyAV, which is not installed ({error}). "
                                         "Remedy: pip install 'dense[video]'") from None
        if like is not None and os.path.realpath(like) == os.path.realpath(path):
            raise ConfigError(f"{path}: the result would replace the input; choose another name")
        if rate is not None and not 0 < rate <= 1000:
            raise ConfigError(f"rate {rate}: must be above 0 and at most 1000 frames a second")
        self.like, self.notes, self.problems = like, [], []
        self._tracks: list[Track] = []
        self._info: VideoInfo | None = None
        if like is not None:
            self._info = read_info(like)
            if audio:
                self._tracks, self.notes = plan_tracks(like, self.path.suffix.lower())
            opaque = CODECS[self.path.suffix.lower()][0]
            if opaque.even and any(side % 2 for side in self._info.shape):
                self.notes.append(f"{path}: {opaque.name} needs even sides, where frames are opaque the last row or "
                                  "column is repeated")
            if opaque.square and self._info.aspect not in (None, 1):
                self.notes.append(f"{path}: {opaque.name} has square pixels, those of {like} are enlarged to squares")
            if self._info.is_hdr:
                self.notes.append(f"{like}: HDR values are kept at 8 bits, with their tags, and not mapped to SDR")
        given = Fraction(rate).limit_denominator(100_000) if rate is not None else None
        self.rate = given or (self._info.rate if self._info else Fraction(25))
        # a hundredth of a frame, for times that lie between frames
        self.time_base = self._info.time_base if self._info else 1 / (100 * self.rate)
        self._start = self._info.start if self._info else Fraction(0)
        self._queue: queue.Queue = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._first: Codec | None = None
        self._whole = True
        self._closed = False

    # -- frames

    def prepare(self, frame: np.ndarray, time: float | Fraction | None = None) -> Prepared:
        """The frame in the encoder's pixel format, for ``write``: may be called in other threads, in any order.

        Raises ImageError for what is no frame, ConfigError for transparency that the format has not.
        """
        import av

        channels = 1 if frame.ndim == 2 else frame.shape[2] if frame.ndim == 3 else 0
        if channels not in (1, 3, 4) or frame.dtype != np.uint8 or frame.size == 0:
            raise ImageError(f"{self.path}: an array of {frame.dtype} {frame.shape} is no frame; give uint8 (H, W) "
                             "grey, (H, W, 3) RGB or (H, W, 4) RGBA")
        codec = codec_for(self.path, alpha=channels == 4)
        frame = np.ascontiguousarray(frame[..., 0] if frame.ndim == 3 and channels == 1 else frame)
        height, width = frame.shape[:2]
        aspect = self._info.aspect if self._info else None
        if codec.square and aspect and aspect != 1:
            width, height = round(width * max(aspect, 1)), round(height / min(aspect, 1))
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        if codec.even and (height % 2 or width % 2):
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0))[:frame.ndim], mode="edge")
        # FFmpeg's grey has a range of its own
        colours = np.repeat(frame[..., None], 3, axis=2) if channels == 1 else frame
        rgb = av.VideoFrame.from_ndarray(colours, format="rgba" if channels == 4 else "rgb24")
        matrix = matrix_of(self._info.matrix if self._info else UNKNOWN, height)
        made = rgb.reformat(format=codec.pixels, dst_colorspace=matrix, dst_color_range=_TV, interpolation=scaling(),
                            threads=1)
        if channels == 4:
            _set_alpha(made, frame[..., 3])
        made.color_primaries = self._info.primaries if self._info else UNKNOWN
        made.color_trc = self._info.transfer if self._info else UNKNOWN
        return Prepared(made, None if time is None else Fraction(time), codec)

    def write(self, frame: np.ndarray | Prepared, time: float | Fraction | None = None) -> None:
        """Hand over the next frame; returns once it waits for the encoder.

        frame: uint8 grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4), not premultiplied; all of one kind. Sizes that differ
            from the first one are scaled to it.
        time: seconds by the clock of ``like`` (``result.metadata.time``); None: one frame after the last.

        Raises as ``prepare``; and DenseError where the file cannot be written, perhaps some frames later.
        """
        if self._closed:
            raise ValueError(f"{self.path}: is closed already")
        prepared = frame if isinstance(frame, Prepared) else self.prepare(frame, time)
        if self._thread is None:
            self._first = prepared.codec
            self._thread = threading.Thread(target=self._run, name="dense-video", daemon=True)
            self._thread.start()
        elif prepared.codec != self._first:
            raise ImageError(f"{self.path}: frames with and without transparency cannot be mixed; give all of one kind")
        self._put(prepared)

    def close(self, whole: bool = True) -> Path:
        """Finish the file. whole: False where frames are missing at the end: the sound ends with the last frame.

        Raises DenseError where it cannot be written, or no frame was.
        """
        if not self._closed:
            if self._thread is None:
                raise DenseError(f"{self.path}: no frame was written; give at least one")
            self._whole = whole
            self._put(_END)
            self._closed = True
            self._thread.join()
            self._raise()
        return self.path

    def abort(self) -> None:
        """Let go of everything: no file is left."""
        if self._thread is not None and not self._closed:
            with contextlib.suppress(BaseException):
                self._put(_ABORT)
            self._thread.join()
        self._closed = True

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _put(self, value: object) -> None:
        while True:
            self._raise()
            try:
                return self._queue.put(value, timeout=0.2)
            except queue.Full:  # the encoder is busy, or has just failed
                continue

    def _raise(self) -> None:
        if self._error is not None:
            self._closed = True
            raise self._error

    # -- in the thread of the encoder

    def _run(self) -> None:
        try:
            self._write_file()
        except _AbortError:
            pass
        except BaseException as error:
            self._error = error

    def _write_file(self) -> None:
        import av

        with atomic_path(self.path) as temporary:
            try:
                with _Output(self, temporary) as output:
                    while (value := self._queue.get()) is not _END:
                        if value is _ABORT:
                            raise _AbortError
                        output.write(value)
                    output.finish(self._whole)
            except av.error.FFmpegError as error:
                if error.errno is not None and 0 < error.errno < 200:  # the system's: a full disk
                    raise OSError(error.errno, os.strerror(error.errno), str(temporary)) from error
                raise DenseError(f"{self.path}: cannot be encoded as {self._first.name} ({error}); try another "
                                 "format") from error


class _AbortError(Exception):
    """The caller wants no file any more."""


class _Output:
    """The container while it is written."""

    def __init__(self, writer: VideoWriter, path: Path):
        self.writer, self.path = writer, path
        self.container: Any = None
        self.sound: Sound | None = None
        self.last: int | None = None

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.sound is not None:
            self.sound.close()
        if self.container is not None:
            if kind is None:
                self.container.close()
            else:
                with contextlib.suppress(Exception):  # the first error counts
                    self.container.close()

    def _open(self, prepared: Prepared) -> None:
        import av

        writer, info, frame = self.writer, self.writer._info, prepared.frame
        options = {"movflags": "+faststart"} if self.path.suffix.lower() in (".mp4", ".m4v", ".mov") else {}
        self.container = av.open(str(self.path), "w", container_options=options)
        if info:
            self.container.metadata.update({k: v for k, v in info.metadata.items() if k in _TITLES})
        codec = prepared.codec
        stream = self.container.add_stream(codec.encoder, rate=writer.rate, options=dict(codec.options))
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, codec.pixels
        context = stream.codec_context
        context.time_base = writer.time_base
        stream.time_base = writer.time_base
        context.color_range, context.colorspace = _TV, frame.colorspace
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        if info and info.aspect and not codec.square:
            context.sample_aspect_ratio = info.aspect
        stream.thread_type = "AUTO"
        self.stream = stream
        if writer._tracks:
            self.sound = Sound(writer.like, writer._tracks, self.container, writer._start)

    def write(self, prepared: Prepared) -> None:
        if self.container is None:
            self._open(prepared)
        writer, frame = self.writer, prepared.frame
        if (frame.width, frame.height) != (self.stream.width, self.stream.height):
            frame = frame.reformat(self.stream.width, self.stream.height, interpolation=scaling())
        step = 1 / (writer.rate * writer.time_base)
        if prepared.time is not None:
            pts = round((prepared.time - writer._start) / writer.time_base)
            pts = pts if self.last is None else max(pts, self.last + 1)
        else:
            pts = 0 if self.last is None else self.last + max(1, round(step))
        self.last = pts
        frame.pts, frame.time_base, frame.duration = pts, writer.time_base, max(1, round(step))
        frame.pict_type = 0
        self._mux(self.stream.encode(frame))

    def _mux(self, packets: list) -> None:
        for packet in packets:
            if self.sound is not None and packet.dts is not None:
                self.sound.send(packet.dts * packet.time_base)
            self.container.mux(packet)

    def finish(self, whole: bool) -> None:
        self._mux(self.stream.encode(None))
        if self.sound is not None:
            end = self.last * self.writer.time_base + 1 / self.writer.rate
            self.sound.finish(None if whole else end)
            if self.sound.problem:
                self.writer.problems.append(self.sound.problem)


_TITLES = ("title", "artist", "album", "comment", "date", "creation_time", "copyright", "description", "location")


def _set_alpha(frame: Any, alpha: np.ndarray) -> None:
    """Alpha to the unit, which the converter is not."""
    plane = frame.planes[3]
    kind, full = (np.uint8, 255) if frame.format.components[3].bits == 8 else (np.uint16, 1023)
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
    rows[:, :plane.width] = alpha if full == 255 else (alpha.astype(np.uint32) * full + 127) // 255
