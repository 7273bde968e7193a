"""Jobs of the command: where results go, what is refused beforehand, going on after an end in the middle."""
import os
import shutil
import stat
from pathlib import Path

import pytest
from toy_pictures import write_pictures

from dense.errors import ConfigError, DenseError, ImageError
from dense.inference import jobs
from dense.inference.background import background_of
from dense.inference.sinks import CutoutWriter, Names
from dense.inference.sources import find_source


def plan_job(inputs, background=None, mask=False, **settings):
    return jobs.plan_job(inputs, CutoutWriter(background_of(background), mask), **settings)


def do(model, *inputs, **settings):
    """Run a job; outcomes and failures."""
    job = plan_job([str(i) for i in inputs], **settings)
    works = list(model.run(job.items, job.write))
    return [w.outcome for w in works if not w.failure], [w.failure for w in works if w.failure]


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_structure_is_kept(model, tmp_path):
    write_pictures(tmp_path / "in", 1)
    write_pictures(tmp_path / "in/a/b", 2)
    do(model, tmp_path / "in", output=str(tmp_path / "out"), recursive=True)
    assert files(tmp_path / "out") == ["0.png", "a/b/0.png", "a/b/1.png"]
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) & 0o700 == 0o700


def test_several_folders_keep_their_names(model, tmp_path):
    write_pictures(tmp_path / "x", 1)
    write_pictures(tmp_path / "y", 1)
    do(model, tmp_path / "x", tmp_path / "y", output=str(tmp_path / "out"))
    assert files(tmp_path / "out") == ["x/0.png", "y/0.png"]


def test_names_that_clash_keep_their_suffix_in_any_order(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "a.png", "b.jpg", "C.png", "c.jpg", "c.jpg.webp"):
        (tmp_path / "in" / name).touch()
    items = find_source(tmp_path / "in").items
    found = []
    for order in (items, items[::-1]):
        names = Names(Path("out"))
        names.expect(order)
        found.append({str(i.relative): names.assign(i).name for i in order})
    assert found[0] == found[1] == {
        "a.jpg": "a.jpg.png", "a.png": "a.png.png", "b.jpg": "b.png", "C.png": "C.png.png",
        "c.jpg": "c.jpg-2.png", "c.jpg.webp": "c.jpg.png"}


def test_names_that_are_equal_even_so_get_a_number(model, tmp_path):
    for folder in ("x", "y", "z"):
        write_pictures(tmp_path / folder, 1)
    paths = [tmp_path / folder / "0.png" for folder in ("x", "y", "z")]
    outcomes, _ = do(model, *paths, output=str(tmp_path / "out"))
    assert [p.name for p in outcomes] == ["0.png.png", "0.png-2.png", "0.png-3.png"]


def test_a_file_named_twice_is_done_once(model, tmp_path):
    (path,) = write_pictures(tmp_path / "in", 1)
    outcomes, _ = do(model, path, tmp_path / "in", output=str(tmp_path / "out"))
    assert outcomes == [tmp_path / "out/0.png"]


def test_without_an_output(model, tmp_path):
    a, b = write_pictures(tmp_path / "in", 2)
    assert do(model, a)[0] == [tmp_path / "in/0-cutout.png"]
    job = plan_job([f"{tmp_path}/in/*.png"], skip_existing=True)
    assert [i.path for i in job.items] == [b] and "1 inputs are left out" in job.notes[0]
    (tmp_path / "in/0-cutout.png").unlink()
    assert do(model, tmp_path / "in")[0] == [tmp_path / "in-cutout/0.png", tmp_path / "in-cutout/1.png"]


def test_one_picture_into_a_file(model, tmp_path):
    (path,) = write_pictures(tmp_path / "in", 1)
    assert do(model, path, output=str(tmp_path / "new/b.webp"))[0] == [tmp_path / "new/b.webp"]
    assert do(model, path, output=str(tmp_path / "white.jpg"), background="white")[0] == [tmp_path / "white.jpg"]
    for settings, words in (
            (dict(output="b.jpg"), "JPEG has no transparency"), (dict(output="b.png", suffix=".webp"), "contradict"),
            (dict(output=str(path), overwrite=True), "would replace the input"),
            (dict(output="b.bmp"), "cannot write pictures as .bmp; use .png"),
            (dict(output=str(tmp_path / "new/b.webp")), "is there already"),
            (dict(output="b.png", background="#12"), "neither a colour nor a file")):
        with pytest.raises(DenseError, match=words):
            plan_job([str(path)], **settings)
    assert plan_job([str(path)], output=str(tmp_path / "new/b.webp"), skip_existing=True).total == 0
    with pytest.raises(ConfigError, match="is not one picture; give a folder"):
        plan_job([str(path.parent)], output="b.png")


def test_results_that_are_there_are_not_replaced_without_a_word(model, tmp_path):
    paths = write_pictures(tmp_path / "in", 4)
    out = tmp_path / "out"
    do(model, *paths[:2], output=str(out))
    before = (out / "0.png").stat().st_mtime_ns
    with pytest.raises(DenseError, match=r"2 of 4 results are there already, .*--skip-existing .*--overwrite"):
        plan_job([str(tmp_path / "in")], output=str(out))
    outcomes, _ = do(model, tmp_path / "in", output=str(out), skip_existing=True)
    assert [p.name for p in outcomes] == ["2.png", "3.png"] and (out / "0.png").stat().st_mtime_ns == before
    assert plan_job([str(tmp_path / "in")], output=str(out), skip_existing=True).skipped == 4
    assert len(do(model, tmp_path / "in", output=str(out), overwrite=True)[0]) == 4
    assert (out / "0.png").stat().st_mtime_ns > before


def test_inputs_are_never_replaced(tmp_path):
    paths = write_pictures(tmp_path, 2)
    with pytest.raises(ConfigError, match="is a folder of inputs, its results would be taken for inputs next time"):
        plan_job([str(tmp_path)], output=str(tmp_path), overwrite=True)
    with pytest.raises(DenseError, match="would replace an input"):
        plan_job([str(p) for p in paths], output=str(tmp_path), overwrite=True)
    os.link(paths[0], tmp_path / "linked.png")
    with pytest.raises(DenseError, match="would replace the input"):
        plan_job([str(paths[0])], output=str(tmp_path / "linked.png"), overwrite=True)


@pytest.mark.parametrize("inputs", [[""], ["a.png", ""]])
def test_an_empty_input_is_not_the_current_folder(tmp_path, monkeypatch, inputs):
    write_pictures(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="an input is empty"):
        plan_job(inputs, output="out")
    assert not (tmp_path / "out").exists()


def test_videos_in_a_folder_are_told_and_patterns_of_videos_are_expanded(tmp_path):
    write_pictures(tmp_path / "in", 1)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "in" / name).touch()
    job = plan_job([str(tmp_path / "in")], output=str(tmp_path / "out"))
    assert job.total == 1 and any("2 videos are left out" in note for note in job.notes)
    assert jobs._videos_of_pattern(f"{tmp_path}/in/*.mp4") == [f"{tmp_path}/in/a.mp4", f"{tmp_path}/in/b.mp4"]
    assert jobs._videos_of_pattern(f"{tmp_path}/in/*") == [f"{tmp_path}/in/*"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_with_a_pictures_name_is_left_out(tmp_path):
    write_pictures(tmp_path / "in", 1)
    os.mkfifo(tmp_path / "in/pipe.jpg")
    (tmp_path / "in/gone.jpg").symlink_to("nowhere.jpg")
    names = [i.path.name for i in plan_job([str(tmp_path / "in")], output=str(tmp_path / "out")).items]
    assert names == ["0.png", "gone.jpg"]  # the broken link will be told


def test_damaged_files_among_others(model, tmp_path):
    paths = write_pictures(tmp_path / "in", 6)
    paths[2].write_bytes(b"")
    paths[4].write_bytes(paths[4].read_bytes()[:-20])
    outcomes, failures = do(model, tmp_path / "in", output=str(tmp_path / "out"))
    assert files(tmp_path / "out") == ["0.png", "1.png", "3.png", "5.png"] and len(outcomes) == 4
    assert [(f.source, f.reason.split(";")[0]) for f in failures] == [
        (str(paths[2]), "is empty (0 bytes)"), (str(paths[4]), "the PNG is truncated (its end is missing)")]


@pytest.mark.parametrize("make", ["file", "below a file", "read-only"])
def test_an_output_that_cannot_be_written(tmp_path, make):
    (path,) = write_pictures(tmp_path / "in", 1)
    out = tmp_path / "out"
    if make == "read-only":
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        out.mkdir(mode=0o500)
    else:
        out.touch()
        out = out if make == "file" else out / "below"
    with pytest.raises(DenseError, match=r"a file instead of a folder; choose another|read-only for you"):
        plan_job([str(path)], output=str(out))


def test_permission_denied_is_explained(tmp_path, monkeypatch):
    (path,) = write_pictures(tmp_path / "in", 1)

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(DenseError, match=r"out: is read-only for you \(permission denied\); change its permissions"):
        plan_job([str(path)], output=str(tmp_path / "out"))


def test_inputs_that_are_not_there_are_told_before_anything_is_done(tmp_path):
    write_pictures(tmp_path / "in", 1)
    with pytest.raises(ImageError, match=r"nowhere.png: does not exist"):
        plan_job([str(tmp_path / "in"), "nowhere.png"], output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_watching_goes_on_and_leaves_out_what_is_done(model, tmp_path):
    paths = write_pictures(tmp_path / "in", 3)
    out = tmp_path / "out"
    do(model, paths[0], output=str(out))
    job = plan_job([str(tmp_path / "in")], output=str(out), watched=True, idle=1.5)
    outcomes = [w.outcome.name for w in model.run(job.items, job.write)]
    assert outcomes == ["1.png", "2.png"] and job.skipped == 1 and job.total is None
    with pytest.raises(ConfigError, match="its results would be taken for inputs"):
        plan_job([str(tmp_path / "in")], output=str(tmp_path / "in"), watched=True)
    with pytest.raises(ConfigError, match="not standard output"):
        plan_job([str(tmp_path / "in")], output="-", watched=True)
    with pytest.raises(ConfigError, match="--watch needs one folder"):
        plan_job([str(paths[0])], watched=True)


def test_the_frames_of_a_video(model, tmp_path):
    av = pytest.importorskip("av", reason="videos need the extra 'video' (PyAV)")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(64, 64, "rgb24")))
        container.mux(stream.encode())
    do(model, path, suffix=".png")
    assert files(tmp_path / "clip-cutout") == [f"clip/00000{i}.png" for i in range(3)]
    with pytest.raises(DenseError, match="is there already"):
        do(model, path, suffix=".png")
    (tmp_path / "clip-cutout/clip/000001.png").unlink()
    assert [p.name for p in do(model, path, suffix=".png", skip_existing=True)[0]] == ["000001.png"]


def test_results_inside_the_input_are_no_input(model, tmp_path):
    write_pictures(tmp_path / "in", 2)
    out = tmp_path / "in/out"
    for _ in range(2):
        do(model, tmp_path / "in", output=str(out), recursive=True, overwrite=True)
    assert files(out) == ["0.png", "1.png"]
    shutil.rmtree(out)
