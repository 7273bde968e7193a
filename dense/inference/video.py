"""Frames of a video, one after another, by PyAV (FFmpeg), and what is known of the video as a whole."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import ImageError, MissingDependencyError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts")
UNKNOWN, RGB = 2, 0  # FFmpeg's numbers of colour matrices, as are those below
_BT709, _BT601, _SMPTE240M, _BT2020 = 1, 5, 7, 9  # ... in the numbers of its converter
_MATRICES = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}
_HDR = (16, 18)  # transfer functions PQ and HLG


def is_video(path: str | Path) -> bool:
    """Whether a name ends like that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def matrix_of(matrix: int, height: int) -> int:
    """The converter's number for a colour matrix by FFmpeg's; where a file does not say, BT.709 from 720 lines on, else
    BT.601, as players take it."""
    return _MATRICES.get(matrix, _BT709 if height >= 720 else _BT601)


def scaling() -> int:
    """Flags for exact conversions: the defaults are some units off, and broken for some formats."""
    from av.video.reformatter import Interpolation as How

    return int(How.BICUBIC | How.ACCURATE_RND | How.FULL_CHR_H_INT | How.FULL_CHR_H_INP)


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded frame. time: seconds by the file's clock, None where the file does not say."""

    decoded: Any
    time: Fraction | None

    @property
    def turns(self) -> int:
        """Quarter turns, counterclockwise, to stand upright."""
        return round(self.decoded.rotation / 90) % 4

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, upright."""
        size = self.decoded.height, self.decoded.width
        return size[::-1] if self.turns % 2 else size

    def pixels(self) -> np.ndarray:
        """uint8 RGB (H, W, 3), upright; converted when it is asked for. Raises ImageError where FFmpeg cannot."""
        import av

        frame = self.decoded
        matrix = None if frame.colorspace == RGB else matrix_of(frame.colorspace, frame.height)
        try:
            rgb = frame.reformat(format="rgb24", src_colorspace=matrix, interpolation=scaling(), threads=1)
        except av.error.FFmpegError as error:
            raise ImageError(f"the frame cannot be converted to RGB ({_line(error)}); convert the video with ffmpeg") \
                from None
        return np.ascontiguousarray(np.rot90(rgb.to_ndarray(), self.turns))


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video.

    shape: height and width, upright. rate: frames a second, on average. time_base: unit of its time stamps, in seconds.
    start: time of what begins first, picture or sound, where that is above 0. aspect: width of a pixel by its height,
    upright, None for unknown. matrix, primaries, transfer: colour tags by FFmpeg's numbers, 2 for unknown.
    metadata: title and the like.
    """

    shape: tuple[int, int]
    rate: Fraction
    time_base: Fraction
    start: Fraction
    aspect: Fraction | None
    matrix: int
    primaries: int
    transfer: int
    metadata: dict[str, str]

    @property
    def is_hdr(self) -> bool:
        """Whether values mean light as in HDR10 or HLG."""
        return self.transfer in _HDR


def open_video(path: str | Path) -> Any:
    """PyAV's container. Raises MissingDependencyError without PyAV, ImageError for a file without a video."""
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(f"{path}: videos need PyAV, which is not installed ({error}). "
                                     "Remedy: pip install 'dense[video]'") from None
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be opened as a video ({_line(error)}); check the path, or copy or download "
                         "it again") from None
    if not container.streams.video:
        container.close()
        raise ImageError(f"{path}: holds no video, only sound or data; give another file")
    return container


def decode_frames(path: str | Path) -> Iterator[Frame]:
    """Frames in the order in which they are shown, decoded when they are asked for.

    Raises as ``open_video``, and, after the frames that could be read, ImageError where the file is damaged or ends
    before its time.
    """
    with open_video(path) as container:
        import av

        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        count, packets = 0, 0
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0
                for frame in packet.decode():
                    yield Frame(frame, None if frame.pts is None else frame.pts * Fraction(frame.time_base))
                    count += 1
        except (av.error.FFmpegError, OSError) as error:
            raise ImageError(f"{path}: damaged after frame {count} ({_line(error)}); copy or download it again, "
                             "or repair it with ffmpeg") from None
        if not count:
            raise ImageError(f"{path}: the video has no frame that can be decoded; copy or download it again")
        if packets < stream.frames:  # FFmpeg takes the end of the file for that of the video; the header knows better
            raise ImageError(f"{path}: ends after frame {count} of {stream.frames}; copy or download it again")


def read_frames(path: str | Path) -> Iterator[np.ndarray]:
    """Frames uint8 RGB (H, W, 3), turned upright; raises as ``decode_frames``."""
    return (frame.pixels() for frame in decode_frames(path))


def read_info(path: str | Path) -> VideoInfo:
    """What is known of a video; its first frame is decoded. Raises ImageError, MissingDependencyError."""
    frames = decode_frames(path)
    frame = next(frames)
    frames.close()
    with open_video(path) as container:
        stream = container.streams.video[0]
        starts = [s.start_time * s.time_base for s in (*container.streams.video, *container.streams.audio)
                  if s.start_time is not None and s.time_base]
        aspect = stream.sample_aspect_ratio or None
        decoded = frame.decoded
        return VideoInfo(
            frame.shape, stream.average_rate or stream.guessed_rate or Fraction(25),
            stream.time_base or Fraction(1, 90000),
            max(Fraction(0), min(starts, default=Fraction(0))), 1 / aspect if aspect and frame.turns % 2 else aspect,
            decoded.colorspace, decoded.color_primaries, decoded.color_trc, dict(container.metadata))


def count_frames(path: str | Path) -> int | None:
    """The number of frames if the file says so, else by length and rate, else None; nothing is decoded."""
    try:
        import av

        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            seconds = (container.duration or 0) / av.time_base
            seconds = stream.duration * stream.time_base if stream.duration else seconds
            return stream.frames or round(seconds * (stream.average_rate or 0)) or None
    except Exception:  # it only serves the time left; reading explains what is wrong
        return None


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
