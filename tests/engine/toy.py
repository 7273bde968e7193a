"""A data set of a few small pictures in DIS5K's layout, and a config that inherits from the shipped one."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from dense.config import config_folder
from dense.engine.hooks.curves import read_log

REPOSITORY = Path(__file__).resolve().parents[2]

ENCODER = """\
from mmengine.config import read_base

with read_base():
    from .isnet_gt_encoder_cutouts import *

data_root = {root!r}
task["size"] = (64, 64)
model["network"]["width"] = 0.125
train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader.update(num_workers=0, persistent_workers=False)
test_dataloader.update(num_workers=0, persistent_workers=False)
train_cfg.update(max_iters=12, val_interval=4)
default_hooks["checkpoint"]["interval"] = 4
custom_hooks = custom_hooks[:4]
custom_hooks[1]["interval"] = 1
"""

NETWORK = """\
from mmengine.config import read_base

with read_base():
    from .isnet_cutouts_supervised import *

data_root = {root!r}
task["size"] = (64, 64)
model["network"]["width"] = 0.125
model["gt_encoder"]["network"]["width"] = 0.125
prerequisite["config"] = "toy_encoder.py"
train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader.update(num_workers=0, persistent_workers=False)
test_dataloader.update(num_workers=0, persistent_workers=False)
train_cfg.update(max_iters=4, val_interval=2)
default_hooks["checkpoint"]["interval"] = 2
custom_hooks = custom_hooks[:4]
custom_hooks[1]["interval"] = 1
ema = None
baselines = ()
"""

PLAIN = "model.gt_encoder=None"
"""Option that leaves the ground-truth encoder and its training out."""


def draw_pair(seed: int, size: tuple[int, int] = (64, 80)) -> tuple[np.ndarray, np.ndarray]:
    """Picture and mask (H, W): a bright ellipse with a stalk on a noisy dark ground."""
    rng = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, np.uint8)
    centre = (int(rng.integers(20, width - 20)), int(rng.integers(18, height - 18)))
    cv2.ellipse(mask, centre, (int(rng.integers(8, 18)), int(rng.integers(6, 14))), float(rng.uniform(0, 180)),
                0, 360, 255, -1)
    cv2.line(mask, centre, (int(rng.integers(0, width)), height - 1), 255, 2)
    colour = rng.integers(120, 255, 3)
    image = rng.integers(0, 90, (*size, 3)).astype(np.uint8)
    image[mask > 0] = colour
    return image, mask


def make_data(root: Path, train: int = 6, val: int = 3) -> Path:
    """``DIS-TR``, ``DIS-VD`` and ``DIS-TE1`` with PNG pictures and masks."""
    for number, (split, count) in enumerate((("DIS-TR", train), ("DIS-VD", val), ("DIS-TE1", 2))):
        for index in range(count):
            image, mask = draw_pair(100 * number + index)
            for folder, array in (("im", image), ("gt", mask)):
                path = root / split / folder / f"{split.lower()}_{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), array)
    return root


def make_config(folder: Path, root: Path) -> Path:
    """A copy of the shipped configs with the toy ones beside them; returns the network's."""
    shutil.copytree(config_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    (folder / "toy_encoder.py").write_text(ENCODER.format(root=str(root)))
    (folder / "toy.py").write_text(NETWORK.format(root=str(root)))
    return folder / "toy.py"


def environment(**extra: str) -> dict[str, str]:
    """Environment of a process that is to behave as this one: one thread, this checkout."""
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    return dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore") | extra


def command(verb: str, *arguments) -> list[str]:
    return [sys.executable, "-m", "dense", verb, *map(str, arguments)]


def run(verb: str, *arguments, **extra: str) -> subprocess.CompletedProcess:
    """The ``dense`` command in a process of its own."""
    return subprocess.run(command(verb, *arguments), env=environment(**extra), capture_output=True, text=True,
                          timeout=120, check=False)


def wait_for(process: subprocess.Popen, condition, seconds: float = 60) -> None:
    """Poll until ``condition()``; fail if the process ends before, or the time is up."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended too early: {process.communicate()}"
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.002)


def last_iteration(work_dir: Path) -> int:
    """The last training iteration in ``log.jsonl``, 0 without one."""
    return max((row["iter"] for row in read_log(work_dir / "log.jsonl") if "loss" in row), default=0)


def assert_same(one, other, where: str = "") -> None:
    """Nested dicts, lists, tensors and plain values are equal to the bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}.{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where
