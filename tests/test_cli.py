"""The ``dense`` command: light to start, and no traceback for what a person can mend."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dense import __version__
from dense.cli import main
from dense.errors import DenseError
from dense.weights.shipped import list_shipped

REPOSITORY = Path(__file__).resolve().parents[1]
VERBS = ("cutout", "detect", "doctor", "erase", "eval", "export", "models", "segment", "test", "train", "verify",
         "weights")
HEAVY = ("torch", "mmengine", "cv2", "numpy", "matplotlib", "rich", "PIL")


def dense(*arguments, **extra: str) -> subprocess.CompletedProcess:
    environment = dict(os.environ, PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS="1") | extra
    return subprocess.run([sys.executable, "-m", "dense", *map(str, arguments)], env=environment, text=True,
                          capture_output=True, timeout=120, check=False)


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_is_there_and_imports_nothing_heavy(verb):
    arguments = [verb, "--help"] if verb else ["--help"]
    script = ("import json, sys\nfrom dense.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n"
              f"    print(json.dumps([end.code, [m for m in {HEAVY} if m in sys.modules]]), file=sys.stderr)")
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, PYTHONPATH=str(REPOSITORY)), check=False)
    print(f"dense {' '.join(arguments)}: {time.perf_counter() - begin:.2f} s")
    assert json.loads(done.stderr) == [0, []]
    assert "usage: dense" in done.stdout
    if verb is None:
        assert all(f"    {name} " in done.stdout for name in VERBS)


def test_version_is_that_of_the_package():
    assert dense("--version").stdout == f"dense {__version__}\n"


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    assert {"isnet", "isnet_gt_encoder"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}


@pytest.mark.parametrize("arguments", [[], ["fly"], ["train"], ["train", "x", "--resume", "--fresh"],
                                       ["train", "x", "--batch-size", "two"]])
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2


@pytest.mark.parametrize(("arguments", "words"), [
    (["train", "isnet_dis5"], "did you mean isnet_dis5k"),
    (["train", "isnet_cutouts", "--cfg-options", "modle.x=1"], "did you mean 'model'"),
    (["train", "isnet_cutouts", "--cfg-options", "custom_hooks=[dict(type='Progress')]"], "is no Python literal"),
    (["train", "isnet_cutouts", "--cfg-options", "model.feature_loss=foo"], "feature_loss='foo'"),
    (["train", "isnet_cutouts", "--size", "10"], "size must be two whole numbers >= 32"),
    (["train", "isnet_cutouts", "--batch-size", "0"], "batch_size 0: must be at least 1"),
    (["train", "isnet_cutouts", "--data-root", "nowhere"], "the data set was not found"),
    (["train", "isnet_cutouts", "--minutes", "0"], "minutes 0.0: must be above 0"),
    (["test", "isnet_cutouts", "isnet@nothing"],
     f"no weights are called 'isnet@nothing'; shipped: {', '.join(list_shipped())}"),
    (["test", "isnet_cutouts", "nowhere.pth"], "nowhere.pth: no such weights file"),
])
def test_a_problem_of_the_user_is_one_message_and_status_1(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path))
    monkeypatch.delenv("DENSE_TRACEBACK", raising=False)
    assert main([*arguments, "--work-dir", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert "error: " in err and words in err
    assert "Traceback" not in err


def test_a_misspelt_key_ends_the_command_without_a_traceback(tmp_path):
    done = dense("train", "isnet_cutouts", "--cfg-options", "model.network.widht=1", "--work-dir", tmp_path / "run")
    assert done.returncode == 1
    assert "ISNet has no setting 'widht'; did you mean 'width'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_option_shows_the_usage_of_its_verb_and_the_near_miss(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "isnet_cutouts", "--max-itres", "3"])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "usage: dense train" in err and "did you mean --max-iters?" in err


def test_the_traceback_can_be_asked_for(monkeypatch, capsys):
    monkeypatch.setenv("DENSE_TRACEBACK", "1")
    assert main(["train", "isnet_dis5"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_of_all_processes_is_printed_by_the_first_and_of_another_by_that_one(monkeypatch, capsys):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "isnet_dis5"]) == 1
    assert capsys.readouterr().err.startswith("error (process 1): ")


def test_an_interruption_is_status_130(monkeypatch, capsys):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("dense.commands.models.run", stop)
    assert main(["models"]) == 130
    assert capsys.readouterr().err.count("\n") == 1
    assert issubclass(DenseError, Exception)


@pytest.mark.parametrize(("package", "words"), [("torch", "pip install 'dense'"), ("mmseg", "dense[seg]")])
def test_a_missing_package_is_one_line(package, words, monkeypatch, capsys):
    def run(args):
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr("dense.commands.models.run", run)
    assert main(["models"]) == 1
    error = capsys.readouterr().err
    assert f"dense models needs the package {package}" in error and words in error and "Traceback" not in error
    monkeypatch.setattr("dense.cli.EXTRAS", {})
    with pytest.raises(ModuleNotFoundError):
        main(["models"])
