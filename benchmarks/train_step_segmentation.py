"""One training step of an FFNet through our runner against a plain PyTorch loop of the same network.

    python benchmarks/train_step_segmentation.py --json work_dirs/bench_train_step_segmentation.json

As benchmarks/train_step.py: both in one process, step by step in turn and in changing order. "Ours" is all between two
steps of the runner: loader, preprocessing, mmseg's EncoderDecoder, loss, optimiser, schedule, hooks and logs of the
Cityscapes config, without checkpoints, validation and OHEM. "Plain" is a DataLoader and the usual lines around the
plain network. Both see the same batches and start from the same weights, and their losses are compared at each step.
"""
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from _common import paired, report, table
from torch.utils.data import DataLoader, Dataset
from train_step import SEED, Order, in_turn

CONFIG = "ffnet40S_dBBB_mobile_cityscapes"
CLASSES, IGNORED = 19, 255


class Labelled(Dataset):
    """Generated uint8 pictures (3, h, w) of boxes on noise, and the class of each pixel (1, h, w)."""

    def __init__(self, size: tuple[int, int], count: int = 8):
        rng = np.random.default_rng(SEED)
        self.items = []
        for _ in range(count):
            labels = np.zeros((1, *size), np.uint8)
            for name in (*rng.integers(1, CLASSES, 6), IGNORED):
                y, x = (int(rng.integers(0, s // 2)) for s in size)
                labels[:, y:y + size[0] // 3, x:x + size[1] // 3] = name
            image = rng.integers(0, 128, (3, *size), dtype=np.uint8) + labels // 2
            self.items.append((torch.from_numpy(image), torch.from_numpy(labels)))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return self.items[index % len(self)]


class Plain:
    """A plain PyTorch loop: ``step()`` takes one training step and returns its loss."""

    def __init__(self, args, network: torch.nn.Module):
        from dense.tasks.semantic import IMAGENET_MEAN, IMAGENET_STD

        self.layout = torch.channels_last if args.channels_last else torch.contiguous_format
        self.network = network.to(memory_format=self.layout).train()
        self.mean, self.std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        self.optimizer = torch.optim.SGD(network.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4)
        last, least = args.steps + args.warmup - 1, 1e-5 / args.lr  # the config's schedule ends at the last step
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: least + (1 - least) * max(0.0, 1 - step / last) ** 0.9)
        self.batches = iter(DataLoader(Labelled(args.size), args.batch, sampler=Order(args)))

    def step(self) -> float:
        images, labels = next(self.batches)
        images = ((images.float() - self.mean) / self.std).contiguous(memory_format=self.layout)
        truth = labels[:, 0].long()
        self.optimizer.zero_grad()
        logits = torch.nn.functional.interpolate(self.network(images), truth.shape[1:], mode="bilinear",
                                                 align_corners=False)
        loss = torch.nn.functional.cross_entropy(logits, truth, ignore_index=IGNORED)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()


def build_runner(args, state: dict, folder: Path, hook):
    """DenseRunner of the shipped config, with generated data and without checkpoints and validation."""
    from mmengine.dataset import pseudo_collate
    from mmengine.structures import BaseDataElement, PixelData

    from dense.engine.runner import DenseRunner
    from dense.engine.settings import Settings, load_config, runner_config
    from dense.engine.train import silence_libraries
    from dense.models.build import load_network_weights

    class Samples(Labelled):
        """In the form that our data sets give."""

        def __getitem__(self, index: int) -> dict:
            image, labels = super().__getitem__(index)
            element = BaseDataElement(metainfo={"name": str(index)})
            element.gt_sem_seg = PixelData(data=labels)
            return {"inputs": image, "data_samples": element}

    silence_libraries()
    settings = Settings(work_dir=str(folder / "run"), max_iters=args.steps + args.warmup, learning_rate=args.lr,
                        workers=0, seed=SEED)
    cfg = load_config(CONFIG, settings)
    cfg.model.network["name"], cfg.model.network["width"] = args.network, args.width
    cfg.model["channels_last"], cfg.model["sampler"] = args.channels_last, None
    cfg = runner_config(cfg)
    for key in ("val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator",
                "train_dataloader"):
        cfg.pop(key)
    cfg.default_hooks["checkpoint"] = None
    cfg.custom_hooks = [h for h in cfg.custom_hooks if h["type"].__name__ in ("Progress", "Curves")]
    runner = DenseRunner(
        model=cfg.model, work_dir=cfg.work_dir, train_cfg=cfg.train_cfg, optim_wrapper=cfg.optim_wrapper,
        param_scheduler=cfg.param_scheduler,
        train_dataloader=DataLoader(Samples(args.size), args.batch, sampler=Order(args), collate_fn=pseudo_collate),
        default_hooks=cfg.default_hooks, custom_hooks=cfg.custom_hooks, visualizer=cfg.visualizer,
        randomness=cfg.randomness, default_scope="dense", cfg=cfg)
    load_network_weights(runner.plain_model.network, state)
    runner.register_hook(hook, priority=100)  # last: the other hooks are part of our step
    return runner


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", default="ffnet40S_dBBB_mobile", metavar="NAME", help="(%(default)s)")
    parser.add_argument("--width", type=float, default=1.0, help="of the network (%(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512), metavar=("H", "W"), help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="pairs that count (%(default)s)")
    parser.add_argument("--warmup", type=int, default=2, help="pairs before (%(default)s)")
    parser.add_argument("--lr", type=float, default=1e-2, help="(%(default)s)")
    parser.add_argument("--threads", type=int, help="of PyTorch (its own choice)")
    parser.add_argument("--channels-last", action="store_true", help="memory layout, of both")
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    args = parser.parse_args()
    args.size = tuple(args.size)
    return args


def main() -> None:
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    from dense.models.ffnet import FFNet

    torch.manual_seed(SEED)
    network = FFNet(args.network, CLASSES, args.width)
    state = {k: v.clone() for k, v in network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        ours, others, difference = in_turn(args, Plain(args, network),
                                           lambda hook: build_runner(args, state, Path(folder), hook))
    result = paired(ours, others)
    text = table(["", "s a step (median)"], [["DenseRunner", f"{result['ours']:.3f}"],
                                             ["plain PyTorch", f"{result['other']:.3f}"]]) + (
        f"\n\nratio ours / plain {result['ratio']:.4f} (95 % interval {result['low']:.4f} to {result['high']:.4f}, "
        f"{result['pairs']} pairs); losses of the first steps differ by at most {difference:.1e}")
    size = f"{args.size[0]} x {args.size[1]}"
    report(f"Training step of {args.network}: width {args.width:g}, {size}, batch {args.batch}", text,
           result | {"loss difference": difference, "seconds": {"ours": ours, "plain": others}}, args.json)


if __name__ == "__main__":
    main()
