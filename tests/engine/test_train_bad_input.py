"""What goes wrong from outside during training ends it with one clear message, and nothing is lost."""
from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from pathlib import Path

import cv2
import pytest
import torch
from toy import PLAIN, command, environment, last_iteration, make_data, run, wait_for

import dense
from dense.engine.settings import Settings
from dense.engine.train import train
from dense.errors import ConfigError, DatasetError, DenseError, ImageError, WeightsError
from dense.weights.files import read_checkpoint


def damage(root, kind: str):
    """Damage one training pair; returns the file that the message has to name."""
    image, mask = (root / "DIS-TR" / folder / "dis-tr_2.png" for folder in ("im", "gt"))
    if kind == "truncated":
        image.write_bytes(image.read_bytes()[:300])
    elif kind == "empty":
        image.write_bytes(b"")
    else:
        cv2.imwrite(str(mask), cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) // 255)
        return mask
    return image


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", ["truncated", "empty", "0/1 mask"])
def test_a_damaged_file_ends_training_with_an_error_that_names_it(toy, kind, workers):
    root = make_data(toy.folder / "data")
    path = damage(root, kind)
    settings = Settings(work_dir=str(toy.folder / "run"), data_root=str(root), options=[PLAIN], workers=workers,
                        max_iters=6)
    with pytest.raises(ImageError) as caught:
        train(toy.config, settings)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "Remedy" in message or kind != "0/1 mask"
    assert "Traceback" not in message and "worker" not in message


def test_the_command_reports_a_damaged_file_in_one_line(toy):
    root = make_data(toy.folder / "data")
    path = damage(root, "truncated")
    done = run("train", toy.config, "--data-root", root, "--workers", 1, "--cfg-options", PLAIN)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {path}")
    assert "Traceback" not in done.stderr + done.stdout


def test_a_missing_data_set_is_reported_before_anything_is_made(toy):
    with pytest.raises(DatasetError, match=r"(?s)nowhere.*DIS-TR/im.*--data-root.*isnet_cutouts"):
        train(toy.config, Settings(work_dir=str(toy.folder / "run"), data_root=str(toy.folder / "nowhere")))
    assert not (toy.folder / "run").exists()


def test_an_empty_data_folder_is_explained_as_a_missing_one(toy):
    (toy.folder / "nothing").mkdir()
    with pytest.raises(DatasetError, match=r"(?s)nothing is empty.*DIS-TR/im.*terms of use.*--data-root"):
        train(toy.config, Settings(work_dir=str(toy.folder / "run"), data_root=str(toy.folder / "nothing")))


def test_a_relative_data_root_is_missed_here_and_in_the_clone(toy):
    with pytest.raises(DatasetError) as caught:
        train(toy.config, Settings(work_dir=str(toy.folder / "run"), data_root="data/nowhere"))
    assert str(toy.folder / "data" / "nowhere") in str(caught.value)
    assert str(Path(dense.__file__).parents[1] / "data" / "nowhere") in str(caught.value)


@pytest.mark.parametrize("options", [[PLAIN], []])
def test_a_file_as_work_directory_is_refused(toy, options):
    (toy.folder / "notes.md").write_text("mine")
    with pytest.raises(DenseError, match=r"notes\.md.*choose another folder"):
        train(toy.config, Settings(work_dir=str(toy.folder / "notes.md"), options=options))
    assert (toy.folder / "notes.md").read_text() == "mine"


def test_a_batch_of_one_at_a_tiny_size_says_what_to_change(toy):
    with pytest.raises(ConfigError, match="larger --size or --batch-size"):
        train(toy.config, Settings(work_dir=str(toy.folder / "run"), batch_size=1, options=[PLAIN]))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"),
                                   OSError(errno.EFBIG, "File too large")])
def test_a_full_disk_leaves_the_last_checkpoint_and_says_how_to_go_on(toy, monkeypatch, error):
    folder = toy.folder / "run"
    settings = Settings(work_dir=str(folder), options=[PLAIN])
    save = torch.save

    def full(content, file, *args, **kwargs):
        if ".iter_4." not in str(file.name):
            return save(content, file, *args, **kwargs)
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(DenseError, match=r"(?s)iter_4\.pth.*iter_2\.pth is intact.*--resume"):
        train(toy.config, settings)
    assert [p.name for p in folder.iterdir() if "iter_" in p.name] == ["iter_2.pth"]
    monkeypatch.setattr(torch, "save", save)
    train(toy.config, settings, resume=True)
    assert read_checkpoint(folder / "iter_4.pth")["meta"]["iter"] == 4


def test_a_disk_that_is_full_for_the_log_says_how_to_go_on(toy, monkeypatch):
    def full(self, row):
        if row["iter"] == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(self.file))

    monkeypatch.setattr("dense.engine.hooks.curves.Curves._write", full)
    monkeypatch.setattr("dense.engine.hooks.curves.draw_curves", lambda *_: None)
    with pytest.raises(DenseError, match=r"(?s)log\.jsonl: No space left.*iter_2\.pth is intact.*--resume"):
        train(toy.config, Settings(work_dir=str(toy.folder / "run"), options=[PLAIN]))


def test_a_checkpoint_of_something_else_cannot_be_resumed(toy):
    folder = toy.folder / "run"
    folder.mkdir()
    torch.save({"state_dict": {"a": torch.zeros(1)}}, folder / "iter_2.pth")
    with pytest.raises(WeightsError, match=r"(?s)iter_2\.pth.*cannot be resumed.*--weights"):
        train(toy.config, Settings(work_dir=str(folder), options=[PLAIN]), resume=True)


@pytest.mark.slow
def test_ctrl_c_ends_quietly_and_the_run_can_be_resumed(toy):
    folder = toy.folder / "run"
    arguments = [toy.config, "--work-dir", folder, "--workers", 1, "--max-iters", 200, "--cfg-options", PLAIN]
    process = subprocess.Popen(command("train", *arguments), env=environment(), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(process, lambda: last_iteration(folder) >= 3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: its workers too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in out + err
    stopped = last_iteration(folder)
    arguments[arguments.index(200)] = stopped // 2 * 2 + 4
    done = run("train", *arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "finished.json").read_text())["iterations"] == stopped // 2 * 2 + 4
