"""The names under which models are built: ``isnet``, ``isnet_gt_encoder``, ..."""
from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from dense.errors import ConfigError


@dataclass(frozen=True)
class ModelName:
    """One buildable name.

    make: settings of the network -> model config.
    """

    name: str
    summary: str
    make: Callable[[dict], dict]


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
