"""Training: one command from a config to weights, metrics and pictures."""
from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process

from dense.compat.distributed import start_processes
from dense.config import find_config
from dense.engine.console import say, silence_libraries
from dense.engine.explain import config_errors, run_errors
from dense.engine.hooks.checkpoint import saved_checkpoints
from dense.engine.runner import build_runner
from dense.engine.settings import DATALOADERS, Settings, load_config, runner_config
from dense.engine.test import class_tables, kind_of, noun_of, print_table, test
from dense.errors import ConfigError, DatasetError
from dense.io import check_folder, write_json
from dense.models.build import load_network_weights
from dense.progress import Meter
from dense.registry import DATASETS, MODELS
from dense.weights.store import name_of


def train(config: str | Path, settings: Settings | None = None, resume: bool = False,
          fresh: bool = False) -> Path:
    """Train a config, and before it the one it names as its prerequisite; return the best weights' file.

    resume: go on from the last checkpoint of the work directory, if there is one. fresh: move an earlier run
    aside and begin anew. With neither, an earlier run in the work directory is an error: nothing is lost.

    Raises DenseError for what the user can mend.
    """
    start_processes()
    silence_libraries()
    settings = settings or Settings()
    path = find_config(config)
    cfg = load_config(path, settings)
    work_dir = Path(cfg.work_dir)
    _check_data(runner_config(cfg), path)
    _make_room(work_dir, resume, fresh)
    if (work_dir / "finished.json").is_file() and not _longer(work_dir, settings):
        say(f"{work_dir}: already trained to the end; --fresh trains again, a larger --max-iters goes on")
        return work_dir / "best.safetensors"
    _train_prerequisite(cfg, path, settings)
    finished = runner_config(cfg)
    saved = saved_checkpoints(work_dir)
    finished.resume = resume and bool(saved)
    if finished.resume:
        finished.load_from = None
    begin = f", from {saved[-1].name} on" if finished.resume else ""
    say(f"training {path.stem}: {cfg.train_cfg.max_iters} iterations at most, into {work_dir}{begin}")
    check_folder(work_dir)
    with run_errors(work_dir):
        runner = build_runner(finished, path)
        runner.train()
    if is_main_process():
        write_json(work_dir / "finished.json", {
            "config": str(path), "iterations": runner.iter,
            **{k: v for k, v in runner.message_hub.runtime_info.items() if k.startswith("best_")}})
    barrier()
    return work_dir / "best.safetensors"


def train_and_report(config: str | Path, settings: Settings, resume: bool, fresh: bool) -> None:
    """``train``, then test the best weights and print figures, places and what to do next."""
    best = train(config, settings, resume, fresh)
    cfg = load_config(config, settings)
    work_dir = Path(cfg.work_dir)
    rows = test(config, best, replace(settings, work_dir=str(work_dir)), baselines=cfg.get("baselines") or ())
    if not is_main_process():
        return
    print()
    print_table(rows)
    print(class_tables(cfg, rows), end="")
    name = work_dir.as_posix()
    kind = kind_of(cfg)
    columns = {"cutout": "image | truth | prediction | error | cut-out", "erase": "given | truth | result | changed",
               "semantic": "image | truth | prediction | what is wrong",
               "volume": "image | truth | prediction | what is wrong, three planes each",
               "detection": "true | found"}[kind]
    lines = ["next:", f"  {_command('test')} {config} {name}/best.safetensors{_repeated(settings)}"]
    if kind == "cutout":
        lines.append(f"  {_command('cutout')} PICTURES -o OUT -w {name}/best.safetensors")
    if kind == "erase":
        lines.append(f"  {_command('erase')} PICTURES -o OUT --mask MASKS -w {name}/best.safetensors")
    if kind == "detection":
        lines.append(f"  {_command('detect')} PICTURES -o OUT -w {name}/best.safetensors")
    if kind == "volume":
        lines.append(f"  {_command('volume')} VOLUMES -o OUT -w {name}/best.safetensors")
    lines.append(f"  {_command('train')} {config} --weights {name}/best.safetensors --work-dir {name}-tuned "
                 "--data-root FOLDER")
    known = f"   (from this folder: {known})" if (known := name_of(best)) else ""
    print(f"""
weights         {name}/best.safetensors{known}
curves          {name}/curves.png   (also: tensorboard --logdir {name})
pictures        {name}/pictures/    ({columns})
{f"per {noun_of(cfg)}":<16}{name}/test.csv
""")
    print("\n".join(lines))


def _command(verb: str) -> str:
    """How a verb is called here: by the interpreter that runs, for what make set up is not active in a shell."""
    interpreter = Path(sys.executable)
    here = interpreter.relative_to(Path.cwd()) if interpreter.is_relative_to(Path.cwd()) else None
    return f"{here} -m dense {verb}" if here else f"dense {verb}"


def _repeated(settings: Settings) -> str:
    """The options of a training that testing its weights needs as well."""
    words = [f" --data-root {shlex.quote(settings.data_root)}"] if settings.data_root else []
    if settings.size:
        words.append(f" --size {settings.size}")
    if settings.options:
        words.append(" --cfg-options " + " ".join(map(shlex.quote, settings.options)))
    return "".join(words)


def _check_data(cfg: Config, origin: Path) -> None:
    """Fail before anything is made if the data set is not there, or its transforms cannot read the first pair."""
    counts, folders = [], []
    for key, verb in (("train_dataloader", "train on"), ("val_dataloader", "validate on")):
        if cfg.get(key):
            with config_errors(origin):
                dataset = DATASETS.build(cfg[key].dataset)
                _prepare(dataset)
                dataset[0]
            number = len(getattr(dataset, "cases", dataset))
            counts.append(f"{number} {noun_of(cfg)}{'s' * (number != 1)} to {verb}")
            folders.append((cfg[key].dataset.get("root"), cfg[key].dataset.get("split")))
    same = len(folders) == 2 and folders[0] == folders[1]
    note = " (the same: it says nothing about new pictures)" if same else ""
    say(f"data {cfg.get('data_root') or ''}: {', '.join(counts)}{note}")


def _prepare(dataset: Any) -> None:
    """Let a data set that prepares its files once do so now, all of them, with a bar."""
    if not hasattr(dataset, "prepare") or not is_main_process():
        return  # other processes find what is there, or wait for it
    with Meter("prepare", len(dataset.cases)) as meter:
        dataset.prepare(lambda done, total: meter.step(done))


def _make_room(work_dir: Path, resume: bool, fresh: bool) -> None:
    runs = saved_checkpoints(work_dir)
    used = bool(runs) or (work_dir / "best.safetensors").exists() or (work_dir / "gt_encoder").is_dir()
    barrier()  # all have looked before the main process moves anything
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


def _longer(work_dir: Path, settings: Settings) -> bool:
    """Whether more iterations are asked for than the finished run had."""
    done = json.loads((work_dir / "finished.json").read_text(encoding="utf-8")).get("iterations", 0)
    return (settings.max_iters or 0) > done


def _train_prerequisite(cfg: Config, path: Path, settings: Settings) -> None:
    """Train what the config needs first (the ground-truth encoder), unless its weights are named already."""
    need = cfg.get("prerequisite")
    if not need or not cfg.model.get("gt_encoder") or cfg.model.gt_encoder.get("checkpoint"):
        return
    folder = Path(cfg.work_dir) / need["folder"]
    best = folder / "best.safetensors"
    if not (folder / "finished.json").is_file():
        _check_network(cfg, path)
        say(f"first the prerequisite {need['config']} (its weights: {best})")
        config = path.parent / need["config"]
        train(config, _inherited(cfg, config, settings, folder), resume=bool(saved_checkpoints(folder)))
    if not best.is_file():
        raise DatasetError(f"{best}: the prerequisite left no weights. Remedy: train {need['config']} by itself")
    cfg.model.gt_encoder.checkpoint = str(best)


def _check_network(cfg: Config, origin: Path) -> None:
    """Fail before the prerequisite is trained, for hours maybe, if the network or its first weights are wrong."""
    with config_errors(origin):
        model = MODELS.build(dict(runner_config(cfg).model, gt_encoder=None))
    if cfg.get("load_from"):
        load_network_weights(model.network, cfg.load_from)


def _inherited(cfg: Config, prerequisite: Path, settings: Settings, folder: Path) -> Settings:
    """Settings of the prerequisite: the data, size and encoder of ``cfg``, and of ``settings`` what suits it."""
    options = [f"model.network.{k}={v!r}" for k, v in cfg.model.gt_encoder.network.items() if k != "type"]
    options += [f"task.{k}={v!r}" for k, v in (cfg.get("task") or {}).items() if k != "type"]
    options += [f"{k}.dataset.split={cfg[k].dataset.get('split')!r}" for k in DATALOADERS if cfg.get(k)]
    inherited = replace(settings, work_dir=str(folder), data_root=cfg.get("data_root"), size=None, options=options,
                        weights=None, gt_encoder=None, feature_supervision=None, ema=None, max_iters=None,
                        learning_rate=None, minutes=None)
    if settings.max_iters:  # a short run wants a short first stage
        longest = load_config(prerequisite, inherited).train_cfg.max_iters
        return replace(inherited, max_iters=min(settings.max_iters, longest))
    return replace(inherited, val_interval=None)
