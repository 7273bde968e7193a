"""A contact sheet of a run: the first results, a row each, as they come; no full picture is kept."""
from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dense.errors import ConfigError, DenseError
from dense.inference.jobs import Job
from dense.inference.results import Result
from dense.inference.sources import Item
from dense.io import check_folder, write_picture
from dense.io.images import natural_key
from dense.io.picture import format_of
from dense.tasks.pictures import PANEL_BACKGROUND, contact_sheet, fit, label

ROWS = 24
HEIGHT = 160  # pixels, of a row


class Sheet:
    """The panels of results, at most ``rows`` of them; safe to add to from several threads."""

    def __init__(self, rows: int = ROWS, height: int = HEIGHT):
        self.rows, self.height, self.count = rows, height, 0
        self._made: list[tuple[str, np.ndarray]] = []
        self._lock = threading.Lock()

    def add(self, result: Result) -> None:
        """A row of this result, while there is room."""
        with self._lock:
            self.count += 1
            if self.count > self.rows:
                return
        gap = np.full((self.height, 4, 3), PANEL_BACKGROUND, np.uint8)
        width = self.height * 3 // 2
        panels = [fit(panel, self.height, width) for panel in result.small(2 * self.height).panels()]
        name = os.path.basename(result.source).encode("ascii", "replace").decode()
        row = label(np.hstack([part for panel in panels for part in (panel, gap)][:-1]), name[:90])
        with self._lock:
            self._made.append((result.source, row))

    def write(self, path: Path) -> bool:
        """Write it, ordered by name, as ``write_picture`` does; False if there is nothing to show."""
        with self._lock:
            rows = [row for _, row in sorted(self._made, key=lambda pair: natural_key(Path(pair[0])))]
        if rows:
            write_picture(path, contact_sheet(rows))
        return bool(rows)


def add_sheet(job: Job, path: Path, inputs: Sequence[str], output: str | None, replace: bool) -> None:
    """Make the job collect a sheet and write it when it ends. Raises DenseError, before anything is done, where the
    file cannot be written, is an input or the result, or is there and it is not said that it may be replaced."""
    if format_of(path) not in ("PNG", "JPEG", "WEBP"):
        raise ConfigError(f"--sheet {path}: a sheet is a .png, .jpg or .webp")
    real = os.path.realpath(path)
    items = job.items if isinstance(job.items, list) else []
    if real in {os.path.realpath(p) for p in (*inputs, *(i.path for i in items if i.path))}:
        raise ConfigError(f"--sheet {path}: is an input. Remedy: another name")
    if output and os.path.realpath(output) == real:
        raise ConfigError(f"--sheet {path}: is the result. Remedy: another name")
    if path.exists() and not replace:
        raise DenseError(f"{path}: is there already. Remedy: another name, or --overwrite")
    check_folder(path.resolve().parent)
    sheet, write = Sheet(), job.write

    def write_and_add(result: Result, item: Item) -> object:
        outcome = write(result, item)
        sheet.add(result)
        return outcome

    job.write, job.finish = write_and_add, lambda: sheet.write(path)
