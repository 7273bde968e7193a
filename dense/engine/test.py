"""Testing: metrics of a checkpoint over one or more splits, with the worst cases as pictures."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process

from dense.compat.distributed import start_processes
from dense.config import find_config, type_name
from dense.engine.console import say, silence_libraries
from dense.engine.explain import config_errors, run_errors
from dense.engine.runner import build_runner
from dense.engine.settings import Settings, load_config, runner_config
from dense.errors import ConfigError
from dense.evaluation.baselines import grabcut
from dense.evaluation.measures import MEASURES, evaluate_pair, resolve, summarise
from dense.evaluation.metrics import KNOWN
from dense.evaluation.skeletons import SkeletonCache, skeleton_folder
from dense.io import read_image, read_mask, write_json, write_text
from dense.registry import DATASETS

BASELINES = {"untrained": "untrained", "grabcut": "GrabCut"}  # and the names of their rows
ONLY_TRAINING = ("train_dataloader", "train_cfg", "optim_wrapper", "val_dataloader", "val_cfg", "val_evaluator",
                 "param_scheduler")


def test(config: str | Path, weights: str | Path | None, settings: Settings | None = None,
         splits: Sequence[str] = (), baselines: Sequence[str] = (), masks: bool = False,
         metrics: str | Sequence[str] | None = None) -> dict[str, dict]:
    """Figures by row name: ``trained`` (or each split), then the baselines.

    weights: a file, or None for the initial network. splits: of the config's data set (``DIS-VD`` ...), each a
    row of its own; by default the config's test split. baselines: 'untrained', 'grabcut'. masks: write every
    predicted alpha. metrics: names of measures in place of the config's. Writes ``test.json``, ``test.md`` and
    ``test.csv`` into the work directory.
    """
    if unknown := set(baselines) - set(BASELINES):
        raise ConfigError(f"unknown baselines {', '.join(sorted(unknown))}; known: {', '.join(BASELINES)}")
    start_processes()
    silence_libraries()
    path = find_config(config)
    cfg = load_config(path, settings or Settings())
    if metrics is not None:
        cfg.test_evaluator["names"] = resolve(metrics)
    work_dir = Path(cfg.work_dir)
    rows = {}
    for split in splits or (None,):
        say(f"testing {weights} on {split or 'the test split'} of {cfg.get('data_root')}")
        rows[split or "trained"] = _run(cfg, path, weights, split, work_dir / (split or ""), masks)
    if "untrained" in baselines:
        rows[BASELINES["untrained"]] = _run(cfg, path, None, None, work_dir / "untrained", False)
    if "grabcut" in baselines and is_main_process():
        rows[BASELINES["grabcut"]] = _grabcut(cfg, path)
    if is_main_process():
        write_json(work_dir / "test.json", {"config": str(path), "weights": str(weights), "figures": rows})
        write_text(work_dir / "test.md", markdown_table(rows))
    return rows


def _run(cfg: Config, origin: Path, weights: str | Path | None, split: str | None, folder: Path,
         masks: bool) -> dict:
    finished = runner_config(cfg)
    for key in ONLY_TRAINING:
        finished.pop(key, None)
    if split:
        finished.test_dataloader.dataset.split = split
    finished.work_dir = str(folder)
    if "gt_encoder" in finished.model:
        finished.model.gt_encoder = None
    finished.load_from, finished.resume = (str(weights) if weights else None), False
    finished.test_evaluator["table"] = str(folder / "test.csv")
    finished.visualizer = None
    finished.default_hooks = dict(checkpoint=None, logger=None)
    finished.custom_hooks = [h for h in finished.get("custom_hooks") or []
                             if type_name(h) in ("Progress", "ResultPictures")]
    for hook in finished.custom_hooks:
        if type_name(hook) == "ResultPictures":
            hook["masks"] = masks
    with run_errors(folder):
        return build_runner(finished, origin).test()


def _grabcut(cfg: Config, origin: Path) -> dict:
    """GrabCut's figures on the test split, from a rectangle just inside the frame."""
    finished = runner_config(cfg)
    with config_errors(origin):
        dataset = DATASETS.build(dict(finished.test_dataloader.dataset, pipeline=[]))
    names = resolve(finished.test_evaluator.get("names", KNOWN))
    skeletons = SkeletonCache(skeleton_folder(finished.test_evaluator.get("cache")))
    rows = []
    for number, pair in enumerate(dataset.pairs, start=1):
        rows.append(evaluate_pair(grabcut(read_image(pair.image)), read_mask(pair.mask), names, skeletons))
        if number % 10 == 0 or number == len(dataset.pairs):
            say(f"GrabCut {number}/{len(dataset.pairs)}")
    return summarise(rows, names)


def markdown_table(rows: dict[str, dict]) -> str:
    """The figures as a Markdown table; HCE without decimals, the others with three."""
    names = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for row, figures in rows.items():
        cells = (f"{figures[n]:.{MEASURES[n].digits if n in MEASURES else 3}f}" for n in names)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def print_table(rows: dict[str, dict]) -> None:
    """The table on the terminal, and by how much the first row beats the baselines."""
    print(markdown_table(rows), end="")
    (first, own), *others = rows.items()
    for name, figures in others:
        if name in BASELINES.values():
            gains = (f"{metric} {own[metric] - figures[metric]:+.3f}" for metric in own if metric != "HCE")
            print(f"{first} against {name}: {', '.join(gains)}")
