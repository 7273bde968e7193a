"""Clips made in the tests, and videos read back, alpha included."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dense.inference.video import matrix_of, scaling


def square(index: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """uint8 RGB: a white square that moves to the right, on black."""
    image = np.zeros((*size, 3), np.uint8)
    left = (4 * index) % (size[1] - 32)
    image[size[0] // 4:size[0] // 4 + 32, left:left + 32] = 255
    return image


def write_clip(path: Path, count: int = 12, size: tuple[int, int] = (96, 128), rate: int = 12, codec: str = "libx264",
               pixels: str = "yuv420p", sound: Sequence[str] = ("aac",), seconds: float | None = None,
               times: Sequence[int] | None = None, unit: Fraction | None = None, rotation: int = 0, aspect=None,
               matrix: int | None = None, full: bool = False, picture: Callable = square,
               options: dict | None = None) -> Path:
    """A clip; ``times`` in ``unit``, ``seconds`` of sound (as long as the pictures by default)."""
    unit = unit or Fraction(1, rate)
    with av.open(str(path), "w", container_options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        context = stream.codec_context
        context.time_base = unit
        if aspect:
            context.sample_aspect_ratio = aspect
        if matrix:
            context.colorspace = context.color_primaries = context.color_trc = matrix
            context.color_range = 2 if full else 1
        if rotation:
            stream.set_display_rotation(rotation)
        tones = [_tone(container, name, 440 * (i + 1), count / rate if seconds is None else seconds)
                 for i, name in enumerate(sound)]
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, size), format="rgb24").reformat(
                format=pixels, dst_colorspace=1 if matrix == 1 else 5, dst_color_range=2 if full else 1,
                interpolation=scaling())
            frame.pts, frame.time_base = times[i] if times else i, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for write in tones:
            write()
    return path


def _tone(container, name: str, pitch: float, seconds: float, rate: int = 48000):
    stream = container.add_stream(name, rate=rate, layout="stereo")
    stream.codec_context.open()

    def write() -> None:
        wave = np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
        values = np.repeat((8000 * wave).astype(np.int16), 2)[None]
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "stereo", rate, context.frame_size or 1024)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))

    return write


def stamps(path: Path) -> list[Fraction]:
    """Times of the decoded frames, in seconds."""
    with av.open(str(path)) as container:
        return [f.pts * Fraction(f.time_base) for f in container.decode(video=0)]


def read_video(path: Path) -> np.ndarray:
    """uint8 (N, H, W, 4 or 3): decoded frames; FFmpeg's own VP9 decoder has no alpha, libvpx has."""
    out = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = stream.codec_context
        if decoder.codec.canonical_name == "vp9":
            decoder = av.CodecContext.create("libvpx-vp9", "r")
        for packet in container.demux(stream):
            for frame in decoder.decode(packet if packet.size else None):
                kind = "rgba" if "yuva" in frame.format.name else "rgb24"
                rgb = frame.reformat(format=kind, src_colorspace=matrix_of(frame.colorspace, frame.height),
                                     interpolation=scaling())
                out.append(rgb.to_ndarray())
                if kind == "rgba":  # the converter is one off
                    plane, bits = frame.planes[3], frame.format.components[3].bits
                    alpha = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16).reshape(plane.height, -1)
                    out[-1][..., 3] = alpha[:, :plane.width] >> (bits - 8)
    return np.stack(out)


def sound_packets(path: Path, track: int = 0) -> list[tuple[Fraction, bytes]]:
    """Time and content of the packets of one track of sound."""
    with av.open(str(path)) as container:
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(container.streams.audio[track]) if p.size]


def sound_samples(path: Path, track: int = 0) -> tuple[float, np.ndarray]:
    """Time of the first sample, and samples float (N,) of the left channel at 48 kHz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "stereo", 48000)
        frames = [r for f in container.decode(container.streams.audio[track]) for r in resampler.resample(f)]
        return float(frames[0].pts * frames[0].time_base), np.concatenate([f.to_ndarray()[0] for f in frames])
