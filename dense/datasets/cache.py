"""Resized pictures kept on disk, keyed by the file's content and the settings, so they are never stale."""
from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dense.errors import DenseError
from dense.io import atomic_path

# raise when reading or resizing changes its result: older entries are then no longer found
VERSION = 1


def cache_folder() -> Path:
    """``$DENSE_CACHE``, else ``dense`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if folder := os.environ.get("DENSE_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dense"


class PictureCache:
    """uint8 arrays on disk under a hash of (file content, settings, version).

    The file is read and hashed at each look-up (about 1 ms per MB), which saves decoding and resizing.
    A folder that cannot be written or a full disk turns the cache off with one warning.
    """

    def __init__(self, folder: Path | str | None = None):
        self.folder = Path(folder) if folder else cache_folder() / "pictures"
        self.enabled = True

    def get(self, path: Path, settings: str, make: Callable[[bytes], np.ndarray]) -> np.ndarray:
        """The array of a file: from the cache, else ``make(content)``, then stored."""
        content = path.read_bytes()
        if not self.enabled:
            return make(content)
        key = hashlib.blake2b(content, digest_size=20, person=b"dense")
        key.update(f"{VERSION}|{settings}".encode())
        name = key.hexdigest()
        entry = self.folder / name[:2] / f"{name}.npy"
        try:
            return np.load(entry, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            pass
        array = make(content)
        try:
            with atomic_path(entry) as temporary, open(temporary, "wb") as file:
                np.save(file, array, allow_pickle=False)
        except (DenseError, OSError) as error:
            self.enabled = False
            logging.getLogger("dense").warning("picture cache off: %s", error)
        return array
