"""The names under which models are built: ``isnet``, ``isnet_gt_encoder``, ..."""
from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dense.errors import ConfigError


@dataclass(frozen=True)
class ModelName:
    """One buildable name.

    make: settings of the network -> model config.
    recognise: shapes of weights by key (a prefix allowed) -> the settings of the network that they may belong to, None
        if they are another's. A guess that loading proves; without it, weights cannot be imported unnamed.
    """

    name: str
    summary: str
    make: Callable[[dict], dict]
    recognise: Callable[[Mapping[str, tuple[int, ...]]], dict | None] | None = None


_NAMES: dict[str, ModelName] = {}


def register_name(entry: ModelName) -> None:
    """Add a name; a second one of the same name is an error."""
    if entry.name in _NAMES:
        raise KeyError(f"the model name {entry.name!r} is taken")
    _NAMES[entry.name] = entry


def find_name(name: str) -> ModelName:
    """The entry of a name; ConfigError with the near misses if unknown."""
    import dense.models  # noqa: F401  fills the table

    if name not in _NAMES:
        near = difflib.get_close_matches(name, _NAMES, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(sorted(_NAMES))}"
        raise ConfigError(f"no model is called {name!r}; {hint}")
    return _NAMES[name]


def list_models() -> dict[str, str]:
    """Name -> one-line summary of every model that ``build_model`` knows."""
    import dense.models  # noqa: F401

    return {name: entry.summary for name, entry in sorted(_NAMES.items())}


def recognise(shapes: Mapping[str, tuple[int, ...]], wanted: str | None = None) -> tuple[str, dict] | None:
    """Name and network settings of the model whose weights have these shapes (by key); None if no model knows them.

    wanted: preferred where several models have the same shapes. Raises ConfigError if none of them was asked for.
    """
    import dense.models  # noqa: F401

    found = {name: settings for name, entry in sorted(_NAMES.items())
             if entry.recognise is not None and (settings := entry.recognise(shapes)) is not None}
    if wanted in found:
        return wanted, found[wanted]
    if len(found) > 1:
        raise ConfigError(f"these may be weights of {' or of '.join(found)}, which have the same keys and shapes. "
                          f"Remedy: say which, for example --name {next(iter(found))}@WEIGHTS")
    return next(iter(found.items()), None)


def model_of_meta(meta: Mapping) -> str | None:
    """The model's name that is stored with weights, or follows from their network's class; None if unknown."""
    import dense.models  # noqa: F401

    network = meta.get("network")
    stored = [meta.get("model"), network.get("name") if isinstance(network, Mapping) else None]
    return next((name for name in stored if name in _NAMES), None) or model_of_class(str(meta.get("class")))


def model_of_class(name: str) -> str | None:
    """The model's name of a network class (``'ISNet'``, as weights that were trained here say); None if unknown."""
    import dense.models  # noqa: F401

    for model, entry in sorted(_NAMES.items()):
        network = entry.make({})["network"]["type"]
        if name == (network if isinstance(network, str) else network.__name__):
            return model
    return None
