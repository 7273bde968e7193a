"""Does the loader feed faster than the network eats? Samples a second of both.

    python benchmarks/loader.py --json work_dirs/bench_loader.json

Two cases: the bundled set with its config, and 3-megapixel JPEGs in the layout of DIS5K (made in a temporary
folder) with configs/isnet_dis5k.py at 1024 x 1024. Each with an empty picture cache (one epoch) and with a full
one; the files themselves are in the system's cache either way. The loader is the config's: pipeline, sampler,
workers; their start counts.
The network eats what one training step of the same config takes (model.train_step: forward, backward, Adam).
Loader and step are timed one after the other; while training they share the cores, so the seconds of processor
time that a sample costs are given as well.
"""
from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from _common import ROOT, report, table


def make_dis_like(root: Path, count: int, height: int = 1500, width: int = 2000) -> None:
    """Pictures with the grain of photographs (about 1 MB as JPEG) and masks with fine structure."""
    import cv2

    for split in ("DIS-TR", "DIS-VD"):
        for folder in ("im", "gt"):
            (root / split / folder).mkdir(parents=True)
    for index in range(count):
        rng = np.random.default_rng(index)
        coarse = cv2.resize(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), (width, height),
                            interpolation=cv2.INTER_CUBIC)
        grain = cv2.GaussianBlur(rng.normal(0, 30, (height, width, 3)).astype(np.float32), (0, 0), 1.2)
        image = np.clip(coarse + 2 * grain, 0, 255).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        for _ in range(60):
            a, b = rng.integers(0, (width, height), (2, 2)).tolist()
            cv2.line(mask, a, b, 255, int(rng.integers(2, 30)), cv2.LINE_AA)
        for split in ("DIS-TR", "DIS-VD") if index == 0 else ("DIS-TR",):
            cv2.imwrite(str(root / split / f"im/{index:04}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
            cv2.imwrite(str(root / split / f"gt/{index:04}.png"), mask)


def processor_seconds() -> float:
    """Of this process and of the children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def feed(cfg, samples: int, batch: int, workers: int) -> dict:
    """Samples a second of the training loader over the first draws, and processor time a sample.

    Both from before the workers start to the last batch.
    """
    from mmengine.dataset import pseudo_collate, worker_init_fn
    from torch.utils.data import DataLoader

    from dense.registry import DATA_SAMPLERS, DATASETS

    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    sampler = DATA_SAMPLERS.build(dict(cfg.train_dataloader.sampler), default_args=dict(dataset=dataset, seed=0))
    draws = list(islice(sampler, samples))
    setup = partial(worker_init_fn, num_workers=workers, rank=0, seed=0)
    start, spent = time.perf_counter(), processor_seconds()
    loader = DataLoader(dataset, batch, sampler=draws, num_workers=workers, collate_fn=pseudo_collate,
                        worker_init_fn=setup if workers else None)
    count = sum(len(b["inputs"]) for b in loader)
    seconds = time.perf_counter() - start
    del loader  # its workers have ended, so their time counts
    return {"samples a second": count / seconds, "samples": count,
            "processor s a sample": (processor_seconds() - spent) / count}


def eat(cfg, batch: int, steps: int, device: str) -> float:
    """Samples a second of training steps on generated data, the median of ``steps`` after one more."""
    from mmengine.optim import OptimWrapper
    from mmengine.structures import BaseDataElement, PixelData

    from dense.registry import MODELS

    model_cfg = cfg.model.to_dict() if hasattr(cfg.model, "to_dict") else dict(cfg.model)
    supervised = model_cfg.pop("gt_encoder", None)
    model = MODELS.build(model_cfg).to(device).train()
    if supervised:
        from dense.models.isnet.model import FrozenEncoder

        model.teacher = FrozenEncoder(MODELS.build(dict(supervised["network"])))  # time does not depend on weights
    values = dict(cfg.optim_wrapper.optimizer)
    optimizer = values.pop("type")(model.parameters(), **values)
    kind = cfg.optim_wrapper.get("type", OptimWrapper)
    wrapper = kind(optimizer=optimizer, **{k: v for k, v in cfg.optim_wrapper.items() if k in ("dtype", "loss_scale")})
    height, width = model.task.size
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8)) for _ in range(batch)]
    samples = []
    for _ in range(batch):
        samples.append(BaseDataElement())
        samples[-1].gt_alpha = PixelData(data=(torch.rand(1, height, width) > 0.5).to(torch.uint8) * 255)
    seconds = []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        model.train_step({"inputs": images, "data_samples": samples}, wrapper)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return batch / float(np.median(seconds[1:]))


def run_case(name: str, config: str, root: Path, samples: int, step_batch: int | None, args) -> list[dict]:
    from dense.engine.settings import Settings, load_config, runner_config

    cfg = runner_config(load_config(config, Settings(
        data_root=str(root), size=args.size, batch_size=args.batch, workers=args.workers, amp=args.amp)))
    if args.width:
        cfg.model.network["width"] = args.width
        cfg.model.gt_encoder.network["width"] = args.width
    batch, workers = cfg.train_dataloader.batch_size, cfg.train_dataloader.num_workers
    step_batch = args.step_batch or step_batch or batch
    print(f"{name}: training steps of batch {step_batch} ...", file=sys.stderr, flush=True)
    eaten = eat(cfg, step_batch, args.steps, args.device)
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["DENSE_CACHE"] = f"{cache}/other"
        feed(cfg, 1, 1, 0)  # what is imported on first use
        os.environ["DENSE_CACHE"] = f"{cache}/own"
        for state, epochs in (("empty", 1), ("full", args.epochs)):
            print(f"{name}: loader, cache {state} ...", file=sys.stderr, flush=True)
            row = feed(cfg, epochs * samples, batch, workers)
            height, width = cfg.task["size"]
            rows.append({"case": name, "size": f"{height} x {width}", "cache": state, "workers": workers,
                         "batch": batch, **row, "step batch": step_batch, "eaten a second": eaten})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=("cutouts", "dis5k"), default=["cutouts", "dis5k"])
    parser.add_argument("--pictures", type=int, default=40, help="DIS5K-like pictures to make (%(default)s)")
    parser.add_argument("--epochs", type=int, default=4, help="over the data set with a full cache (%(default)s)")
    parser.add_argument("--size", type=int, help="side of the input (the config's)")
    parser.add_argument("--width", type=float, help="of the network (the config's)")
    parser.add_argument("--batch", type=int, help="of the loader (the config's)")
    parser.add_argument("--step-batch", type=int, help="of the training step (the config's; 1 for dis5k on CPU)")
    parser.add_argument("--steps", type=int, default=3, help="training steps that count (%(default)s)")
    parser.add_argument("--workers", type=int, help="processes that load (the config's)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of the training step")
    parser.add_argument("--amp", help="of the training step: bf16 or fp16")
    parser.add_argument("--threads", type=int, help="of PyTorch (its own choice)")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    import cv2
    from mmengine.registry import init_default_scope

    init_default_scope("dense")
    cv2.setNumThreads(0)  # as the runner does
    rows = []
    if "cutouts" in args.cases:
        root = ROOT / "data" / "cutouts"
        rows += run_case("bundled set", "isnet_cutouts", root, len(list((root / "DIS-TR/im").iterdir())), None, args)
    if "dis5k" in args.cases:
        with tempfile.TemporaryDirectory() as folder:
            print(f"making {args.pictures} pictures of 3 megapixels ...", file=sys.stderr, flush=True)
            make_dis_like(Path(folder), args.pictures)
            rows += run_case("like DIS5K", "isnet_dis5k", Path(folder), args.pictures,
                             1 if args.device == "cpu" else None, args)
    lines = [[r["case"], r["size"], r["cache"], r["workers"], f"{r['samples a second']:.1f}",
              f"{1000 * r['processor s a sample']:.0f}", f"{r['eaten a second']:.2f}",
              f"{r['samples a second'] / r['eaten a second']:.1f}"] for r in rows]
    header = ("data", "size", "cache", "workers", "fed /s", "processor ms a sample", f"eaten /s ({args.device})",
              "fed / eaten")
    report("Loader against training step", table(header, lines), {"rows": rows}, args.json)


if __name__ == "__main__":
    main()
