"""Sources: what is taken for a picture, where its result belongs, growing folders, videos."""
import io
import itertools
import shutil
import sys
import threading
import time
from pathlib import Path, PurePath

import numpy as np
import pytest
from toy_pictures import disc, write_pictures

from dense.errors import DatasetError, DenseError, ImageError, MissingDependencyError
from dense.inference.sources import IDLE, find_source, watch
from dense.inference.video import is_video, read_frames


def relative(source):
    return [str(item.relative) for item in source.items]


def test_relative_names_keep_the_structure(tmp_path, monkeypatch):
    for folder in ("in", "in/a", "in/a/b"):
        write_pictures(tmp_path / folder, 1)
    monkeypatch.chdir(tmp_path)
    below = ["0.png", "a/0.png", "a/b/0.png"]
    assert sorted(relative(find_source("in", recursive=True))) == below
    assert sorted(relative(find_source(tmp_path / "in", recursive=True))) == below
    assert sorted(relative(find_source("in/**/*.png"))) == below
    assert sorted(relative(find_source("./in/../in/**/*.png"))) == below
    assert relative(find_source("in", beside=True)) == ["in/0.png"]
    assert relative(find_source("in/a/0.png")) == ["0.png"]
    Path("names.txt").write_text("# a comment\nin/a/0.png\n\n../elsewhere/x.png\n")
    assert relative(find_source("@names.txt")) == ["in/a/0.png", "x.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    path = tmp_path / "a[1].png"
    shutil.copy(*write_pictures(tmp_path / "x", 1), path)
    source = find_source(path)
    assert source.single and next(iter(source.items)).path == path


def test_the_output_in_the_input_is_no_input(tmp_path):
    write_pictures(tmp_path, 2)
    write_pictures(tmp_path / "out", 3)
    assert len(find_source(tmp_path, True, exclude=tmp_path / "out").items) == 2
    assert len(find_source(tmp_path, True).items) == 5
    assert len(find_source(f"{tmp_path}/**/*.png", exclude=tmp_path / "out").items) == 2
    assert len(find_source(tmp_path, exclude=tmp_path).items) == 2  # the same folder: its pictures are meant


@pytest.mark.parametrize(("text", "words"), [("", "the list names no file"), ("# only a comment\n", "names no file")])
def test_empty_lists(tmp_path, text, words):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(DatasetError, match=words):
        find_source(f"@{tmp_path}/names.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="cannot be read"):
        find_source(f"@{tmp_path}/binary.txt")


def test_an_empty_folder(tmp_path):
    with pytest.raises(DatasetError, match="holds no picture; pictures end in"):
        find_source(tmp_path)


def test_standard_input(tmp_path, monkeypatch):
    (path,) = write_pictures(tmp_path, 1)

    class Input:
        buffer = io.BytesIO(path.read_bytes())

    monkeypatch.setattr(sys, "stdin", Input)
    (item,) = find_source("-").items
    assert item.count_pixels() == 7000 and item.load().pixels.shape == (70, 100, 3)  # read once
    (item,) = find_source("-").items
    with pytest.raises(ImageError, match="standard input: is empty"):
        item.load()


def test_a_list_that_begins_with_a_mark_of_its_encoding(tmp_path):
    paths = write_pictures(tmp_path, 2)
    (tmp_path / "names.txt").write_text("\n".join(p.name for p in paths), encoding="utf-8-sig")
    assert [i.path for i in find_source(f"@{tmp_path}/names.txt").items] == paths


def test_pixels_are_counted_from_the_header(tmp_path):
    (path,) = write_pictures(tmp_path, 1)
    assert next(iter(find_source(path).items)).count_pixels() == 7000
    path.write_bytes(b"")
    assert next(iter(find_source(path).items)).count_pixels() == 0


# -- growing folders

def test_a_growing_folder_gives_each_file_once_and_only_when_it_is_whole(tmp_path):
    first, second = write_pictures(tmp_path / "ready", 2)
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(first, folder / "0.png")
    content, seen = second.read_bytes(), []
    assert len(content) > 300
    looks = watch(folder, poll=0.0)
    slow = open(folder / "1.png", "wb")  # noqa: SIM115 (closed below, in the middle)
    for look in range(40):
        if look < 10:  # grows between any two looks
            slow.write(content[20 * look:20 * (look + 1)])
            slow.flush()
        elif look == 10:
            slow.write(content[200:])
            slow.close()
        item = next(looks)
        if item is not IDLE:
            seen.append((look, item.relative, item.load().pixels.shape))
    assert [s[1:] for s in seen] == [(PurePath("0.png"), (70, 100, 3)), (PurePath("1.png"), (75, 100, 3))]
    assert seen[0][0] < 10 < seen[1][0]


def test_watching_ends_after_silence_and_needs_a_folder(tmp_path):
    write_pictures(tmp_path, 2)
    items = [i for i in watch(tmp_path, poll=0.01, idle=0.1) if i is not IDLE]
    assert len(items) == 2
    with pytest.raises(DatasetError, match="does not exist"):
        next(watch(tmp_path / "nowhere"))


def test_an_empty_file_is_waited_for(tmp_path):
    (tmp_path / "a.png").touch()
    assert all(i is IDLE for i in itertools.islice(watch(tmp_path, poll=0.0), 10))


@pytest.mark.parametrize("called", [True, False])
def test_watching_through_the_inferencer(model, tmp_path, called):
    folder = tmp_path / "in"
    ready = write_pictures(tmp_path / "ready", 3)
    folder.mkdir()

    def come():
        for path in ready:
            time.sleep(0.05)
            shutil.copy(path, folder / path.name)

    thread = threading.Thread(target=come)
    thread.start()
    found = watch(folder, poll=0.02, idle=1.0)
    results = list(model(found)) if called else [w.outcome for w in model.run(found)]
    thread.join()
    assert [Path(r.source).name for r in results] == ["0.png", "1.png", "2.png"]
    assert all(r.alpha.shape[1] == 100 for r in results)


# -- videos

def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(MissingDependencyError, match=r"a.mp4: .*pip install 'dense\[video\]'"):
        list(find_source(tmp_path / "a.mp4").items)
    assert is_video("A.MOV") and not is_video("a.png")


@pytest.fixture
def video(tmp_path):
    av = pytest.importorskip("av", reason="videos need the extra 'video' (PyAV)")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 128, 96, "yuv420p", 2_000_000
        for i in range(12):
            frame = np.roll(disc(96, 128), 4 * i, axis=1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_frames_stream_in_order(video, model):
    source = find_source(video)
    assert not source.single and source.total == 12
    frames = list(read_frames(video))
    assert len(frames) == 12 and frames[0].shape == (96, 128, 3)
    for i, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - np.roll(disc(96, 128), 4 * i, axis=1)).mean() < 8
    results = list(model(video))
    assert [r.source for r in results] == [f"{video} frame {i}" for i in range(12)]
    assert [str(i.relative) for i in find_source(video).items][:2] == ["clip/000000.png", "clip/000001.png"]


def test_frames_are_turned_upright(tmp_path):
    av = pytest.importorskip("av", reason="videos need the extra 'video' (PyAV)")
    path, frame = tmp_path / "clip.mp4", np.zeros((64, 96, 3), np.uint8)
    frame[:, 48:] = 255  # white on the right
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        if not hasattr(stream, "set_display_matrix"):
            pytest.skip("this PyAV cannot write a rotation")
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        one = 1 << 16  # x' = -y, y' = x with y downwards: what is right comes to the bottom, as phones write it
        stream.set_display_matrix([0, one, 0, -one, 0, 0, 0, 0, 1 << 30])
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    (read,) = read_frames(path)
    assert read.shape == (96, 64, 3)
    assert read[:40].max() < 60 and read[56:].min() > 190


def test_damaged_videos(video, model):
    content = video.read_bytes()
    for damaged, words in ((b"no video at all" * 20, "cannot be opened as a video"), (b"", "cannot be opened")):
        video.write_bytes(damaged)
        with pytest.raises(ImageError, match=words):
            list(read_frames(video))
        with pytest.raises(DenseError, match="inputs were not done"):
            list(model(video))
    video.write_bytes(content)
    with pytest.raises(ImageError, match="cannot be opened"):
        list(read_frames(video.with_name("nowhere.mp4")))
