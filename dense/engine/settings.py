"""From a config and the command line's settings to what the runner takes."""
from __future__ import annotations

import copy
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.hooks import EMAHook
from mmengine.model import MomentumAnnealingEMA

from dense.compat.optim import amp_wrapper
from dense.config import read_config, type_name
from dense.datasets.volume_cases import read_dataset_json
from dense.errors import ConfigError, DatasetError
from dense.io import find_splits, split_folders
from dense.io.classes import find_class_file, read_classes
from dense.registry import TRANSFORMS

_RUNS = itertools.count(1)
DATALOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


@dataclass
class Settings:
    """What ``train`` takes beside a config; None leaves the config's value.

    overfit: train and validate on the first N pictures without augmentation, a check that the data are sound.
    size: side of the square (of volumes, the cube) that the network is fed. feature_supervision False drops the
    ground-truth encoder.
    """

    work_dir: str | None = None
    data_root: str | None = None
    weights: str | None = None
    batch_size: int | None = None
    size: int | None = None
    max_iters: int | None = None
    val_interval: int | None = None
    learning_rate: float | None = None
    workers: int | None = None
    seed: int | None = None
    amp: str | bool | None = None
    ema: float | None = None
    accumulate: int | None = None
    patience: int | None = None
    minutes: float | None = None
    overfit: int | None = None
    feature_supervision: bool | None = None
    gt_encoder: str | None = None
    options: list[str] = field(default_factory=list)

    def __post_init__(self):
        for key in ("batch_size", "size", "max_iters", "val_interval", "accumulate", "patience", "overfit"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise ConfigError(f"{key} {value}: must be at least 1")
        for key in ("workers", "seed"):
            if (value := getattr(self, key)) is not None and value < 0:
                raise ConfigError(f"{key} {value}: must be at least 0")
        for key in ("learning_rate", "minutes"):
            if (value := getattr(self, key)) is not None and value <= 0:
                raise ConfigError(f"{key} {value}: must be above 0")


def load_config(name: str | Path, settings: Settings) -> Config:
    """The config with the settings applied; still to be finished by ``runner_config``."""
    cfg = read_config(name, settings.options)
    cfg.work_dir = str(settings.work_dir or cfg.get("work_dir") or Path("work_dirs") / Path(name).stem)
    if settings.data_root:
        cfg.data_root = settings.data_root
        _flatten(cfg, Path(settings.data_root))
    for key in ("amp", "ema", "accumulate"):
        if getattr(settings, key) is not None:
            cfg[key] = getattr(settings, key)
    if settings.size:
        cfg.task = cfg.get("task") or {}
        sides = 3 if (cfg.task.get("type") and type_name(cfg.task) == "VolumeTask") else 2
        cfg.task["size"] = (settings.size,) * sides
    if settings.batch_size:
        cfg.train_dataloader.batch_size = settings.batch_size
    if settings.max_iters:
        cfg.train_cfg.max_iters = settings.max_iters
    if settings.val_interval:
        cfg.train_cfg.val_interval = settings.val_interval
        cfg.default_hooks.checkpoint.interval = settings.val_interval
    if settings.learning_rate:
        cfg.optim_wrapper.optimizer.lr = settings.learning_rate
    if settings.seed is not None:
        cfg.randomness = dict(cfg.get("randomness") or {}, seed=settings.seed)
    if settings.workers is not None:
        for key in DATALOADERS:
            if cfg.get(key):
                cfg[key].num_workers = settings.workers
    if settings.patience is not None:
        for hook in cfg.get("custom_hooks") or []:
            if "patience" in hook:
                hook.patience = settings.patience
    if settings.minutes is not None:
        budgets = [h for h in cfg.get("custom_hooks") or [] if type_name(h) == "TimeBudget"]
        if not budgets:
            budgets = [ConfigDict(type="TimeBudget")]
            cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), *budgets]
        budgets[0]["seconds"] = 60 * settings.minutes
    if settings.feature_supervision is False:
        cfg.model.gt_encoder = None
    if settings.gt_encoder:
        if not cfg.model.get("gt_encoder"):
            raise ConfigError(f"{name}: the config has no gt_encoder to take {settings.gt_encoder}")
        cfg.model.gt_encoder.checkpoint = settings.gt_encoder
    if settings.weights:
        cfg.load_from = settings.weights
    if settings.overfit:
        _overfit(cfg, settings.overfit)
    _adopt_classes(cfg)
    return cfg


def _adopt_classes(cfg: Config) -> None:
    """Task and network of a semantic config take the classes of the data folder's class file, if it has one; those of
    volumes take classes and channels of its dataset.json."""
    task, dataset = cfg.get("task"), (cfg.get("train_dataloader") or cfg.get("test_dataloader") or {}).get("dataset")
    if task and dataset and type_name(dataset) == "VolumeDataset" and not dataset.get("cases"):
        _adopt_volumes(cfg, Path(find_data(dataset.get("root") or cfg.get("data_root"))) / "dataset.json")
    if not task or not dataset or type_name(dataset) != "SemanticDataset" or dataset.get("classes"):
        return
    root = Path(find_data(dataset.get("root") or cfg.get("data_root")))
    file = find_class_file(root, root / "train")
    if file is None:
        return
    classes = read_classes(file)
    cfg.task["classes"], cfg.task["palette"] = classes.names, classes.colours or ()
    cfg.model["network"]["num_classes"] = len(classes.names)


def _adopt_volumes(cfg: Config, description: Path) -> None:
    """Channels and classes of a dataset.json; the config's own are kept, with their colours, where they agree."""
    if not description.is_file():
        return
    found = read_dataset_json(description)
    if tuple(cfg.task.get("classes") or ()) != found.classes:
        cfg.task["classes"], cfg.task["palette"] = found.classes, ()
    if tuple(cfg.task.get("channels") or ()) != found.channels:
        for key in ("normalisation", "masked", "intensities"):  # one for all that the config has, or one each
            if len(cfg.task.get(key) or ()) not in (0, 1, len(found.channels)):
                raise ConfigError(f"{description}: has the channels {', '.join(found.channels)}, but the config's "
                                  f"task[{key!r}] is {cfg.task[key]!r}. Remedy: one entry, or one for each")
        for key in ("normalisation", "masked", "intensities"):
            if len(cfg.task.get(key) or ()) == 1:
                cfg.task[key] = tuple(cfg.task[key]) * len(found.channels)
        cfg.task["channels"] = found.channels
    cfg.model["network"]["num_classes"], cfg.model["network"]["in_channels"] = len(found.classes), len(found.channels)


def _flatten(cfg: Config, root: Path) -> None:
    """No splits where ``root`` has none but holds pictures and masks itself: all data sets are then that folder."""
    if not root.is_dir() or find_splits(root):
        return
    try:
        split_folders(root)
    except DatasetError:
        return
    for key in DATALOADERS:
        if cfg.get(key):
            cfg[key].dataset.split = None


def _overfit(cfg: Config, count: int) -> None:
    """Train and validate on the same few pictures, unaugmented."""
    train, val = cfg.train_dataloader, cfg.val_dataloader
    train.dataset.pipeline = [t for t in train.dataset.pipeline if not getattr(_transform(t), "random", False)]
    for dataset in (train.dataset, val.dataset):
        dataset.split, dataset.limit = train.dataset.split, count
    train.batch_size = min(train.batch_size, count)
    cfg.test_dataloader = copy.deepcopy(val)
    cfg.custom_hooks = [h for h in cfg.get("custom_hooks") or [] if "patience" not in h]


def _transform(node: ConfigDict) -> type:
    return TRANSFORMS.get(node["type"]) if isinstance(node["type"], str) else node["type"]


def runner_config(cfg: Config) -> Config:
    """The config as mmengine's Runner takes it: task and data root handed down, AMP, EMA, accumulation set."""
    cfg = copy.deepcopy(cfg)
    task = cfg.get("task")
    if task is not None:
        cfg.model.setdefault("task", task)
    seed = (cfg.get("randomness") or {}).get("seed")
    for key in DATALOADERS:
        loader = cfg.get(key)
        if not loader:
            continue
        if task is not None:
            loader.dataset.setdefault("task", task)
        if loader.dataset.get("root") is None:
            loader.dataset.root = find_data(cfg.get("data_root"))
        loader.dataset.setdefault("seed", seed or 0)
        if not loader.get("num_workers"):
            loader.num_workers, loader.persistent_workers = 0, False
    for scheduler in cfg.get("param_scheduler") or []:
        if "end" in scheduler and scheduler["end"] is None:
            scheduler["end"] = cfg.train_cfg.max_iters
    if cfg.get("optim_wrapper"):
        cfg.optim_wrapper.update(amp_wrapper(cfg.get("amp")))
        if cfg.get("accumulate", 1) > 1:
            cfg.optim_wrapper.accumulative_counts = cfg.accumulate
    if cfg.get("ema"):
        if not 0 < cfg.ema < 1:
            raise ConfigError(f"ema={cfg.ema!r} is no momentum; it lies between 0 and 1, for example 0.001")
        hook = dict(type=EMAHook, ema_type=MomentumAnnealingEMA, momentum=cfg.ema, update_buffers=True)
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), ConfigDict(hook)]
    cfg.setdefault("default_scope", "dense")
    # mmengine shares counters and logs between runs of one name, and its own names last a second
    name = cfg.get("experiment_name") or Path(cfg.filename or "dense").stem
    cfg.experiment_name = f"{name}_{next(_RUNS)}"
    return cfg


def find_data(root: str | None) -> str:
    """A relative data root is looked for here, then in the clone that holds the package."""
    if root is None:
        raise ConfigError("the config names no data_root. Remedy: --data-root FOLDER")
    if os.path.isabs(root) or Path(root).is_dir():
        return str(root)
    inside = Path(__file__).resolve().parents[2] / root
    return str(inside if inside.is_dir() else root)
