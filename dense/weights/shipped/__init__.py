"""The small models of our own that come with the package, each with a card beside it."""
from __future__ import annotations

from pathlib import Path

from dense.errors import WeightsError

FOLDER = Path(__file__).parent


def list_shipped() -> dict[str, Path]:
    """``model@weights`` -> file."""
    return {p.stem.replace("--", "@"): p for p in sorted(FOLDER.glob("*--*.safetensors"))}


def find_shipped(name: str) -> Path:
    """The file of ``model@weights``; WeightsError that lists what there is otherwise."""
    shipped = list_shipped()
    if name not in shipped:
        raise WeightsError(f"no weights are called {name!r}; shipped: {', '.join(shipped) or 'none'}")
    return shipped[name]
