"""What nnU-Net's own functions gave (tests/oracles/make_nnunet_reference.py), and the toy network of it."""
from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from dense.tasks.volume import VolumeTask

DATA = Path(__file__).resolve().parents[1] / "data"
KINDS = {"ZScoreNormalization": "zscore", "CTNormalization": "ct", "RescaleTo01Normalization": "range",
         "RGBTo01Normalization": "rgb", "NoNormalization": "none"}


@cache
def stored(name: str) -> dict[str, np.ndarray]:
    """Arrays of nnunet_NAME.npz by key."""
    with np.load(DATA / f"nnunet_{name}.npz") as file:
        return dict(file)


def case_names() -> list[str]:
    return sorted({key.split("/")[0] for key in stored("labels")})


def settings_of(case: str) -> dict:
    return json.loads(str(stored("labels")[f"{case}/settings"]))


def task_of(settings: dict, **changes) -> VolumeTask:
    ct = settings["intensities"]
    values = tuple(ct[k] for k in ("percentile_00_5", "percentile_99_5", "mean", "std"))
    kinds = tuple(KINDS[n] for n in settings["norm"])
    values = dict(size=settings["patch"], spacing=settings["target"], transpose=settings.get("transpose", (0, 1, 2)),
                  channels=[f"channel {c}" for c in range(len(kinds))], normalisation=kinds, masked=settings["masked"],
                  intensities=[values if k == "ct" else () for k in kinds], mirror=settings.get("mirror", (0, 1, 2)),
                  classes=("background", "a", "b", "c", "d"))
    return VolumeTask(**values | changes)


def toy_forward(case: str):
    """The toy network as a function of batches."""
    import torch
    from torch.nn.functional import conv3d, leaky_relu

    weights = {k.split("/")[1]: torch.from_numpy(v) for k, v in stored("labels").items()
               if k.startswith(f"{case}/") and k.split("/")[1][:-1] in ("weight", "bias")}

    def forward(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            hidden = leaky_relu(conv3d(torch.from_numpy(batch), weights["weight1"], weights["bias1"], padding=1))
            return conv3d(hidden, weights["weight2"], weights["bias2"], padding=1).numpy()

    return forward
