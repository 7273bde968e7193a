"""A folder of 24 photographs of 0.3 to 6 megapixels cut out by `dense cutout` and by rembg, in turn, on the CPU.

    sh benchmarks/rembg_env.sh
    python benchmarks/cutout_folder.py --rounds 3 --json work_dirs/bench_cutout.json

Both sides run IS-Net at full width and 1024 x 1024 with the same weights, each in fresh processes, from the start of
the interpreter to the last file. The published weights may not be at hand: those of the shipped narrow network are put
into the full-size one (its other channels are zero), so that masks mean something and the arithmetic is that of the
full size. Measured: pictures a second, seconds until the first cut-out is there, peak resident memory, and how far the
masks are apart: ours from each other's, and ours (with the published min-max stretch) from rembg's, which scales with
another filter (Lanczos) and divides by each picture's brightest value.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from _common import ROOT, paired, report, table
from _photographs import photographs

PEER = ROOT / ".peers" / "rembg" / "bin" / "python"
# what `rembg p` does with a folder
THEIRS = """
import sys
from pathlib import Path
from rembg import new_session, remove
session = new_session("isnet-general-use")
source, target = map(Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
for path in sorted(source.glob("*.jpg")):
    (target / path.with_suffix(".png").name).write_bytes(remove(path.read_bytes(), session=session))
"""


def full_size_model():
    """IS-Net at full width that gives what isnet@cutouts gives at 1024 x 1024."""
    import torch

    from dense import build_model

    narrow, wide = build_model("isnet@cutouts").network, build_model("isnet")
    state, small = wide.network.state_dict(), narrow.state_dict()
    for key, value in state.items():
        value.zero_()
        part = small[key]
        if part.ndim < 4:
            value[tuple(slice(n) for n in part.shape)] = part
            if key.endswith("running_var"):
                value[len(part):] = 1
        elif _takes_two(key):  # the two halves of a concatenation
            half, own = value.shape[1] // 2, part.shape[1] // 2
            value[:part.shape[0], :own] = part[:, :own]
            value[:part.shape[0], half:half + own] = part[:, own:]
        else:
            value[:part.shape[0], :part.shape[1]] = part
    wide.network.load_state_dict(state)
    x = torch.rand(1, 3, 96, 96) - 0.5
    with torch.inference_mode():
        difference = float((wide(x)[0] - narrow.eval()(x)[0][0]).abs().max())
    if not difference < 1e-3:
        sys.exit(f"the wide network differs from the narrow one by {difference}")
    return wide


def _takes_two(key: str) -> bool:
    """Whether the convolution of this key reads a concatenation: decoders within a block, and decoding stages."""
    block, inner = key.split(".")[:2]
    return (inner.startswith("rebnconv") and inner.endswith("d")) or (block.endswith("d") and inner == "rebnconvin")


def write_networks(folder: Path) -> None:
    """Our weights, our bundle, and the ONNX file as rembg knows it."""
    import torch
    from torch import nn

    from dense.deployment.export import ExportSettings, export, say_to_terminal
    from dense.deployment.source import Source
    from dense.weights.files import write_weights

    model = full_size_model()
    write_weights(folder / "isnet.safetensors", model.network.state_dict(), {})
    export(Source("isnet", str(folder / "isnet.safetensors")), folder / "bundle", ExportSettings(), say=say_to_terminal)

    class Published(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = model.network

        def forward(self, image):
            return tuple(level.sigmoid() for level in self.network(image)[0])

    place = folder / "rembg_home" / "models" / "isnet-general-use"
    place.mkdir(parents=True)
    torch.onnx.export(Published().eval(), (torch.zeros(1, 3, 1024, 1024),), str(place / "isnet-general-use.onnx"),
                      dynamo=False, opset_version=17, input_names=["input_image"])


def run(command: list[str], output: Path, environment: dict) -> dict:
    """Seconds in all and until the first result, and the peak of the resident memory in MiB."""
    begun = time.perf_counter()
    with open(output.with_suffix(".log"), "w") as log:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
        first = None
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if first is None and output.is_dir() and any(output.glob("*.png")):
                first = time.perf_counter() - begun
            if pid:
                break
            time.sleep(0.005)
    if status:
        sys.exit(f"{' '.join(command[:6])} ... failed:\n{output.with_suffix('.log').read_text()[-2000:]}")
    process.returncode = 0
    return {"seconds": time.perf_counter() - begun, "first": first, "memory": usage.ru_maxrss / 1024}


def alphas(folder: Path) -> dict[str, np.ndarray]:
    return {p.name: cv2.imread(str(p), cv2.IMREAD_UNCHANGED)[..., -1] for p in sorted(folder.glob("*.png"))}


def compare(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> tuple[float, float]:
    """Mean absolute difference in 0..255, and the smallest IoU of the masks at one half."""
    means, ious = [], []
    for name, a in one.items():
        b = other[name]
        means.append(np.abs(a.astype(np.float32) - b).mean())
        union = ((a > 127) | (b > 127)).sum()
        ious.append(((a > 127) & (b > 127)).sum() / union if union else 1.0)
    return float(np.mean(means)), float(np.min(ious))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--sides", nargs="+", default=["torch", "onnxruntime", "openvino"], help="(%(default)s)")
    parser.add_argument("--limit", type=int, default=24, help="photographs (%(default)s)")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="further ones of dense cutout")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.write:
        write_networks(Path(args.write))
        return
    if not PEER.exists():
        sys.exit(f"{PEER}: is not there. Remedy: sh benchmarks/rembg_env.sh")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in"
        source.mkdir()
        paths = sorted(photographs().glob("*.jpg"))
        for path in paths[::max(1, len(paths) // args.limit)][:args.limit]:
            (source / path.name).symlink_to(path)
        # in a process of its own: what runs later inherits the peak memory of its parent
        subprocess.run([sys.executable, __file__, "--write", name], check=True)
        rounds = measure(args, folder, source)
        rows, figures, masks = summarise(args, folder, rounds, len(list(source.iterdir())))
    text = table(["", "pictures/s", "times rembg's (95 %)", "first after s", "peak MiB", "masks from rembg's, mean/255",
                  "smallest IoU"], rows)
    report(f"A folder of {args.limit} photographs, {args.rounds} rounds", f"{text}\n\n{masks}",
           {"figures": figures, "rounds": rounds}, args.json)


def measure(args: argparse.Namespace, folder: Path, source: Path) -> dict[str, list[dict]]:
    sides = ["rembg", *args.sides]
    rounds: dict[str, list[dict]] = {side: [] for side in sides}
    for number in range(args.rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            output = folder / f"{side}-{number}"
            if side == "rembg":
                (folder / "theirs.py").write_text(THEIRS)
                command = [str(PEER), str(folder / "theirs.py"), str(source), str(output)]
                environment = {"REMBG_HOME": str(folder / "rembg_home"), "MODEL_CHECKSUM_DISABLED": "1"}
            else:
                network = ["--model", "isnet", "-w", str(folder / "isnet.safetensors")] if side == "torch" else \
                    ["--bundle", str(folder / "bundle"), "--backend", side]
                command = [sys.executable, "-m", "dense", "cutout", str(source), "-o", str(output), *network,
                           *args.options]
                environment = {"PYTHONPATH": str(ROOT)}
            rounds[side].append(run(command, output, environment))
            print(f"round {number + 1}/{args.rounds} {side}: {rounds[side][-1]}", file=sys.stderr, flush=True)
    return rounds


def summarise(args: argparse.Namespace, folder: Path, rounds: dict, count: int) -> tuple[list, dict, str]:
    theirs = alphas(folder / "rembg-0")
    own = {side: alphas(folder / f"{side}-0") for side in args.sides}
    stretched = {side: {n: stretch(a) for n, a in masks.items()} for side, masks in own.items()}
    rows, figures = [], {}
    for side, runs in rounds.items():
        ratio = paired([r["seconds"] for r in rounds["rembg"]], [r["seconds"] for r in runs])
        median = {k: float(np.median([r[k] for r in runs])) for k in ("seconds", "first", "memory")}
        mean, iou = compare(stretched[side], theirs) if side in own else (0.0, 1.0)
        figures[side] = {**median, "ratio": ratio, "difference": mean, "iou": iou}
        rows.append([side, f"{count / median['seconds']:.3f}",
                     "1" if side == "rembg" else f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})",
                     f"{median['first']:.1f}", f"{median['memory']:.0f}", f"{mean:.2f}", f"{iou:.3f}"])
    first = args.sides[0]
    between = [f"{other}: mean {m:.4f}/255, smallest IoU {i:.4f}" for other in args.sides[1:]
               for m, i in [compare(own[first], own[other])]]
    return rows, figures, f"Our masks against those of {first}: " + "; ".join(between)


def stretch(alpha: np.ndarray) -> np.ndarray:
    """The published min-max stretch."""
    low, high = int(alpha.min()), int(alpha.max())
    return np.rint((alpha.astype(np.float32) - low) * (255 / max(1, high - low))).astype(np.uint8)


if __name__ == "__main__":
    main()
