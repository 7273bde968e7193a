"""Reading configs: pure-Python files (mmengine's lazy style), overrides, and errors that name the near miss."""
from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmengine.config import Config, ConfigDict

from dense.errors import ConfigError

# settings of ours at the top level of a config, beside the parameters of mmengine's Runner
SETTINGS = {
    "task": "how pictures become tensors; handed to the model and every data set that names none",
    "data_root": "folder of the data set",
    "prerequisite": "config that is trained first, and where its weights go",
    "amp": "None, True (bf16 on CPU, bf16 or fp16 on CUDA), 'bf16' or 'fp16'",
    "ema": "None, or the momentum of an exponential moving average of the weights",
    "accumulate": "batches whose gradients are added before a step",
    "sync_bn": "batch statistics over all processes (default True)",
    "baselines": "what the final test is compared with: 'untrained', 'grabcut'",
}
RUNNER_EXTRAS = {"model_wrapper_cfg", "compile", "find_unused_parameters", "activation_checkpointing",
                 "efficient_conv_bn_eval"}
# parts of a config that are dicts without a class
PARTS = {
    "gt_encoder": {"network", "checkpoint"},
    "prerequisite": {"config", "folder"},
    "randomness": {"seed", "diff_rank_seed", "deterministic"},
    "env_cfg": {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"},
    "default_hooks": {"runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"},
}
DATALOADER_EXTRAS = {"dataset", "sampler", "batch_sampler", "collate_fn", "worker_init_fn", "num_batch_per_epoch"}


def find_config(name: str | Path) -> Path:
    """The file of a config: a path, or the name of one that comes with the package (with or without .py)."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = config_folder()
    inside = shipped / (path.name if path.suffix == ".py" else f"{path.name}.py")
    if inside.is_file():
        return inside
    names = [p.stem for p in sorted(shipped.glob("*.py")) if not p.stem.startswith("_")]
    near = difflib.get_close_matches(path.stem, names, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"shipped configs: {', '.join(names)}"
    raise ConfigError(f"{name}: no such config file; {hint}")


def config_folder() -> Path:
    """Folder of the shipped configs: ``configs/`` of a clone, package data of an installed wheel."""
    here = Path(__file__).resolve().parent
    inside = here / "configs"
    return inside if inside.is_dir() else here.parent / "configs"


def read_config(name: str | Path, options: Iterable[str] = ()) -> Config:
    """Read a config and apply ``KEY.SUBKEY=VALUE`` options (Python literals, else text).

    Raises ConfigError for a missing or broken file, an unknown key (with the near miss), or a bad option.
    """
    path = find_config(name)
    try:
        config = Config.fromfile(str(path))
    except ConfigError:
        raise
    except SyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: {error.msg}. Remedy: mend the Python there") from None
    except Exception as error:
        raise ConfigError(f"{path}: cannot be read as a config: {type(error).__name__}: {error}") from error
    for key in [k for k in config if inspect.isclass(config[k]) or inspect.isroutine(config[k])]:
        config.pop(key)  # names that a base config imported
    for option in options:
        _apply(config, option)
    check_config(config, str(path))
    return config


def parse_option(option: str) -> tuple[list[str], object]:
    """``'a.b=3'`` -> (['a', 'b'], 3). Values are Python literals; anything else is text."""
    key, separator, text = option.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--cfg-options {option!r}: expected KEY=VALUE, for example train_cfg.max_iters=100")
    if text.lower() in ("true", "false", "none"):
        return key.strip().split("."), {"true": True, "false": False, "none": None}[text.lower()]
    try:
        return key.strip().split("."), ast.literal_eval(text)
    except (ValueError, SyntaxError):
        if text.startswith(("[", "(", "{")):
            raise ConfigError(
                f"--cfg-options {option!r}: {text!r} is no Python literal. Remedy: write lists and dicts as "
                "literals ({'type': 'X'}, not dict(type='X')), or change the config file") from None
        return key.strip().split("."), text


def _apply(config: Config, option: str) -> None:
    path, value = parse_option(option)
    node = config
    for depth, key in enumerate(path):
        where, last = ".".join(path[:depth + 1]), depth == len(path) - 1
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(f"--cfg-options {option!r}: {where!r}: no entry {key!r} in a list of {len(node)}")
            key = int(key)
        elif not isinstance(node, Mapping | Config):
            whole = ".".join(path[:depth])
            raise ConfigError(f"--cfg-options {option!r}: {whole!r} is {node!r}, it has no parts to set. "
                              f"Remedy: set {whole} as a whole")
        elif key not in node and not last:
            raise ConfigError(f"--cfg-options {option!r}: there is no {where!r}{_near(key, list(node))}")
        if last:
            node[key] = _configured(value)
        else:
            if node[key] is None:
                node[key] = ConfigDict()
            node = node[key]


def _configured(value):
    """A literal as configs hold it: dicts, those in lists too, become ConfigDicts."""
    if isinstance(value, dict):
        return ConfigDict({k: _configured(v) for k, v in value.items()})
    return [_configured(v) for v in value] if isinstance(value, list) else value


def _near(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def check_config(config: Config, origin: str = "config") -> None:
    """Refuse keys that nothing reads: misspelt settings would otherwise be silently without effect."""
    from mmengine.runner import Runner

    known = set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"} | set(SETTINGS) | RUNNER_EXTRAS
    for key in config:
        if key not in known:
            raise ConfigError(f"{origin}: unknown setting {key!r}{_near(key, known)}")
    for key in config:
        _check_node(config[key], key, origin)


def _check_node(node, where: str, origin: str) -> None:
    if isinstance(node, list | tuple):
        for index, item in enumerate(node):
            _check_node(item, f"{where}.{index}", origin)
    if not isinstance(node, Mapping):
        return
    cls = node.get("type")
    allowed = None
    if inspect.isclass(cls):
        allowed = parameters_of(cls)
    elif cls is None and (part := where.rpartition(".")[2]) in PARTS:
        allowed = PARTS[part]
    elif where.endswith("dataloader"):
        from torch.utils.data import DataLoader

        allowed = set(inspect.signature(DataLoader).parameters) | DATALOADER_EXTRAS
    for key in node:
        if allowed is not None and key not in allowed | {"type", "_scope_", "paramwise_cfg", "constructor"}:
            owner = cls.__name__ if inspect.isclass(cls) else where
            raise ConfigError(f"{origin}: {where}: {owner} has no setting {key!r}{_near(key, allowed)}")
        _check_node(node[key], f"{where}.{key}", origin)


def type_name(node: Mapping) -> str:
    """Class name of a config node, whose type is a class or a registered name."""
    cls = node["type"]
    return cls if isinstance(cls, str) else cls.__name__


def parameters_of(cls: type) -> set[str] | None:
    """Names that ``cls(...)`` takes, bases included where it passes ``**kwargs`` on; None if it takes any."""
    names = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names - {"self"}
    return None
