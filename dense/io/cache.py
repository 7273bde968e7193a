"""Where things are kept that can be made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$DENSE_CACHE``, else ``dense`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if folder := os.environ.get("DENSE_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dense"
