"""The package works from its wheel, outside the clone."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the installed wheel, and nothing of the clone."""
    pytest.importorskip("setuptools", reason="building the wheel needs setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    # git archive leaves build leftovers of the clone out of the wheel
    source = folder / "source"
    source.mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout
    if not files:
        pytest.skip("not a git checkout")
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("data/", "tests/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True,
                   capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-compile", "--target", folder / "site", wheel], check=True,
                   capture_output=True)
    return folder / "site"


def run(site: Path, *args: str) -> subprocess.CompletedProcess:
    elsewhere = site.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    env = os.environ | {"PYTHONPATH": str(site), "DENSE_CACHE": str(site.parent / "cache")}
    return subprocess.run([sys.executable, *args], cwd=elsewhere, env=env, capture_output=True, text=True, check=False)


def test_the_wheel_is_what_runs(site):
    out = run(site, "-c", "import dense; print(dense.__file__)")
    assert Path(out.stdout.strip()).is_relative_to(site), out.stderr


def test_models_are_listed_with_the_shipped_weights(site):
    out = run(site, "-m", "dense", "models")
    assert out.returncode == 0, out.stderr
    assert "isnet_gt_encoder" in out.stdout
    assert "isnet@cutouts" in out.stdout


def test_the_catalogue_is_in_the_wheel(site):
    out = run(site, "-m", "dense", "weights", "list")
    assert out.returncode == 0, out.stderr
    assert "isnet@general-use" in out.stdout


def test_shipped_weights_predict(site):
    code = ("import numpy, dense; m = dense.build_model('isnet@cutouts');"
            "a = m.task.run(numpy.full((40, 50, 3), 90, 'uint8'), lambda x: m(__import__('torch').from_numpy(x))"
            "[0].sigmoid().detach().numpy()); print(a.shape)")
    out = run(site, "-c", code)
    assert "(40, 50)" in out.stdout, out.stderr


def test_shipped_configs_are_found_by_name(site):
    out = run(site, "-m", "dense", "train", "isnet_dis5k")
    assert out.returncode == 1
    assert "DIS-TR/im" in out.stderr, out.stderr
    assert "Traceback" not in out.stderr
