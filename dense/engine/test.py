"""Testing: metrics of a checkpoint over one or more splits, with the worst cases as pictures."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import is_main_process

from dense.config import find_config
from dense.engine.runner import DenseRunner
from dense.engine.settings import Settings, load_config, runner_config
from dense.errors import ConfigError
from dense.io import write_json, write_text


def test(config: str | Path, weights: str | Path | None, settings: Settings | None = None,
         splits: Sequence[str] = (), baselines: Sequence[str] = (), masks: bool = False) -> dict[str, dict]:
    """Figures by row name: ``network`` (or each split), then the baselines.

    weights: a file, or None for the initial network. splits: of the config's data set (``DIS-VD`` ...), each a
    row of its own; by default the config's test split. baselines: 'untrained', 'grabcut'. masks: write every
    predicted alpha. Writes ``test.json``, ``test.md`` and ``test.csv`` into the work directory.
    """
    settings = settings or Settings()
    path = find_config(config)
    cfg = load_config(path, settings)
    work_dir = Path(cfg.work_dir)
    rows = {}
    for split in splits or (None,):
        name = split or "trained"
        folder = work_dir / split if split else work_dir
        rows[name] = _run(cfg, weights, split, folder, masks)
    if unknown := set(baselines) - {"untrained", "grabcut"}:
        raise ConfigError(f"unknown baselines {', '.join(sorted(unknown))}; known: untrained, grabcut")
    if "untrained" in baselines:
        rows["untrained"] = _run(cfg, None, None, work_dir / "untrained", False)
    if "grabcut" in baselines and is_main_process():
        rows["GrabCut"] = _grabcut(cfg)
    if is_main_process():
        write_json(work_dir / "test.json", {"config": str(path), "weights": str(weights), "figures": rows})
        write_text(work_dir / "test.md", markdown_table(rows))
    return rows


def _run(cfg, weights, split: str | None, folder: Path, masks: bool) -> dict:
    finished = runner_config(cfg)
    if split:
        finished.test_dataloader.dataset.split = split
    finished.work_dir = str(folder)
    finished.model.gt_encoder = None
    finished.load_from, finished.resume = (str(weights) if weights else None), False
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "val_dataloader", "val_cfg", "val_evaluator",
                "param_scheduler"):
        finished.pop(key, None)
    finished.test_evaluator["table"] = str(folder / "test.csv")
    finished.visualizer = None
    finished.custom_hooks = [h for h in finished.get("custom_hooks") or []
                             if h["type"].__name__ in ("Progress", "ResultPictures")]
    finished.default_hooks = dict(checkpoint=None, logger=None)
    for hook in finished.custom_hooks:
        if h_type(hook) == "ResultPictures":
            hook["masks"] = masks
    return DenseRunner.from_cfg(finished).test()


def h_type(hook) -> str:
    return hook["type"] if isinstance(hook["type"], str) else hook["type"].__name__


def _grabcut(cfg) -> dict:
    """GrabCut's figures on the test split, from a rectangle just inside the frame."""
    import copy

    from dense.evaluation.baselines import grabcut
    from dense.evaluation.metrics import evaluate_pair, summarise
    from dense.io import read_image, read_mask
    from dense.registry import DATASETS

    finished = runner_config(cfg)
    dataset = DATASETS.build(dict(copy.deepcopy(finished.test_dataloader.dataset), pipeline=[]))
    names = finished.test_evaluator.get("names", ("maxF", "MAE", "IoU", "HCE"))
    rows = []
    for number, pair in enumerate(dataset.pairs, start=1):
        rows.append(evaluate_pair(grabcut(read_image(pair.image)), read_mask(pair.mask), names))
        if number % 10 == 0 or number == len(dataset.pairs):
            print(f"GrabCut {number}/{len(dataset.pairs)}", file=sys.stderr, flush=True)
    return summarise(rows, names)


def markdown_table(rows: dict[str, dict]) -> str:
    """The figures as a Markdown table; maxF, MAE and IoU with three decimals, HCE with none."""
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for row, figures in rows.items():
        cells = (f"{figures[n]:.0f}" if n == "HCE" else f"{figures[n]:.3f}" for n in names)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def print_table(rows: dict[str, dict]) -> None:
    """The table on the terminal, and by how much the first row beats the others."""
    print(markdown_table(rows), end="")
    first, *others = rows.items()
    for name, figures in others:
        if name in ("untrained", "GrabCut"):
            print(f"{first[0]} against {name}: maxF {first[1]['maxF'] - figures['maxF']:+.3f}, "
                  f"IoU {first[1]['IoU'] - figures['IoU']:+.3f}, MAE {first[1]['MAE'] - figures['MAE']:+.3f}")
