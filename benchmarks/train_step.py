"""One training step through our runner against a plain PyTorch loop of the same network.

    python benchmarks/train_step.py --json work_dirs/bench_train_step.json

Time: both in one process, step by step in turn and in changing order (ours, plain, plain, ours, ours ...), so that
neither always finds the memory as the other left it: a ratio for each pair. "Ours" is all between two steps of the
runner: loader, preprocessing, model, optimiser, hooks and logs of the config, checkpoints
and validation left out. "Plain" is a DataLoader and the usual six lines; it loads the network's file by itself.
Both see the same batches and start from the same weights, and their losses are compared at each step.
Memory: each alone in a fresh process, the peak resident memory (getrusage), whole and above what the imports take.
"""
from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _common import ROOT, paired, peak_memory, report, table
from torch.utils.data import DataLoader, Dataset

CONFIG = "isnet_dis5k"
SEED = 0


class Shapes(Dataset):
    """Generated uint8 pictures (3, size, size) of boxes on noise, and their masks (1, size, size)."""

    def __init__(self, size: int, count: int = 8):
        rng = np.random.default_rng(SEED)
        self.items = []
        for _ in range(count):
            mask = np.zeros((1, size, size), np.uint8)
            for _ in range(4):
                y, x = rng.integers(0, size // 2, 2)
                mask[:, y:y + size // 4, x:x + size // 3] = 255
            image = rng.integers(0, 128, (3, size, size), dtype=np.uint8) + mask // 2
            self.items.append((torch.from_numpy(image), torch.from_numpy(mask)))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return self.items[index % len(self)]


def network_file():
    """The module of the network alone, without the package around it."""
    spec = importlib.util.spec_from_file_location("isnet_network", ROOT / "dense/models/isnet/network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Plain:
    """A plain PyTorch loop: ``step()`` takes one training step and returns its loss."""

    def __init__(self, args, weights: Path):
        networks = network_file()
        state = torch.load(weights, weights_only=True)
        layout = torch.channels_last if args.channels_last else torch.contiguous_format
        self.layout = layout
        self.network = networks.ISNet(width=args.width).to(memory_format=layout)
        self.network.load_state_dict(state["network"])
        self.network.train()
        self.teacher = None
        if args.feature_supervision:
            self.teacher = networks.GTEncoder(width=args.width).eval().requires_grad_(False)
            self.teacher.load_state_dict(state["teacher"])
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=args.lr)
        loader = DataLoader(Shapes(args.size), args.batch, sampler=Order(args))
        self.batches = iter(loader)

    def step(self) -> float:
        images, masks = next(self.batches)
        images = ((images.float() - 127.5) / 255).contiguous(memory_format=self.layout)
        truth = masks.float() / 255
        self.optimizer.zero_grad()
        logits, features = self.network(images)
        loss = sum(torch.nn.functional.binary_cross_entropy_with_logits(x, truth) for x in logits)
        if self.teacher is not None:
            with torch.no_grad():
                targets = self.teacher(truth)[1]
            loss = loss + sum(torch.nn.functional.mse_loss(f, t) for f, t in zip(features, targets, strict=True))
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Order(torch.utils.data.Sampler):
    """Endless, in order: the same for both."""

    def __init__(self, args):
        self.count = (args.steps + args.warmup + 2) * args.batch

    def __iter__(self):
        return iter(range(self.count))

    def __len__(self) -> int:
        return self.count


def build_runner(args, weights: Path, folder: Path, hook=None):
    """DenseRunner of the shipped config, with generated data and without checkpoints and validation."""
    from mmengine.dataset import pseudo_collate
    from mmengine.hooks import Hook
    from mmengine.structures import BaseDataElement, PixelData

    from dense.engine.runner import DenseRunner
    from dense.engine.settings import Settings, load_config, runner_config
    from dense.engine.train import silence_libraries
    from dense.models.build import load_network_weights

    class Samples(Shapes):
        """In the form that our data sets give."""

        def __getitem__(self, index: int) -> dict:
            image, mask = super().__getitem__(index)
            element = BaseDataElement(metainfo={"name": str(index)})
            element.gt_alpha = PixelData(data=mask)
            return {"inputs": image, "data_samples": element}

    silence_libraries()
    steps = args.steps + args.warmup
    settings = Settings(work_dir=str(folder / "run"), size=args.size, max_iters=steps, learning_rate=args.lr,
                        workers=0, seed=SEED, feature_supervision=args.feature_supervision)
    cfg = runner_config(load_config(CONFIG, settings))
    state = torch.load(weights, weights_only=True)
    cfg.model.network["width"] = args.width
    cfg.model["channels_last"] = args.channels_last
    if args.feature_supervision:
        torch.save(state["teacher"], folder / "teacher.pth")
        cfg.model.gt_encoder.network["width"] = args.width
        cfg.model.gt_encoder["checkpoint"] = str(folder / "teacher.pth")
    for key in ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator"):
        cfg.pop(key)
    cfg.default_hooks["checkpoint"] = None
    cfg.custom_hooks = [h for h in cfg.custom_hooks if h["type"].__name__ in ("Progress", "Curves")]
    cfg.pop("train_dataloader")
    runner = DenseRunner(
        model=cfg.model, work_dir=cfg.work_dir, train_cfg=cfg.train_cfg, optim_wrapper=cfg.optim_wrapper,
        train_dataloader=DataLoader(Samples(args.size), args.batch, sampler=Order(args), collate_fn=pseudo_collate),
        default_hooks=cfg.default_hooks, custom_hooks=cfg.custom_hooks, visualizer=cfg.visualizer,
        randomness=cfg.randomness, default_scope="dense", cfg=cfg)
    load_network_weights(runner.plain_model.network, state["network"])
    if hook is not None:
        assert isinstance(hook, Hook)
        runner.register_hook(hook, priority=100)  # last: the other hooks are part of our step
    return runner


def in_turn(args, plain, build: Callable) -> tuple[list[float], list[float], float]:
    """Seconds of each of our and the plain steps, and the largest relative difference of their losses.

    plain: has ``step``; build: takes a hook and gives the runner.
    """
    from mmengine.hooks import Hook

    ours, others, differences = [], [], []

    losses: list[float] = []

    def plain_step() -> None:
        begun = time.perf_counter()
        losses.append(plain.step())
        others.append(time.perf_counter() - begun)

    class Turn(Hook):
        def before_train(self, runner) -> None:
            self.mark = time.perf_counter()

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            loss = outputs["loss"].item()
            ours.append(time.perf_counter() - self.mark)
            if batch_idx % 2 == 0:  # the plain steps of this pair and of the next
                plain_step()
                plain_step()
            other = losses[batch_idx]
            differences.append(abs(loss - other) / other)
            print(f"pair {batch_idx + 1}/{args.steps + args.warmup}: ours {ours[-1]:.3f} s, plain "
                  f"{others[batch_idx]:.3f} s, losses {loss:.6f} {other:.6f}", file=sys.stderr, flush=True)
            self.mark = time.perf_counter()

    build(Turn()).train()
    return ours[args.warmup:], others[args.warmup:len(ours)], max(differences[:args.warmup + 1])


def alone(args, weights: Path, folder: Path) -> None:
    """Child process: a few steps of one side; prints its peak memory as JSON."""
    steps = args.warmup + 2
    if args.only == "plain":
        network_file()
        base = peak_memory()
        plain = Plain(args, weights)
        for _ in range(steps):
            plain.step()
    else:
        for name in ("dense.engine.runner", "dense.engine.settings", "dense.models.isnet", "torch.utils.tensorboard",
                     "matplotlib.backends.backend_agg", "matplotlib.figure"):
            importlib.import_module(name)

        base = peak_memory()
        args.steps = 2
        build_runner(args, weights, folder).train()
    print("\n" + json.dumps({"peak": peak_memory(), "base": base}))


def make_weights(args, path: Path) -> None:
    networks = network_file()
    torch.manual_seed(SEED)
    torch.save({"network": networks.ISNet(width=args.width).state_dict(),
                "teacher": networks.GTEncoder(width=args.width).state_dict()}, path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512, help="side of the input (%(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--width", type=float, default=1.0, help="of the network (%(default)s)")
    parser.add_argument("--steps", type=int, default=15, help="pairs that count (%(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="pairs before (%(default)s)")
    parser.add_argument("--lr", type=float, default=1e-3, help="(%(default)s)")
    parser.add_argument("--threads", type=int, help="of PyTorch (its own choice)")
    parser.add_argument("--channels-last", action="store_true", help="memory layout, of both")
    parser.add_argument("--no-feature-supervision", dest="feature_supervision", action="store_false")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave the memory runs out")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--only", choices=("ours", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--weights", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.only:
            alone(args, Path(args.weights), folder)
            return
        weights = folder / "weights.pth"
        make_weights(args, weights)
        memory = {}
        for side in ("ours", "plain") if args.memory else ():
            command = [sys.executable, *sys.argv, "--only", side, "--weights", str(weights)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            memory[side] = json.loads(done.stdout.splitlines()[-1])
        ours, others, difference = in_turn(args, Plain(args, weights),
                                           lambda hook: build_runner(args, weights, folder, hook))
    result = paired(ours, others)
    rows = [["DenseRunner", f"{result['ours']:.3f}"], ["plain PyTorch", f"{result['other']:.3f}"]]
    header = ["", "s a step (median)"]
    if memory:
        header += ["peak memory MiB", "above imports MiB"]
        for row, side in zip(rows, ("ours", "plain"), strict=True):
            peak, base = memory[side]["peak"] / 2**20, memory[side]["base"] / 2**20
            row += [f"{peak:.0f}", f"{peak - base:.0f}"]
    text = table(header, rows) + (
        f"\n\nratio ours / plain {result['ratio']:.4f} (95 % interval {result['low']:.4f} to {result['high']:.4f}, "
        f"{result['pairs']} pairs); losses of the first steps differ by at most {difference:.1e}")
    report(f"IS-Net training step: width {args.width:g}, {args.size} x {args.size}, batch {args.batch}, "
           f"feature supervision {'on' if args.feature_supervision else 'off'}", text,
           result | {"memory": memory, "loss difference": difference,
                     "seconds": {"ours": ours, "plain": others}}, args.json)


if __name__ == "__main__":
    main()
