"""Frames of a video, one after another, by PyAV (FFmpeg)."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dense.errors import ImageError, MissingDependencyError

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts")


def is_video(path: str | Path) -> bool:
    """Whether a name ends like that of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def read_frames(path: str | Path) -> Iterator[np.ndarray]:
    """Frames uint8 RGB (H, W, 3), turned upright, decoded when they are asked for.

    Raises MissingDependencyError without PyAV; ImageError for a file that is no video, and, after the frames that
    could be read, where it is damaged.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(f"{path}: reading videos needs PyAV, which is not installed ({error}). "
                                     "Remedy: pip install 'dense[video]'") from None
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise ImageError(f"{path}: cannot be opened as a video ({_line(error)}); check the path, or copy or download "
                         "it again") from None
    with container:
        if not container.streams.video:
            raise ImageError(f"{path}: holds no video, only sound or data; give another file")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        count = 0
        try:
            for frame in container.decode(stream):
                turns = round(getattr(frame, "rotation", 0) / 90) % 4
                pixels = frame.to_ndarray(format="rgb24")
                yield np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
                count += 1
        except (av.error.FFmpegError, OSError) as error:
            raise ImageError(f"{path}: damaged after frame {count} ({_line(error)}); copy or download it again, "
                             "or repair it with ffmpeg") from None
        if not count:
            raise ImageError(f"{path}: the video has no frame that can be decoded; copy or download it again")


def count_frames(path: str | Path) -> int | None:
    """The number of frames if the file says so, else None; nothing is decoded."""
    try:
        import av

        with av.open(str(path)) as container:
            return container.streams.video[0].frames or None
    except Exception:  # it only serves the time left; reading explains what is wrong
        return None


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
