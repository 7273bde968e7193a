"""Sliding-window inference on a CPU: dense against nnU-Net's predictor and MONAI's SlidingWindowInferer.

    sh tests/oracles/nnunet_env.sh
    python benchmarks/sliding_window.py                             stunet_small at half its width, windows only
    python benchmarks/sliding_window.py --spacing 1.1 1.3 1.3       with resampling to 1.5 mm and back, without MONAI
    python benchmarks/sliding_window.py --model convolution --shape 256 256 256 --patch 96 96 96 --rounds 3

The same traced network with the same weights, windows (the default shape lets MONAI place them alike) and mirroring.
MONAI's inferer does not mirror: its network is one that averages the copies, as its users write it. Each run is a
process of its own: from an array to labels, after a pass of the network; imports and loading are not counted.
Sides take turns, in an order that rotates; ratios are of the runs of a round. 'peak' is that of the process, 'above'
what came on top of what it had after the pass of the network. Agreement is the share of labels equal to dense's.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NNUNET = ROOT / ".peers" / "nnunet" / "bin" / "python"
TARGET = 1.5  # mm, the network's spacing


def peak() -> int:
    """Bytes of resident memory at the peak of this process so far; after ``reset_peak`` since then (Linux)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def reset_peak() -> int:
    """Bytes that are resident now; ``peak`` counts from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


# ---- the sides; each gets the network, the volume and the settings, and returns labels (Z, Y, X)


def by_dense(network, values: np.ndarray, settings: dict) -> np.ndarray:
    import torch

    from dense.tasks import VolumeTask

    def forward(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(batch)).numpy()

    task = VolumeTask(size=settings["patch"], spacing=(TARGET,) * 3, normalisation=("zscore",),
                      classes=tuple(f"class {i}" for i in range(settings["classes"])))
    mode = "mirrored" if settings["mirror"] else "plain"
    return task.segment(values, settings["spacing"], forward, mode, settings["batch"])


def by_nnunet(network, values: np.ndarray, settings: dict) -> np.ndarray:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "x", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": list(settings["patch"]), "spacing": [TARGET] * 3,
        "normalization_schemes": ["ZScoreNormalization"], "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling | {"order": 3},
        "resampling_fn_seg_kwargs": resampling | {"order": 1, "is_seg": True},
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
        "architecture": {"network_class_name": "x", "arch_kwargs": {}, "_kw_requires_import": []}}
    plans = PlansManager({
        "dataset_name": "x", "plans_name": "x", "transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO", "label_manager": "LabelManager", "experiment_planner_used": "x",
        "foreground_intensity_properties_per_channel": {"0": {}}, "configurations": {"3d_fullres": configuration}})
    names = {"background": 0} | {f"class {i}": i for i in range(1, settings["classes"])}
    predictor = nnUNetPredictor(use_mirroring=settings["mirror"], device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(network, plans, plans.get_configuration("3d_fullres"), [network.state_dict()],
                                    {"channel_names": {"0": "MR"}, "labels": names, "file_ending": ".nii.gz"}, "x",
                                    (0, 1, 2))
    return predictor.predict_single_npy_array(values, {"spacing": list(settings["spacing"])})


def by_monai(network, values: np.ndarray, settings: dict) -> np.ndarray:
    import torch
    from monai.inferers import SlidingWindowInferer

    flips = [c for n in range(1, 4) for c in combinations((2, 3, 4), n)] if settings["mirror"] else []

    def mirrored(x):
        out = network(x)
        for axes in flips:
            out += torch.flip(network(torch.flip(x, axes)), axes)
        return out / (len(flips) + 1)

    inferer = SlidingWindowInferer(settings["patch"], settings["batch"], 0.5, "gaussian", sigma_scale=0.125)
    with torch.inference_mode():
        x = torch.from_numpy(values.astype(np.float32))
        x = (x - x.mean()) / x.std(correction=0)
        return inferer(x[None], mirrored)[0].argmax(0).numpy()


SIDES = {"dense": by_dense, "nnU-Net": by_nnunet, "MONAI": by_monai}


def run_side(name: str, folder: Path) -> None:
    """In a process of its own: time, memory and labels of one side, into the folder."""
    import torch

    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    network = torch.jit.load(str(folder / "network.pt")).eval()
    values = np.load(folder / "values.npy")
    if name == "nnU-Net":
        import nnunetv2.inference.predict_from_raw_data  # noqa: F401
    elif name == "MONAI":
        import monai.inferers  # noqa: F401
    else:
        import scipy.ndimage  # noqa: F401

        import dense.tasks  # noqa: F401
    with torch.inference_mode():
        for _ in range(2):
            network(torch.zeros(1, 1, *settings["patch"]))
    before, start = reset_peak(), (time.perf_counter(), time.process_time())
    labels = SIDES[name](network, values, settings)
    seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    np.save(folder / f"{name}.npy", labels.astype(np.uint8))
    found = {"seconds": seconds, "processor": processor, "peak": peak(), "above": peak() - before}
    (folder / f"{name}.json").write_text(json.dumps(found))


def make_inputs(folder: Path, settings: dict) -> None:
    """The traced network, the volume and the settings."""
    import torch

    torch.manual_seed(0)
    if settings["model"] == "convolution":
        graph = torch.nn.Conv3d(1, settings["classes"], 1).eval()
    else:
        from dense import build_model

        overrides = {} if settings["width"] == 1 else {"width": settings["width"]}
        graph = build_model(settings["model"], num_classes=settings["classes"], **overrides).graph().eval()
    with torch.inference_mode():
        traced = torch.jit.trace(graph, torch.zeros(1, 1, *settings["patch"]), check_trace=False)
    traced.save(str(folder / "network.pt"))
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (1, *settings["shape"])).astype(np.float32)
    np.save(folder / "values.npy", np.cumsum(values, 1))
    (folder / "settings.json").write_text(json.dumps(settings))


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--side":
        run_side(sys.argv[2], Path(sys.argv[3]))
        return
    from _common import paired, report, table

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="stunet_small", help="or 'convolution': one of 1^3, to see the rest")
    parser.add_argument("--width", type=float, default=0.5, help="factor of the network's channels; 1: as published")
    parser.add_argument("--classes", type=int, default=25)
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 128, 128), help="Z Y X")
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 64, 64))
    parser.add_argument("--spacing", type=float, nargs=3, default=(TARGET,) * 3, help=f"the network's is {TARGET}")
    parser.add_argument("--batch", type=int, default=1, help="of dense and MONAI; nnU-Net's is always 1")
    parser.add_argument("--plain", action="store_true", help="without mirrored copies")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="2 and more vary with where the system puts them")
    parser.add_argument("--json")
    args = parser.parse_args()
    settings = {**vars(args), "mirror": not args.plain}
    sides = ["dense"]
    if NNUNET.exists():
        sides.append("nnU-Net")
    else:
        print("nnU-Net is left out; its environment is made by: sh tests/oracles/nnunet_env.sh")
    if all(s == TARGET for s in args.spacing):
        sides.append("MONAI")
    runs: dict[str, list[dict]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, settings)
        for number in range(args.rounds):
            for side in np.roll(sides, -number):
                python = NNUNET if side == "nnU-Net" else sys.executable
                subprocess.run([python, "-W", "ignore", __file__, "--side", side, folder], check=True,
                               stdout=subprocess.DEVNULL, env=environment())
                runs[side].append(json.loads((folder / f"{side}.json").read_text()))
        labels = {side: np.load(folder / f"{side}.npy") for side in sides}
    rows, results = [], {}
    for side in sides:
        ratio = paired([r["processor"] for r in runs["dense"]], [r["processor"] for r in runs[side]])
        clock = paired([r["seconds"] for r in runs["dense"]], [r["seconds"] for r in runs[side]])
        memory = {key: float(np.median([r[key] for r in runs[side]])) / 2**20 for key in ("peak", "above")}
        agreement = float(np.mean(labels[side] == labels["dense"]))
        results[side] = {"runs": runs[side], "processor": ratio, "clock": clock, **memory, "agreement": agreement}
        rows.append((side, f"{clock['other']:.2f}", f"{ratio['other']:.2f}",
                     "" if side == "dense" else f"{ratio['ratio']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})",
                     f"{memory['peak']:.0f}", f"{memory['above']:.0f}", f"{agreement:.4%}"))
    head = ("", "seconds", "processor s", "dense / it, processor", "peak MiB", "above MiB", "agreement")
    shape = " x ".join(map(str, args.shape))
    report(f"A volume of {shape}, {args.classes} classes, {'plain' if args.plain else 'mirrored'}", table(head, rows),
           {"sides": results}, args.json)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    main()
