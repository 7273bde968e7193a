"""tools/eval_masks.py as a person runs it."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evaluation"))

from folders import make_folders

from dense.cli import main

TOOL = Path(__file__).resolve().parents[2] / "tools" / "eval_masks.py"

WITHOUT_TORCH = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmdet', 'rich'):
            raise ImportError(name + ' is blocked')
sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return make_folders(tmp_path)


def tool(*arguments, start=(str(TOOL),), **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *start, *map(str, arguments)], env=dict(os.environ, OMP_NUM_THREADS="1"),
                          capture_output=True, text=True, timeout=240, check=False, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_one_and_two_processes_write_the_same(root):
    for jobs in (1, 2):
        done = tool("soft_net", "hard", "data", "--jobs", jobs, "-o", f"out{jobs}", "--metrics", "dis", "--worst", 2)
        assert done.returncode == 0, done.stderr
    one, two = files(root / "out1"), files(root / "out2")
    assert one.keys() == two.keys() and len(one) == 19
    assert [name for name in one if one[name] != two[name]] == []
    assert "| soft_net |" in done.stdout and "| HCE in parts" in done.stdout
    assert "out2/summary.md, .tex, .json" in done.stdout and "out2/{soft_net,hard}/per_image.csv" in done.stdout


def test_without_torch_and_its_kin(root):
    done = tool(TOOL, "hard", "data", "--metrics", "all", "-o", "out", start=("-c", WITHOUT_TORCH))
    assert done.returncode == 0, done.stderr
    assert (root / "out" / "hard" / "worst_HCE.png").is_file() and (root / "out" / "curves.png").is_file()


def test_problems_are_listed_and_the_status_is_1(root):
    (root / "hard" / "p_0.png").unlink()
    (root / "hard" / "p_1.png").write_bytes(b"")
    cv2.imwrite(str(root / "hard" / "p_3.png"), np.zeros((5, 5), np.uint8))
    done = tool("hard", "data", "--metrics", "MAE", "-o", "out")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "hard: 3 of 6 images evaluated; 1 without a prediction, 1 unreadable, 1 of another size" in done.stdout
    assert "p_1.png: is empty (0 bytes)" in done.stdout
    assert "p_3.png: is 5x5" in (root / "out" / "summary.md").read_text()
    problems = json.loads((root / "out" / "summary.json").read_text())["methods"][0]["problems"]
    assert [problem["kind"] for problem in problems] == ["missing", "unreadable", "size"]


@pytest.mark.parametrize(("arguments", "words"), [
    (["data"], "one folder only"),
    (["hard", "data", "--metrics", "maxG"], "unknown metrics maxG"),
    (["hard", "data", "--metrics", "MAE", "--worst-by", "HCE"], "--worst-by HCE"),
    (["hard", "data", "-o", "file/out"], "file/out: lies in file, a file instead of a folder; choose another"),
    (["hard", "data", "-o", "file"], "file: is a file instead of a folder; choose another"),
    (["hard", "empty"], "masks directly in empty were looked for too"),
    (["nowhere", "data"], "nowhere: the folder does not exist"),
    (["hard", "data", "--names", "a", "b"], "1 folders of predictions, but the names a, b"),
    (["hard", "data", "--split", "DIS-VD"], "no folders with pictures and masks for DIS-VD"),
])
def test_a_problem_of_the_user_is_one_message(root, capsys, arguments, words):
    (root / "file").write_text("")
    (root / "empty").mkdir()
    assert main(["eval", *arguments]) == 1
    err = capsys.readouterr().err
    assert words in err and err.count("error: ") == 1 and "Traceback" not in err


@pytest.mark.parametrize("arguments", [["--jobs", "0"], ["--jobs", "x"], ["--worst", "-1"]])
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as end:
        main(["eval", "a", "b", *arguments])
    assert end.value.code == 2


def test_names_with_spaces_and_commas(root):
    for number, names in enumerate((["MAE", "IoU"], ["MAE,IoU"], ["MAE,", "IoU"])):
        assert main(["eval", "hard", "data", "-o", f"out{number}", "--metrics", *names, "--worst-by", *names]) == 0
    assert files(root / "out0") == files(root / "out1") == files(root / "out2")
    assert {"hard/worst_MAE.png", "hard/worst_IoU.png"} <= files(root / "out0").keys()


def test_skeletons_beside_the_data(root):
    assert main(["eval", "hard", "data/gt", "--metrics", "HCE", "--cache", "beside", "--worst", "0"]) == 0
    assert list((root / "data" / "gt" / ".skeletons").rglob("*.png"))
    assert main(["eval", "soft_net", "data/gt", "--metrics", "HCE", "--cache", "none", "--worst", "0"]) == 0
    assert not (root / "cache").exists()


def large(root: Path, count: int = 24, size: int = 700) -> None:
    rng = np.random.default_rng(1)
    for folder in ("large/gt", "large/pred"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        noise = cv2.GaussianBlur(rng.random((size, size)), (0, 0), 6)
        for folder, level in (("gt", 0.5), ("pred", 0.51)):
            cv2.imwrite(str(root / "large" / folder / f"{number}.png"), (noise > level).astype(np.uint8) * 255)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGKILL, 1), (signal.SIGKILL, 2), (signal.SIGINT, 2)])
def test_a_run_that_was_ended_goes_on(root, number, jobs):
    large(root)
    command = ["large/pred", "large/gt", "--metrics", "MAE,HCE,wF", "--worst", "0", "--jobs", jobs, "-o", "out"]
    journal = root / "out" / "journal.jsonl"
    process = subprocess.Popen([sys.executable, str(TOOL), *map(str, command)], stderr=subprocess.PIPE, text=True,
                               stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not journal.is_file() or journal.read_bytes().count(b"\n") < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: the workers as well
    else:
        process.kill()
    # the pipe ends when the workers are gone too
    error = process.communicate(timeout=60)[1]
    assert "Traceback" not in error
    if number == signal.SIGINT:
        assert process.returncode == 130 and "what was finished is kept" in error
    kept = journal.read_bytes().count(b"\n")
    assert 2 <= kept < 24
    with open(journal, "a") as file:
        file.write('{"key": "torn')
    done = tool(*command)
    assert done.returncode == 0, done.stderr
    assert f"{kept} of 24 results are those of an earlier run" in done.stderr
    again = files(root / "out")
    assert tool(*command[:-1], "fresh").returncode == 0
    assert files(root / "fresh") == again
