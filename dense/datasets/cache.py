"""Resized pictures kept on disk, keyed by the file's content and the settings, so they are never stale."""
from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import get_worker_info

from dense.errors import DenseError, ImageError
from dense.io import atomic_path
from dense.io.cache import cache_folder

# raise when reading or resizing changes its result: older entries are then no longer found
VERSION = 2


def read_content(path: Path) -> bytes:
    """The bytes of a file; raises ImageError naming the file, the reason and the remedy."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        remedy = "restore it, or start anew so that the folder is listed again"
        raise ImageError(f"{path}: does not exist. Remedy: {remedy}") from error
    except OSError as error:
        remedy = "check its permissions and the disk"
        raise ImageError(f"{path}: cannot be read ({error.strerror}). Remedy: {remedy}") from error


class PictureCache:
    """uint8 arrays on disk under a hash of (content of the files, settings, version).

    The files are read and hashed at each look-up (about 1 ms per MB), which saves decoding and resizing.
    After a write that fails (no permission, disk full) nothing more is written, with one warning; what is
    there is still used. Each call returns an array of its own. Entries are never removed: the folder may be
    deleted at any time.
    """

    def __init__(self, folder: Path | str | None = None):
        self.folder = Path(folder) if folder else cache_folder() / "pictures"
        self.writes = True

    def get(self, paths: Sequence[Path], settings: str, shape: tuple[int, ...],
            make: Callable[..., np.ndarray]) -> np.ndarray:
        """The array of the files, of the given shape: from the cache, else ``make(*contents)``, then stored.

        Raises ImageError for a file that cannot be read, and whatever ``make`` raises; nothing is stored then.
        """
        contents = [read_content(path) for path in paths]
        key = hashlib.blake2b(f"{VERSION}|{settings}|{shape}|{[len(c) for c in contents]}".encode(),
                              digest_size=20, person=b"dense")
        for content in contents:
            key.update(content)
        name = key.hexdigest()
        entry = self.folder / name[:2] / f"{name}.npy"
        try:
            array = np.load(entry, allow_pickle=False)
            if array.dtype == np.uint8 and array.shape == tuple(shape):
                return array
        except FileNotFoundError:
            pass
        except Exception as error:  # a damaged file raises anything; it is made again
            logging.getLogger("dense").info("picture cache: %s: %s", entry, error)
        array = make(*contents)
        if self.writes:
            try:
                with atomic_path(entry) as temporary, open(temporary, "wb") as file:
                    np.save(file, array, allow_pickle=False)
            except (DenseError, OSError) as error:
                self.writes = False
                if (worker := get_worker_info()) is None or worker.id == 0:
                    logging.getLogger("dense").warning("pictures are no longer cached (training goes on): %s", error)
        return array
