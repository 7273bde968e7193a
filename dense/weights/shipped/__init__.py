"""The small models of our own that come with the package, each with a card beside it; ``dense.weights.store`` finds
them by name."""
from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def list_shipped() -> dict[str, Path]:
    """``model@weights`` -> file."""
    return {p.stem.replace("--", "@"): p for p in sorted(FOLDER.glob("*--*.safetensors"))}
