"""Latency of FFNets on the CPU beside mmseg's PIDNet-S, DDRNet23-slim and SegFormer-B0, interleaved.

    python benchmarks/segmentation.py --json work_dirs/bench_segmentation.json         512 x 1024, batch 1
    python benchmarks/segmentation.py --published-size --rounds 5        each at the size that its mIoU is published for
    python benchmarks/segmentation.py --networks ffnet46NS_CCC_mobile --size 128 256 --rounds 1 --warmup 1

Weights are random, the arithmetic is the same. "eager" is PyTorch as it is on every side: the network's logits of a
normalised picture, in inference mode; resizing and argmax are on no side. Ours on ONNX Runtime and OpenVINO are
the bundles that ``dense export`` writes, for which BatchNorm is folded. Parameters are those that inference uses.
The published mIoU belongs to the published weights at the size in the column beside it. At one size for all, that is
not always the size that is timed; with --published-size it is.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from _common import paired, report, table

# mIoU on Cityscapes val, published: FFNet's by its authors, the others by mmsegmentation; the height of the input
NETWORKS = {
    "ffnet46NS_CCC_mobile": (76.7, 512), "ffnet122NS_CCC_mobile": (79.2, 512), "ffnet40S_BCC_mobile": (78.4, 512),
    "ffnet78S_BCC_mobile": (80.6, 512), "ffnet40S_BBB_mobile": (79.7, 512), "ffnet78S_BBB_mobile": (80.5, 512),
    "ffnet40S_dBBB_mobile": (79.2, 1024), "ffnet78S_dBBB_mobile": (81.3, 1024), "ffnet46N_CBB": (81.9, 1024)}
PEERS = {"PIDNet-S": (78.74, 1024), "DDRNet23-slim": (77.84, 1024), "SegFormer-B0": (76.54, 1024)}
BASE = "PIDNet-S"
OURS = ("onnxruntime", "openvino")
CLASSES = 19


def peers() -> dict:
    """mmseg's networks, of its own classes, with the settings of its model zoo; random weights."""
    from dense.compat import ensure_mmcv_ext

    ensure_mmcv_ext()
    from mmseg.models.backbones import DDRNet, MixVisionTransformer, PIDNet
    from mmseg.models.decode_heads import DDRHead, PIDHead, SegformerHead
    from torch import nn

    norm, head = dict(type="BN"), dict(num_classes=CLASSES, align_corners=False)
    # only built, never trained: one loss for each of their outputs is all that the heads ask for
    losses = dict(loss_decode=[dict(type="mmseg.CrossEntropyLoss")] * 2)
    made = {
        "PIDNet-S": (PIDNet(3, 32, 96, 2, 3, norm_cfg=norm), PIDHead(128, 128, norm_cfg=norm, **head)),
        "DDRNet23-slim": (DDRNet(3, 32, 128, norm_cfg=norm),
                          DDRHead(128, 64, norm_cfg=norm, dropout_ratio=0.0, **head, **losses)),
        "SegFormer-B0": (
            MixVisionTransformer(embed_dims=32, num_layers=[2, 2, 2, 2], num_heads=[1, 2, 5, 8],
                                 patch_sizes=[7, 3, 3, 3], sr_ratios=[8, 4, 2, 1], mlp_ratio=4, qkv_bias=True),
            SegformerHead(in_channels=[32, 64, 160, 256], in_index=[0, 1, 2, 3], channels=256, norm_cfg=norm, **head))}
    return {name: nn.Sequential(*parts).eval() for name, parts in made.items()}


def count_used(network) -> int:
    """Parameters that the output depends on: heads that only training has are not counted."""
    import torch

    network(torch.zeros(1, 3, 128, 128)).sum().backward()
    used = sum(p.numel() for p in network.parameters() if p.grad is not None)
    network.zero_grad(set_to_none=True)
    return used


def bundle_sides(name: str, model, args, folder: Path) -> dict[str, Callable]:
    """The bundle of a model on every backend that is installed; batches 0..255."""
    from dense.backends import BACKENDS, open_session
    from dense.deployment.export import ExportSettings, export, say_to_terminal
    from dense.deployment.source import Source

    class Given(Source):
        def build(self):
            return model

    made = export(Given(name, untrained=True), folder / name, ExportSettings(size=size_of(name, args), dynamic=()),
                  say=say_to_terminal)
    return {b: open_session(made, b, "cpu", args.threads) for b in OURS if BACKENDS[b].installed()}


def size_of(name: str, args) -> tuple[int, int]:
    """(height, width) that a network is timed at."""
    if args.published_size and name in NETWORKS | PEERS:
        height = (NETWORKS | PEERS)[name][1]
        return height, 2 * height
    return tuple(args.size)


def sides(args, folder: Path) -> tuple[dict[tuple[str, str], Callable], dict[str, int]]:
    """(network, backend) -> function without arguments that runs it once; parameters of each network."""
    import torch

    from dense import build_model

    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    runs: dict[tuple[str, str], Callable] = {}
    counts = {}

    def picture_of(name: str) -> np.ndarray:
        return np.random.default_rng(0).uniform(0, 255, (1, 3, *size_of(name, args))).astype(np.float32)

    def eager(name: str, network) -> Callable:
        normalised = torch.from_numpy((picture_of(name) - 120) / 58)

        def run():
            with torch.inference_mode():
                return network(normalised)

        return run

    for name, network in peers().items():
        counts[name] = count_used(network)
        runs[name, "eager"] = eager(name, network)
    for name in args.networks:
        model = build_model(name)
        network = model.network.eval()
        counts[name] = count_used(network)
        runs[name, "eager"] = eager(name, network)
        if args.bundles:
            for backend, session in bundle_sides(name, model, args, folder).items():
                runs[name, backend] = partial(session, picture_of(name))
    return runs, counts


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME", help="FFNets (default: "
                        f"{', '.join(NETWORKS)})")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 1024), metavar=("H", "W"), help="(%(default)s)")
    parser.add_argument("--published-size", action="store_true", help="each at the size that its mIoU is for")
    parser.add_argument("--rounds", type=int, default=11, help="that count (%(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="rounds before (%(default)s)")
    parser.add_argument("--threads", type=int, help="of every side (their own choice)")
    parser.add_argument("--eager-only", dest="bundles", action="store_false", help="without ONNX Runtime and OpenVINO")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        runs, counts = sides(args, Path(folder))
        seconds: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
        for number in range(args.warmup + args.rounds):
            for key in list(runs) if number % 2 == 0 else list(runs)[::-1]:
                begun = time.perf_counter()
                runs[key]()
                seconds[key].append(time.perf_counter() - begun)
            print(f"round {number + 1}/{args.warmup + args.rounds}: "
                  f"{sum(s[-1] for s in seconds.values()):.1f} s", file=sys.stderr, flush=True)
    seconds = {key: s[args.warmup:] for key, s in seconds.items()}
    base, rows, figures = seconds[BASE, "eager"], [], {}
    for name in sorted(counts, key=lambda n: np.median(seconds[n, "eager"])):
        result = figures[name] = paired(seconds[name, "eager"], base)
        others = {b: paired(seconds[name, b], seconds[name, "eager"]) for b in OURS if (name, b) in seconds}
        figures[name] |= {"parameters": counts[name], "backends": others}
        miou, height = (NETWORKS | PEERS).get(name, (None, None))
        rows.append([name, f"{1000 * result['ours']:.0f}", f"{result['ratio']:.2f}",
                     f"{result['low']:.2f} to {result['high']:.2f}",
                     *(f"{1000 * others[b]['ours']:.0f}" if b in others else "" for b in OURS),
                     f"{counts[name] / 1e6:.1f}", f"{miou:.1f}" if miou else "",
                     f"{height}x{2 * height}" if height else ""])
    text = table(["", "eager, ms (median)", f"times {BASE}", "95 % interval", *(f"{b}, ms" for b in OURS),
                  "parameters, M", "mIoU, published", "at"], rows)
    size = "each at its published size" if args.published_size else f"{args.size[0]} x {args.size[1]}"
    report(f"Semantic networks on the CPU: {size}, batch 1, {args.rounds} rounds", text,
           {"figures": figures, "seconds": {" on ".join(key): s for key, s in seconds.items()}}, args.json)


if __name__ == "__main__":
    main()
