"""Training: one command from a config to weights, metrics and pictures."""
from __future__ import annotations

import copy
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from dense.config import find_config
from dense.engine.hooks.checkpoint import saved_checkpoints
from dense.engine.runner import DenseRunner
from dense.engine.settings import Settings, load_config, runner_config
from dense.engine.test import print_table, test
from dense.errors import ConfigError, DatasetError
from dense.io import write_json


def train(config: str | Path, settings: Settings | None = None, resume: bool = False,
          fresh: bool = False) -> Path:
    """Train a config, and before it the one it names as its prerequisite; return the best weights' file.

    resume: go on from the last checkpoint of the work directory, if there is one. fresh: move an earlier run
    aside and begin anew. With neither, an earlier run in the work directory is an error: nothing is lost.

    Raises DenseError for what the user can mend.
    """
    settings = settings or Settings()
    path = find_config(config)
    cfg = load_config(path, settings)
    work_dir = Path(cfg.work_dir)
    _check_data(runner_config(cfg))
    _make_room(work_dir, resume, fresh)
    if (work_dir / "finished.json").is_file():
        say(f"{work_dir}: already trained to the end; --fresh trains again")
        return work_dir / "best.safetensors"
    _train_prerequisite(cfg, path, settings, resume)
    silence_libraries()
    say(f"training {path.stem}: {cfg.train_cfg.max_iters} iterations at most, into {work_dir}")
    finished = runner_config(cfg)
    finished.resume = resume and bool(saved_checkpoints(work_dir))
    if finished.resume:
        finished.load_from = None
    runner = DenseRunner.from_cfg(finished)
    runner.train()
    best = work_dir / "best.safetensors"
    if is_main_process():
        write_json(work_dir / "finished.json", {
            "config": str(path), "iterations": runner.iter,
            **{k: v for k, v in runner.message_hub.runtime_info.items() if k.startswith("best_")}})
    barrier()
    return best


def train_and_report(config: str | Path, settings: Settings, resume: bool, fresh: bool) -> None:
    """``train``, then test the best weights and print figures, places and what to do next."""
    best = train(config, settings, resume, fresh)
    cfg = load_config(find_config(config), settings)
    work_dir = Path(cfg.work_dir)
    rows = test(config, best, replace(settings, work_dir=str(work_dir)), baselines=cfg.get("baselines") or ())
    if not is_main_process():
        return
    print()
    print_table(rows)
    name = work_dir.as_posix()
    print(f"""
weights         {name}/best.safetensors
curves          {name}/curves.png   (also: tensorboard --logdir {name})
pictures        {name}/pictures/    (image | truth | prediction | error | cut-out)
per picture     {name}/test.csv

next:
  python tools/test.py {config} {name}/best.safetensors
  python tools/train.py {config} --weights {name}/best.safetensors --work-dir {name}-tuned --data-root FOLDER
  python tools/data/browse.py {config}""")


def _check_data(cfg: Config) -> None:
    """Fail before anything is made if the data set is not there."""
    from dense.registry import DATASETS

    for key in ("train_dataloader", "val_dataloader"):
        if cfg.get(key):
            DATASETS.build(dict(copy.deepcopy(cfg[key].dataset), pipeline=[]))


def _make_room(work_dir: Path, resume: bool, fresh: bool) -> None:
    runs = saved_checkpoints(work_dir)
    used = bool(runs) or (work_dir / "best.safetensors").exists() or (work_dir / "gt_encoder").is_dir()
    if fresh and used and is_main_process():
        number = 1
        while (aside := work_dir.with_name(f"{work_dir.name}.old{number}")).exists():
            number += 1
        shutil.move(work_dir, aside)
        say(f"{work_dir}: the earlier run was moved to {aside}")
    elif used and not resume and not fresh:
        raise ConfigError(f"{work_dir}: holds an earlier run ({runs[-1].name if runs else 'weights'}). "
                          "Remedy: --resume goes on with it, --fresh moves it aside, --work-dir names another place")
    barrier()


def _train_prerequisite(cfg: Config, path: Path, settings: Settings, resume: bool) -> None:
    """Train what the config needs first (the ground-truth encoder), unless its weights are named already."""
    need = cfg.get("prerequisite")
    if not need or not cfg.model.get("gt_encoder") or cfg.model.gt_encoder.get("checkpoint"):
        return
    folder = Path(cfg.work_dir) / need["folder"]
    best = folder / "best.safetensors"
    if not (folder / "finished.json").is_file():
        inherited = replace(settings, work_dir=str(folder), weights=None, gt_encoder=None, max_iters=None,
                            val_interval=None, options=[], feature_supervision=None, ema=None)
        if settings.max_iters:  # a short run wants a short first stage
            inherited = replace(inherited, max_iters=settings.max_iters, val_interval=settings.val_interval)
        say(f"first the prerequisite {need['config']} (its weights: {best})")
        train(path.parent / need["config"], inherited, resume=bool(saved_checkpoints(folder)))
    if not best.is_file():
        raise DatasetError(f"{best}: the prerequisite left no weights. Remedy: train {need['config']} by itself")
    cfg.model.gt_encoder.checkpoint = str(best)


def silence_libraries() -> None:
    """Library chatter goes to the log file; what a person needs is printed by our hooks."""
    logging.getLogger("mmengine").setLevel(logging.WARNING)


def say(text: str) -> None:
    """A line for the person at the terminal, once however many processes there are."""
    if is_main_process():
        print(text, file=sys.stderr, flush=True)
