"""Testing: metrics of a checkpoint over one or more splits, with the worst cases as pictures."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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
from dense.evaluation.detection import box_table
from dense.evaluation.folder import Settings as FolderSettings
from dense.evaluation.folder import evaluate_methods
from dense.evaluation.listing import Method, method_key
from dense.evaluation.measures import MEASURES, evaluate_pair, resolve, summarise
from dense.evaluation.metrics import KNOWN
from dense.evaluation.report import write_report
from dense.evaluation.semantic import class_table, majority_counts, most_frequent, summarise_semantic
from dense.evaluation.skeletons import SkeletonCache, skeleton_folder
from dense.evaluation.volume import measure_volume, summarise_volumes, volume_table
from dense.evaluation.volume_baselines import IntensityBaseline
from dense.io import check_folder, read_image, read_mask, write_json, write_text
from dense.io.labels import read_labels
from dense.registry import DATASETS
from dense.tasks import as_task

# and the names of their rows
BASELINES = {"untrained": "untrained", "grabcut": "GrabCut", "majority": "most frequent class",
             "intensity": "class by intensity"}
OWN_BASELINES = {"cutout": {"grabcut"}, "semantic": {"majority"}, "volume": {"intensity"}}  # by kind of task
PICTURES = {"cutout": "ResultPictures", "semantic": "SemanticPictures", "erase": "ErasePictures",
            "volume": "VolumePictures", "detection": "DetectionPictures"}
CLASS_TABLES = {"semantic": class_table, "volume": volume_table, "detection": box_table}
ONLY_TRAINING = ("train_dataloader", "train_cfg", "optim_wrapper", "val_dataloader", "val_cfg", "val_evaluator",
                 "param_scheduler")


def test(config: str | Path, weights: str | Path | None, settings: Settings | None = None,
         splits: Sequence[str] = (), baselines: Sequence[str] = (), masks: bool = False,
         metrics: str | Sequence[str] | None = None, report: bool = False) -> dict[str, dict]:
    """Figures by row name: ``trained`` (or each split), then the baselines (``GrabCut``, or ``GrabCut, SPLIT``).

    weights: a file, or None for the initial network. splits: of the config's data set (``DIS-VD`` ...), each a
    row of its own; by default the config's test split. baselines: 'untrained', 'grabcut' (of cut-outs), 'majority'
    (of classes: the training set's most frequent one everywhere), 'intensity' (of volumes: the class that is most
    frequent at each intensity in the training set), on the same splits.
    masks: write every predicted alpha. metrics: names of measures in place of the config's. report: measure the
    written masks too and leave tables, curves and worst cases in ``report/`` (starts processes, as
    ``evaluate_folders`` does). Writes ``test.json``, ``test.md`` and ``test.csv`` into the work directory.
    """
    if unknown := set(baselines) - set(BASELINES):
        raise ConfigError(f"unknown baselines {', '.join(sorted(unknown))}; known: {', '.join(BASELINES)}")
    start_processes()
    silence_libraries()
    path = find_config(config)
    cfg = load_config(path, settings or Settings())
    kind = kind_of(cfg)
    own = OWN_BASELINES.get(kind, set())
    if wrong := set(baselines) - own - {"untrained"}:
        raise ConfigError(f"the baseline {wrong.pop()} is not for {path.stem}. Remedy: "
                          f"{', '.join([*own, 'untrained'])}")
    if kind != "cutout":
        report = False  # of masks, by the measures of cut-outs
        if metrics is not None:
            raise ConfigError(f"--metrics chooses measures of cut-outs; {path.stem} has others. Remedy: leave it out")
    elif metrics is not None:
        cfg.test_evaluator["names"] = resolve(metrics)
    work_dir = Path(cfg.work_dir)
    if is_main_process():
        check_folder(work_dir)
    parts = {split: work_dir / (split or "") for split in dict.fromkeys(splits or (None,))}
    datasets = {split: _dataset(cfg, path, split) for split in parts} if splits or report else {}
    rows = {}
    for split, folder in parts.items():
        say(f"testing {weights} on {split or 'the test split'} of {cfg.get('data_root')}")
        rows[split or "trained"] = _run(cfg, path, weights, split, folder, masks or report)
    if "untrained" in baselines:
        for split, folder in parts.items():
            rows[_row("untrained", split)] = _run(cfg, path, None, split, folder / "untrained", False)
    if not is_main_process():
        return rows
    if "grabcut" in baselines:
        for split in parts:
            rows[_row("grabcut", split)] = _grabcut(cfg, datasets.get(split) or _dataset(cfg, path, split))
    if "majority" in baselines:
        for split in parts:
            rows[_row("majority", split)] = _majority(cfg, path, split)
    if "intensity" in baselines:
        for split in parts:
            rows[_row("intensity", split)] = _intensity(cfg, path, split)
    write_json(work_dir / "test.json", {"config": str(path), "weights": str(weights), "figures": rows})
    write_text(work_dir / "test.md", markdown_table(rows) + class_tables(cfg, rows))
    for split, folder in parts.items() if report else ():
        names = [name for name in rows[split or "trained"] if name in MEASURES]
        _report(cfg, path.stem, datasets[split], names, folder)
    return rows


def _row(baseline: str, split: str | None) -> str:
    return f"{BASELINES[baseline]}, {split}" if split else BASELINES[baseline]


def _dataset(cfg: Config, origin: Path, split: str | None) -> Any:
    """The data set of a split, for its files alone."""
    dataset = dict(runner_config(cfg).test_dataloader.dataset, pipeline=[])
    with config_errors(origin):
        return DATASETS.build(dataset | ({"split": split} if split else {}))


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
    if kind_of(cfg) == "semantic":
        finished.test_evaluator["picture"] = str(folder / "confusion.png")
    if kind_of(cfg) == "detection":
        finished.test_evaluator["picture"] = str(folder / "precision_recall.png")
        finished.test_evaluator["results"] = str(folder / "coco_results.json")
    finished.visualizer = None
    finished.default_hooks = dict(checkpoint=None, logger=None)
    hooks = [h for h in finished.get("custom_hooks") or [] if type_name(h) in ("Progress", *PICTURES.values())]
    if masks and not set(PICTURES.values()) & set(map(type_name, hooks)):
        hooks.append(dict(type=PICTURES[kind_of(cfg)], count=0))
    for hook in hooks:
        if type_name(hook) in PICTURES.values():
            hook["masks"] = masks
    finished.custom_hooks = hooks
    with run_errors(folder):
        return build_runner(finished, origin).test()


def _grabcut(cfg: Config, dataset: Any) -> dict:
    """GrabCut's figures on a data set, from a rectangle just inside the frame."""
    evaluator = runner_config(cfg).test_evaluator
    names = resolve(evaluator.get("names", KNOWN))
    skeletons = SkeletonCache(skeleton_folder(evaluator.get("cache")))
    rows = []
    for number, pair in enumerate(dataset.pairs, start=1):
        rows.append(evaluate_pair(grabcut(read_image(pair.image)), read_mask(pair.mask), names, skeletons))
        if number % 10 == 0 or number == len(dataset.pairs):
            say(f"GrabCut {number}/{len(dataset.pairs)}")
    return summarise(rows, names)


def _majority(cfg: Config, origin: Path, split: str | None) -> dict:
    """Figures of the training set's most frequent class, given to every pixel."""
    finished = runner_config(cfg)
    with config_errors(origin):
        training = DATASETS.build(dict(finished.train_dataloader.dataset, pipeline=[]))
    dataset = _dataset(cfg, origin, split)
    names, ignore = training.task.classes, training.task.ignore_index

    def truths(data: Any) -> Iterator[np.ndarray]:
        return (read_labels(pair.mask, data.classes, ignore) for pair in data.pairs)

    common = most_frequent(truths(training), len(names), ignore)
    boundary = finished.test_evaluator.get("boundary", True)
    return summarise_semantic(majority_counts(truths(dataset), common, len(names), ignore, boundary), names)


def _intensity(cfg: Config, origin: Path, split: str | None) -> dict:
    """Figures of the class that is most frequent at each intensity in the training set."""
    finished = runner_config(cfg)
    with config_errors(origin):
        training = DATASETS.build(dict(finished.train_dataloader.dataset, pipeline=[]))
    dataset, measures = _dataset(cfg, origin, split), finished.test_evaluator
    names = training.task.classes
    baseline = IntensityBaseline.fit(training.task, (
        (volume.values, volume.spacing, labels) for volume, labels in map(training.read, training.cases)))
    rows = []
    for volume, labels in map(dataset.read, dataset.cases):
        pred = baseline.predict(volume.values, volume.spacing)
        rows.append(measure_volume(pred, labels, volume.spacing, len(names), measures.get("tolerance", 1.0),
                                   measures.get("ignore", -1), measures.get("surfaces", True)))
    return summarise_volumes(rows, names)


def noun_of(cfg: Config) -> str:
    """What the data set of a config is made of."""
    return "volume" if kind_of(cfg) == "volume" else "picture"


def kind_of(cfg: Config) -> str:
    """The kind of task that a config is about."""
    return as_task(cfg.get("task")).kind


def class_tables(cfg: Config, rows: dict[str, dict]) -> str:
    """Markdown: the figures of each class for every tested row, baselines left out; empty where there are none."""
    table = CLASS_TABLES.get(kind_of(cfg))
    if table is None:
        return ""
    tested = {k: v for k, v in rows.items() if k.partition(", ")[0] not in BASELINES.values()}
    names = as_task(cfg.task).classes
    return "".join(f"\n{name}:\n\n{table(figures, names)}" for name, figures in tested.items())


def _report(cfg: Config, name: str, dataset: Any, names: Sequence[str], folder: Path) -> None:
    """What ``dense eval`` leaves, of the masks in ``folder/masks``, in ``folder/report``."""
    pairs = getattr(dataset, "pairs", ())
    if not pairs or not names or len({pair.name for pair in pairs}) < len(pairs):
        say(f"no report in {folder}: it needs pictures of different names and measures that dense knows")
        return
    masks = {pair.name: (folder / "masks" / f"{pair.name}.png", pair.mask) for pair in pairs}
    skeletons = skeleton_folder(runner_config(cfg).test_evaluator.get("cache"))
    evaluation = evaluate_methods(
        [Method(name, method_key(name), folder / "masks", masks)], FolderSettings(tuple(names), skeletons=skeletons),
        pairs[0].mask.parent, {pair.name: pair.image for pair in pairs})
    write_report(evaluation, folder / "report")


def markdown_table(rows: dict[str, dict]) -> str:
    """The figures as a Markdown table, without those of single classes; HCE without decimals, the others with three."""
    names = [name for name in next(iter(rows.values())) if "." not in name]
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for row, figures in rows.items():
        cells = (f"{figures[n]:.{MEASURES[n].digits if n in MEASURES else 3}f}" for n in names)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def print_table(rows: dict[str, dict]) -> None:
    """The table on the terminal, and by how much each tested row beats the baselines on the same split."""
    print(markdown_table(rows), end="")
    for name, figures in rows.items():
        baseline, _, split = name.partition(", ")
        first = split or "trained"
        if baseline in BASELINES.values() and first in rows:
            margins = (_margin(metric, value, figures[metric]) for metric, value in rows[first].items()
                       if "." not in metric)
            print(f"{first} against {name}: {', '.join(margins)}")


def _margin(name: str, own: float, other: float) -> str:
    """``MAE better by 0.012``: in the measure's direction and digits."""
    if name not in MEASURES:
        return f"{name} {own - other:+.3f}"
    measure = MEASURES[name]
    gain = round((own - other) * (1 if measure.higher else -1), measure.digits)
    return f"{name} {'better' if gain > 0 else 'worse'} by {abs(gain):.{measure.digits}f}" if gain else f"{name} equal"
