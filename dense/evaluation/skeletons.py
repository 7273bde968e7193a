"""Skeletons of ground truths, kept on disk: making one takes most of the time of HCE."""

import hashlib
import logging
from pathlib import Path

import cv2
import numpy as np

from dense.errors import ConfigError, DenseError, ImageError
from dense.evaluation.hce import skeleton
from dense.io import read_mask, write_bytes
from dense.io.cache import cache_folder

# raise when the skeleton of the same mask changes: older entries are then no longer found
VERSION = 1


class SkeletonCache:
    """Call it with a bool ground truth (H, W) for its skeleton, likewise; ``skeleton`` of the HCE functions.

    Entries are 1-bit PNG files named by a hash of the mask and the version of the algorithm, so that they are
    never stale; the folder may be deleted at any time. One that is damaged is made anew. After a write that
    fails nothing more is written, with one warning. The last skeleton is kept in memory, for several
    predictions of one ground truth in a row.

    folder: where they are kept; None keeps them in memory only.
    """

    def __init__(self, folder: Path | str | None = None):
        self.folder = Path(folder) if folder is not None else None
        self.writes = folder is not None
        self._last: tuple[str, np.ndarray] | None = None

    def __call__(self, gt: np.ndarray) -> np.ndarray:
        """bool (H, W); errors as those of ``dense.evaluation.skeleton``."""
        gt = np.ascontiguousarray(gt if gt.dtype == np.bool_ else gt > 128)
        name = content_name(gt)
        if self._last is None or self._last[0] != name:
            self._last = name, self._find(name, gt)
        return self._last[1]

    def _find(self, name: str, gt: np.ndarray) -> np.ndarray:
        if self.folder is None:
            return skeleton(gt)
        entry = self.folder / name[:2] / f"{name}.png"
        found = _read(entry, gt)
        if found is None:
            found = skeleton(gt)
            if self.writes:
                self._write(entry, found)
        return found

    def _write(self, entry: Path, found: np.ndarray) -> None:
        _, data = cv2.imencode(".png", found.view(np.uint8) * np.uint8(255), [cv2.IMWRITE_PNG_BILEVEL, 1])
        try:
            write_bytes(entry, data)
        except (DenseError, OSError) as error:
            self.writes = False
            logging.getLogger("dense").warning("skeletons are no longer kept (all else goes on): %s", error)


def content_name(gt: np.ndarray) -> str:
    """Hash of a bool (H, W) mask and the version of the algorithm."""
    digest = hashlib.sha256(f"skeleton {VERSION} {gt.shape}".encode())
    digest.update(np.packbits(gt).tobytes())
    return digest.hexdigest()[:40]


def skeleton_folder(place: str | Path | None, truths: Path | None = None) -> Path | None:
    """The folder that a person's choice of a place means.

    Args:
        place: None for the cache folder of dense; "none" for none; "beside" for ``.skeletons`` in the folder
            of the ground truths; else a folder.
        truths: the folder of the ground truths.

    Raises:
        ConfigError: "beside" without ``truths``.
    """
    if place is None:
        return cache_folder() / "skeletons"
    if str(place) == "none":
        return None
    if str(place) == "beside":
        if truths is None:
            raise ConfigError("skeletons beside the data: there is no folder of ground truths; name a folder")
        return truths / ".skeletons"
    return Path(place)


def _read(entry: Path, gt: np.ndarray) -> np.ndarray | None:
    """The entry, or None if it is not there or cannot be the skeleton of ``gt``."""
    if not entry.is_file():
        return None
    try:
        found = read_mask(entry) > 128
    except ImageError as error:
        logging.getLogger("dense").info("skeleton made anew: %s", error)
        return None
    fits = found.shape == gt.shape and not (found & ~gt).any()
    return found if fits else None
