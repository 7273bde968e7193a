"""Videos as results: time stamps, sound, colours, alpha, and that no half file is left."""
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("av", reason="videos need the extra 'video' (PyAV)")
import av
from toy_videos import read_video, sound_packets, sound_samples, square, stamps, write_clip

from dense.errors import ConfigError, DenseError, ImageError, MissingDependencyError
from dense.inference import VideoWriter
from dense.inference.video import decode_frames, read_info

ROOT = Path(__file__).resolve().parents[2]
OPAQUE, ALPHA = (".webm", ".mov", ".mp4", ".mkv"), (".webm", ".mov", ".mkv")


def rewrite(source, target, alpha=False, **settings):
    """The frames of a video into another one; with ``alpha``, that is the mean of the channels."""
    with VideoWriter(target, like=source, **settings) as writer:
        for frame in decode_frames(source):
            rgb = frame.pixels()
            writer.write(np.dstack([rgb, rgb.mean(2).astype(np.uint8)]) if alpha else rgb, frame.time)
    return writer


# -- time

@pytest.mark.parametrize("suffix", OPAQUE)
def test_variable_frame_rates_keep_their_times(tmp_path, suffix):
    times = [0, 40, 80, 140, 150, 240, 241, 300, 600, 610, 620, 900]
    clip = write_clip(tmp_path / "clip.mp4", times=times, unit=Fraction(1, 1000), sound=())
    assert stamps(clip) == [Fraction(t, 1000) for t in times]
    rewrite(clip, tmp_path / f"out{suffix}")
    assert stamps(tmp_path / f"out{suffix}") == stamps(clip)


@pytest.mark.parametrize(("source", "suffix"), itertools.product((".mp4", ".mkv", ".ts"), OPAQUE))
def test_pictures_and_sound_stay_together(tmp_path, source, suffix):
    clip = write_clip(tmp_path / f"clip{source}", times=range(5, 17))  # pictures begin later than the sound
    out = tmp_path / f"out{suffix}"
    rewrite(clip, out)
    before = float(stamps(clip)[0]) - sound_samples(clip)[0]
    after = float(stamps(out)[0]) - sound_samples(out)[0]
    assert before > 0.3 and abs(after - before) < 0.03
    assert np.allclose(np.diff(np.array(stamps(out), float)), 1 / 12, atol=0.0011)
    assert min(float(stamps(out)[0]), sound_samples(out)[0]) < 0.03  # what a TS counts from is taken off


@pytest.mark.parametrize("suffix", OPAQUE)
def test_rate_without_a_model_video(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    with VideoWriter(path, rate=Fraction(30000, 1001)) as writer:
        for i in range(10):
            writer.write(square(i))
    unit = Fraction(1001, 30000)
    assert all(abs(t - i * unit) <= Fraction(1, 2000) for i, t in enumerate(stamps(path))) and len(stamps(path)) == 10
    if suffix in (".mp4", ".mov"):
        assert read_info(path).rate == 1 / unit


# -- sound

@pytest.mark.parametrize(("sound", "source", "suffix"), [
    ("aac", ".mp4", ".mp4"), ("aac", ".mp4", ".mov"), ("aac", ".mp4", ".mkv"), ("libopus", ".webm", ".webm"),
    ("flac", ".mkv", ".mkv"), ("pcm_s16le", ".mov", ".mov"), ("mp3", ".mp4", ".mp4")])
def test_sound_that_fits_is_copied(tmp_path, sound, source, suffix):
    clip = write_clip(tmp_path / f"clip{source}", sound=(sound, sound), seconds=2.5,
                      codec="libvpx-vp9" if source == ".webm" else "libx264")
    writer = rewrite(clip, tmp_path / f"out{suffix}")
    assert writer.notes == [] and writer.problems == []
    for track in range(2):
        before, after = (sound_packets(p, track) for p in (clip, tmp_path / f"out{suffix}"))
        assert [p[1] for p in after] == [p[1] for p in before]  # longer than the pictures, all of it
        shift = after[0][0] - before[0][0]
        assert all(abs(a[0] - b[0] - shift) < 0.002 for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize(("sound", "source", "suffix", "words"), [
    ("aac", ".mp4", ".webm", "encoded anew as opus, webm does not take aac"),
    ("libopus", ".webm", ".mp4", "encoded anew as aac, mp4 does not take opus"),
    ("flac", ".mkv", ".mov", "encoded anew as aac, mov does not take flac")])
def test_sound_that_does_not_fit_is_encoded_anew(tmp_path, sound, source, suffix, words):
    clip = write_clip(tmp_path / f"clip{source}", sound=(sound,), seconds=2.0,
                      codec="libvpx-vp9" if source == ".webm" else "libx264")
    writer = rewrite(clip, tmp_path / f"out{suffix}")
    assert len(writer.notes) == 1 and words in writer.notes[0]
    (start, before), (start_after, after) = (sound_samples(p) for p in (clip, tmp_path / f"out{suffix}"))
    assert abs(start_after - start) < 0.025 and abs(len(after) - len(before)) < 0.03 * 48000
    spectrum = np.abs(np.fft.rfft(after[12000:60000]))
    assert spectrum.argmax() == 440 and 0.5 < after[12000:60000].std() / before[12000:60000].std() < 2


def test_without_sound(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4")
    rewrite(clip, tmp_path / "out.mp4", audio=False)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
    rewrite(write_clip(tmp_path / "mute.mp4", sound=()), tmp_path / "out.webm")
    assert len(stamps(tmp_path / "out.webm")) == 12


# -- pictures

VALUES = np.array(list(itertools.product((0, 64, 128, 192, 255), repeat=3)), np.uint8)


def chart(index, size):
    """125 colours in fields of 16 pixels."""
    return np.kron(VALUES.reshape(5, 25, 3), np.ones((16, 16, 1), np.uint8))


def fields(frames):
    """The middles of the fields, (N, 125, 3)."""
    return frames[:, :, :, :3].reshape(len(frames), 5, 16, 25, 16, 3)[:, :, 6:10, :, 6:10].mean((2, 4)).reshape(
        len(frames), 125, 3)


@pytest.mark.parametrize(("matrix", "full", "pixels", "suffix"), [
    *itertools.product((1, 6), (False,), ("yuv420p",), OPAQUE), (1, True, "yuv420p", ".mp4"),
    (6, True, "yuv420p", ".webm"), (None, False, "yuv420p", ".mp4"), (1, False, "yuv420p10le", ".mp4"),
    (1, False, "yuv422p10le", ".mov")])
def test_colours_come_back(tmp_path, matrix, full, pixels, suffix):
    clip = write_clip(tmp_path / "clip.mkv", 3, (80, 400), matrix=matrix, full=full, pixels=pixels, picture=chart,
                      sound=())
    out = tmp_path / f"out{suffix}"
    rewrite(clip, out)
    before = np.stack([f.pixels() for f in decode_frames(clip)])
    assert np.abs(fields(before) - VALUES).max() < 12  # what the clip's own encoder left
    assert np.abs(fields(read_video(out)) - fields(before)).max() < 8
    assert np.abs(fields(read_video(out)) - fields(before)).mean() < 1.5
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
        assert frame.colorspace == (matrix or 6) and frame.color_range == 1
        assert matrix is None or (frame.color_primaries, frame.color_trc) == (matrix, matrix)


@pytest.mark.parametrize("suffix", ALPHA)
def test_alpha_comes_back(tmp_path, suffix):
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (64, 1))
    colour = np.full((64, 256, 3), (200, 60, 30), np.uint8)
    with VideoWriter(tmp_path / f"out{suffix}") as writer:
        for i in range(5):
            writer.write(np.dstack([colour, np.roll(ramp, 50 * i, 1)]))
    frames = read_video(tmp_path / f"out{suffix}")
    for i, frame in enumerate(frames):
        error = np.abs(frame[..., 3].astype(int) - np.roll(ramp, 50 * i, 1))
        assert error.mean() < 2 and np.percentile(error, 99) < 12
        assert suffix != ".mov" or not error.any()
        assert np.abs(frame[..., :3].astype(int) - colour).max() < 8
    assert len(frames) == 5
    assert np.isin(frames[0][:, 0, 3], range(3)).all() and (frames[0][:, -1, 3] > 250).all()


@pytest.mark.parametrize("suffix", OPAQUE)
def test_grey_frames(tmp_path, suffix):
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (64, 1))
    with VideoWriter(tmp_path / f"out{suffix}") as writer:
        for _ in range(3):
            writer.write(ramp)
    frames = read_video(tmp_path / f"out{suffix}").astype(int)
    assert np.abs(frames - ramp[..., None]).max() < 8 and np.abs(frames - ramp[..., None]).mean() < 1.5


@pytest.mark.parametrize(("suffix", "alpha"), [*((s, False) for s in OPAQUE), *((s, True) for s in ALPHA)])
def test_odd_sizes(tmp_path, suffix, alpha):
    clip = write_clip(tmp_path / "clip.mkv", 4, (75, 101), codec="ffv1", pixels="yuv444p", sound=())
    writer = rewrite(clip, tmp_path / f"out{suffix}", alpha)
    assert any("even sides" in note for note in writer.notes) == (suffix in (".mp4", ".mkv"))
    frames = read_video(tmp_path / f"out{suffix}")
    padded = not alpha and suffix in (".mp4", ".mkv")
    assert frames.shape == (4, *((76, 102) if padded else (75, 101)), 4 if alpha else 3)
    for i, frame in enumerate(frames):
        assert np.abs(frame[:75, :101, :3].astype(int) - square(i, (75, 101))).mean() < 4


@pytest.mark.parametrize("suffix", OPAQUE)
def test_rotation_and_pixel_aspect(tmp_path, suffix):
    clip = write_clip(tmp_path / "clip.mp4", 3, rotation=90, aspect=Fraction(4, 3), sound=())
    out = tmp_path / f"out{suffix}"
    writer = rewrite(clip, out)
    frames = read_video(out)
    assert [("square pixels" in note) for note in writer.notes] == [True] * (suffix == ".webm")
    if suffix == ".webm":  # square pixels, made taller
        assert frames.shape == (3, 171, 96, 3) and read_info(out).aspect in (None, 1)
    else:
        assert frames.shape == (3, 128, 96, 3) and read_info(out).aspect == Fraction(3, 4)
    with av.open(str(out)) as container:
        assert next(container.decode(video=0)).rotation == 0
    for i, frame in enumerate(frames):
        upright = cv2.resize(np.rot90(square(i)), frame.shape[1::-1])
        assert np.abs(frame.astype(int) - upright).mean() < 4


def test_frames_that_differ_in_size_are_scaled(tmp_path):
    with VideoWriter(tmp_path / "out.mp4") as writer:
        writer.write(square(0))
        writer.write(square(0, (192, 256)))
    assert read_video(tmp_path / "out.mp4").shape == (2, 96, 128, 3)


# -- what goes wrong

def test_bad_input(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4")
    rgba = np.zeros((64, 64, 4), np.uint8)
    for path, words in (("a.avi", "not written as .avi; use .webm, .mov"), ("a", "a file without suffix")):
        with pytest.raises(ConfigError, match=words):
            VideoWriter(tmp_path / path)
    with pytest.raises(ConfigError, match="would replace the input"):
        VideoWriter(clip, like=clip)
    with pytest.raises(ConfigError, match="rate 0: must be above 0"):
        VideoWriter(tmp_path / "a.mp4", rate=0)
    with pytest.raises(ConfigError, match=r"mp4 has no transparency; write .webm or .mov, or give a background"), \
            VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(rgba)
    with pytest.raises(ImageError, match="is no frame"), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(np.zeros((64, 64, 3)))
    with pytest.raises(ImageError, match="cannot be mixed"), VideoWriter(tmp_path / "a.webm") as writer:
        writer.write(rgba)
        writer.write(rgba[..., :3])
    with pytest.raises(DenseError, match="no frame was written"), VideoWriter(tmp_path / "a.webm"):
        pass
    with pytest.raises(DenseError, match=r"a.mp4: cannot be encoded as H.264"), \
            VideoWriter(tmp_path / "a.mp4") as writer:
        writer.write(np.zeros((2, 20000, 3), np.uint8))
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"a.mp4: .*pip install 'dense\[video\]'"):
        VideoWriter(tmp_path / "a.mp4")


def test_an_exception_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path) as writer:
        for i in range(20):
            writer.write(square(i))
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["out.mp4"]
    with VideoWriter(path) as writer:
        writer.write(square(0))
    assert len(stamps(path)) == 1
    with pytest.raises(ValueError, match="is closed already"):
        writer.write(square(0))


def test_few_frames_wait_for_the_encoder(tmp_path, monkeypatch):
    from dense.inference import video_out

    writer = VideoWriter(tmp_path / "out.mp4")
    begun, go = [], threading.Event()
    write = video_out._Output.write
    monkeypatch.setattr(video_out._Output, "write",
                        lambda self, value: (begun.append(1), go.wait(30), write(self, value)))
    done = []

    def produce():
        for i in range(20):
            writer.write(square(i))
            done.append(i)

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(0.5)
    assert len(done) <= video_out.WAITING + 1 and len(begun) == 1
    go.set()
    thread.join()
    writer.close()
    assert len(stamps(tmp_path / "out.mp4")) == 20


def test_a_full_disk(tmp_path):
    script = """
import resource, sys
import numpy as np
from dense.errors import DenseError
from dense.inference import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rng = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1]) as writer:
        for _ in range(60):
            writer.write(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8))
except DenseError as error:
    print(error)
"""
    for suffix in OPAQUE:
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path / f"out{suffix}")], capture_output=True,
                              text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60)
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        assert f"out{suffix}: the disk is full" in done.stdout and not os.listdir(tmp_path)


# -- the command

@pytest.fixture
def cutout(bundle):
    from dense.cli import main

    def run(*arguments):
        return main(["cutout", *map(str, arguments), "--bundle", str(bundle), "--backend", "onnxruntime"])

    return run


def test_a_video_becomes_a_video(cutout, tmp_path, capsys):
    clip = write_clip(tmp_path / "clip.mp4")
    assert cutout(clip) == 0
    err = capsys.readouterr().err
    assert f"12 frames done into {tmp_path / 'clip-cutout.webm'}" in err and "encoded anew as opus" in err
    frames = read_video(tmp_path / "clip-cutout.webm")
    assert frames.shape == (12, 96, 128, 4)
    for i, frame in enumerate(frames):  # the toy's alpha is brightness, blurred by its 64 pixels
        assert np.abs(frame[..., 3].astype(int) - square(i)[..., 0]).mean() < 8
    assert np.allclose(np.array(stamps(tmp_path / "clip-cutout.webm"), float), np.arange(12) / 12, atol=0.0006)
    assert cutout(clip) == 1 and "results are there already" in capsys.readouterr().err
    assert cutout(clip, "--skip-existing") == 0 and "nothing to do" in capsys.readouterr().err
    assert cutout(clip, "--overwrite") == 0


@pytest.mark.parametrize(("options", "name", "corner"), [
    (["--background", "green"], "out.mp4", (0, 177, 64)), (["--background", "#102030"], "out.mov", (16, 32, 48)),
    (["--mask"], "out.mp4", (0, 0, 0)), (["--background", "blur"], "out.webm", None),
    (["--background", "{picture}"], "out.mkv", (250, 128, 10))])
def test_backgrounds(cutout, tmp_path, options, name, corner):
    from dense.io import write_image

    write_image(tmp_path / "ground.png", np.full((20, 20, 3), (250, 128, 10), np.uint8))
    clip = write_clip(tmp_path / "clip.mp4", 5)
    options = [o.replace("{picture}", str(tmp_path / "ground.png")) for o in options]
    assert cutout(clip, "-o", tmp_path / "out" / name, *options) == 0
    frames = read_video(tmp_path / "out" / name)
    assert frames.shape == (5, 96, 128, 3)
    assert corner is None or np.abs(frames[:, -8:, -8:].astype(int) - corner).max() < 6
    assert frames[2][40, 8 + 16:8 + 20].min() > 215


def test_several_videos(cutout, tmp_path, capsys):
    a, b = write_clip(tmp_path / "a.mp4", 5), write_clip(tmp_path / "b.mkv", 7, sound=())
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 20)
    out = tmp_path / "out"
    assert cutout(a, tmp_path / "bad.mp4", b, "-o", out, "--format", "mov") == 1
    err = capsys.readouterr().err
    assert sorted(os.listdir(out)) == ["a.mov", "b.mov"] and "12 frames done into" in err
    assert f"1 not done:\n  {tmp_path / 'bad.mp4'}: cannot be opened as a video" in err
    assert len(stamps(out / "a.mov")) == 5 and len(stamps(out / "b.mov")) == 7
    assert cutout(a, b) == 0 and {"a-cutout.webm", "b-cutout.webm"} <= set(os.listdir(tmp_path))
    assert cutout(a, "-o", tmp_path / "frames", "--format", "png") == 0
    assert cutout(a, "-o", tmp_path / "more") == 0
    for folder in ("frames", "more"):
        assert sorted(p.name for p in (tmp_path / folder).rglob("*.png")) == [f"00000{i}.png" for i in range(5)]


@pytest.mark.parametrize(("arguments", "words"), [
    (["{a}", "-o", "x.mp4"], "mp4 has no transparency; write .webm or .mov, or give a background"),
    (["{a}", "-o", "x.avi"], "not written as .avi"),
    (["{a}", "-o", "{a}", "--mask", "--overwrite"], "replace an input"),
    (["{a}", "{b}", "-o", "x.webm"], "is one video, there are 2 inputs"), (["{p}", "-o", "x.webm"], "is no video"),
    (["{a}", "{p}", "-o", "x", "--format", "webm"], "is no video"), (["{a}", "-o", "x.png"], "not one picture"),
    (["{a}", "-o", "x.webm", "--format", "mov"], "contradict"), (["nowhere.mp4", "-o", "x.webm"], "does not exist"),
    (["{a}", "-o", "x", "--format", "mp4"], "mp4 has no transparency"),
    (["{a}", "-o", "-", "--format", "webm"], "not a video"),
    (["{a}", "-o", "x.webm", "--format", "png"], "contradict"),
    (["{d}", "-o", "x", "--format", "webm"], "is no video"),
    (["{d}", "--watch", "--format", "webm"], "--watch takes pictures"), (["{v}"], "cannot be opened as a video")])
def test_problems_of_the_user(cutout, tmp_path, monkeypatch, capsys, arguments, words):
    from toy_pictures import write_pictures

    places = {"a": write_clip(tmp_path / "a.mp4", 2), "b": write_clip(tmp_path / "b.mp4", 2),
              "p": write_pictures(tmp_path / "in", 1)[0], "d": tmp_path / "in", "v": tmp_path / "v.mp4"}
    places["v"].write_bytes(b"no video" * 20)
    content = places["a"].read_bytes()
    monkeypatch.chdir(tmp_path)
    assert cutout(*[x.format(**places) for x in arguments]) == 1
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err
    assert places["a"].read_bytes() == content and not list(tmp_path.glob("x*"))


def test_a_truncated_video_is_written_as_far_as_it_goes(cutout, tmp_path, capsys):
    clip = write_clip(tmp_path / "clip.mp4", 40, options={"movflags": "faststart"})
    clip.write_bytes(clip.read_bytes()[:clip.stat().st_size * 6 // 10])
    assert cutout(clip, "-o", tmp_path / "out.webm") == 1
    err = capsys.readouterr().err
    count = len(stamps(tmp_path / "out.webm"))
    assert 0 < count < 40 and f"{count} frames done" in err
    assert f"out.webm: is there, but ends early, after {count} frames" in err and "of 40" in err
    assert sorted(os.listdir(tmp_path)) == ["clip.mp4", "out.webm"]


def test_ctrl_c_leaves_no_file(bundle, tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (360, 480, 3), dtype=np.uint8)
    clip = write_clip(tmp_path / "clip.mp4", 150, (360, 480), picture=lambda i, size: np.roll(noise, 5 * i, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "dense", "cutout", str(clip), "-o", str(tmp_path / "out.webm"), "--bundle", str(bundle),
         "--backend", "onnxruntime", "--threads", "1"], stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    end = time.monotonic() + 60
    while time.monotonic() < end and not list(tmp_path.glob(".out*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"the unfinished video is not kept" in err and b"Traceback" not in err
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_from_python(model, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 6, times=[0, 1, 2, 5, 6, 9], unit=Fraction(1, 12), sound=())
    with VideoWriter(tmp_path / "out.webm", like=clip) as writer:
        for result in model(clip):
            writer.write(result.rgba(), result.metadata.time)
    assert np.allclose(np.array(stamps(tmp_path / "out.webm"), float), np.array([0, 1, 2, 5, 6, 9]) / 12, atol=0.0006)
