"""The sound of a video beside new pictures: copied where the container takes it, else encoded anew."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from dense.inference.video import open_video

# what players take in each container, not all that FFmpeg would put there; None: everything
COPIED = {
    ".webm": ("opus", "vorbis"),
    ".mp4": ("aac", "mp3", "ac3", "eac3", "alac"),
    ".m4v": ("aac", "mp3", "ac3", "eac3", "alac"),
    ".mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le",
             "pcm_f32le"),
    ".mkv": None,
}
_ENCODERS = {".webm": "libopus"}
_NAMES = {"libopus": "opus"}
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_KBIT_A_CHANNEL = 96


@dataclass(frozen=True)
class Track:
    """One track of sound. encoder: None where it is copied. note: for people, where it is not."""

    index: int
    encoder: str | None = None
    note: str = ""


def plan_tracks(path: str | Path, suffix: str) -> tuple[list[Track], list[str]]:
    """The tracks of sound that a file of this suffix gets from a video, and what is not kept as it is, for people."""
    tracks, notes = [], []
    with open_video(path) as container:
        for number, stream in enumerate(container.streams.audio):
            name = f"sound track {number + 1}" if len(container.streams.audio) > 1 else "the sound"
            context = stream.codec_context
            if context is None or not context.sample_rate:
                notes.append(f"{path}: {name} is left out, it cannot be decoded")
                continue
            codec = context.codec.canonical_name
            taken = COPIED[suffix]
            if taken is None or codec in taken:
                tracks.append(Track(stream.index))
                continue
            encoder = _ENCODERS.get(suffix, "aac")
            tracks.append(Track(stream.index, encoder))
            notes.append(f"{path}: {name} is encoded anew as {_NAMES.get(encoder, encoder)}, {suffix[1:]} does not "
                         f"take {codec}")
        other = sum(s.type in ("subtitle", "data", "attachment") for s in container.streams)
        other += len(container.streams.video) - 1
        if other:
            notes.append(f"{path}: {other} other tracks (subtitles, data, further pictures) are left out")
    return tracks, notes


class Sound:
    """Tracks on their way from a video into a container that is being written.

    The container has no header yet. ``start``: seconds that are taken off all time stamps.
    problem: why it could not be read to its end.
    """

    def __init__(self, path: str | Path, tracks: list[Track], output: Any, start: Fraction):
        self.problem = ""
        self._path, self._output, self._start = path, output, start
        self._input = open_video(path)
        self._tracks = {t.index: self._add(self._input.streams[t.index], t.encoder) for t in tracks}
        self._packets = self._input.demux(*(self._input.streams[i] for i in self._tracks)) if tracks else iter(())
        self._held: Any = None
        self._ended: set[int] = set()

    def _add(self, stream: Any, encoder: str | None) -> Any:
        """The function from a packet of a stream to packets of the new one; None in the end."""
        if encoder is None:
            out = self._output.add_stream_from_template(stream)
            make = self._copy
        else:
            import av

            layout = _LAYOUTS.get(stream.codec_context.layout.nb_channels, "stereo")
            rate = 48000 if encoder == "libopus" else _aac_rate(stream.codec_context.sample_rate)
            out = self._output.add_stream(encoder, rate=rate, layout=layout)
            out.bit_rate = 1000 * _KBIT_A_CHANNEL * out.codec_context.layout.nb_channels
            out.codec_context.open()
            resampler = av.AudioResampler(out.codec_context.format, out.codec_context.layout, rate,
                                          out.codec_context.frame_size or None)

            def make(packet: Any, out: Any) -> Iterator[Any]:
                return self._encode(packet, out, resampler)
        out.metadata.update({k: v for k, v in stream.metadata.items() if k in ("language", "title")})
        out.disposition = stream.disposition
        return lambda packet: make(packet, out)

    def _copy(self, packet: Any, out: Any) -> Iterator[Any]:
        if packet.dts is None and packet.pts is None:  # the end
            return
        shift = round(self._start / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.stream = out
        yield packet

    def _encode(self, packet: Any, out: Any, resampler: Any) -> Iterator[Any]:
        frames = packet.decode()
        for frame in frames:
            if frame.pts is not None:
                frame.pts -= round(self._start / frame.time_base)
            for part in resampler.resample(frame):
                yield from out.encode(part)
        if packet.size == 0:  # the end
            for part in resampler.resample(None):
                yield from out.encode(part)
            yield from out.encode(None)

    def send(self, until: Fraction | None) -> None:
        """Write what is heard before ``until`` (seconds, the start taken off); None: all there is."""
        import av

        while True:
            try:
                packet = self._held or next(self._packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self.problem = self.problem or f"the sound ends early, it cannot be read on ({error})"
                return
            if packet is None:
                return
            self._held = packet
            at = packet.dts if packet.dts is not None else packet.pts
            if until is not None and (at is None or at * packet.time_base - self._start > until):
                return
            self._held = None
            if packet.size == 0:
                self._ended.add(packet.stream.index)
            try:
                new = list(self._tracks[packet.stream.index](packet))
            except (av.error.InvalidDataError, ValueError) as error:
                self.problem = self.problem or f"sound is missing where it is damaged ({error})"
                continue
            for one in new:
                self._output.mux(one)

    def finish(self, until: Fraction | None) -> None:
        """Write the rest, as far as ``until`` (None: to the end of the sound), and what encoders still hold."""
        self.send(until)
        import av

        for index in self._tracks.keys() - self._ended:
            end = av.Packet()
            end.stream = self._input.streams[index]
            for one in self._tracks[index](end):
                self._output.mux(one)

    def close(self) -> None:
        """Let go of the video that is read."""
        self._input.close()


def _aac_rate(rate: int) -> int:
    known = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
    return rate if rate in known else 48000
