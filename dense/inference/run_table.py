"""A file about a whole run, usually a CSV: rows of each result, and those of earlier runs that stay."""
from __future__ import annotations

import csv
import io
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dense.errors import ConfigError, DenseError
from dense.inference.jobs import Job
from dense.inference.results import Result
from dense.inference.sources import Item
from dense.io import check_folder, write_text
from dense.io.images import natural_key


class RunTable:
    """Rows of results, as a CSV; safe to add to from several threads.

    what: the file is, for people ('table of areas'). columns: names; the first one holds the result's source. rows_of:
    rows of a result, by column. Files of other kinds (``suffix``) override ``name``, ``text`` and ``parse``.
    """

    suffix: str = ".csv"

    def __init__(self, what: str, columns: Sequence[str], rows_of: Callable[[Result], Any]):
        self.what, self.columns, self.rows_of = what, tuple(columns), rows_of
        self._rows: dict[str, Any] = {}
        self._lock = threading.Lock()

    def name(self, result: Result, item: Item) -> str:
        """By which a result is known in the file."""
        return result.source

    def text(self, rows: Mapping[str, Any]) -> str:
        """The file's content, of rows by name in order."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        for some in rows.values():
            writer.writerows(some)
        return text.getvalue()

    def parse(self, text: str) -> dict[str, Any] | None:
        """Rows by name of a file that ``text`` made, None for anything else."""
        reader = csv.DictReader(io.StringIO(text, newline=""))
        rows: dict[str, list[dict]] = {}
        try:
            if tuple(reader.fieldnames or ()) != self.columns:
                return None
            for row in reader:
                rows.setdefault(row[self.columns[0]], []).append(row)
        except csv.Error:
            return None
        return rows

    def add(self, result: Result, item: Item) -> None:
        """The rows of a result, which take the place of earlier ones."""
        name, rows = self.name(result, item), self.rows_of(result)
        with self._lock:
            self._rows[name] = rows

    def keep(self, rows: Mapping[str, Any]) -> None:
        """Rows of an earlier run, by name."""
        with self._lock:
            self._rows.update(rows)

    def write(self, path: Path) -> None:
        """Write the file, ordered by name. Raises DenseError."""
        with self._lock:
            names = sorted(self._rows, key=lambda n: natural_key(Path(n)))
            text = self.text({name: self._rows[name] for name in names})
        write_text(path, text)

    def read(self, path: Path) -> dict[str, Any]:
        """Rows by name of a file that was written here. DenseError for anything else."""
        try:
            with open(path, encoding="utf-8", newline="") as file:
                found = self.parse(file.read())
        except (OSError, UnicodeDecodeError) as error:
            raise DenseError(f"{path}: cannot be read ({error}). Remedy: another name") from error
        if found is None:
            raise DenseError(f"{path}: is there and is no {self.what}. Remedy: another name")
        return found


def open_table(table: RunTable, option: str, path: Path, inputs: Sequence[str], output: str | None, keep: bool,
               replace: bool) -> RunTable:
    """The table of a run that is to be written to ``path``, with the rows that stay.

    option: what asked for it, for messages ('--areas'). keep: rows of a table that is there stay, but for sources that
    are done anew; replace: it is replaced.
    Raises DenseError, before anything is done, where it cannot be written, is an input or the result, is there and it
    is not said what becomes of it, or is none of ours.
    """
    if path.suffix.lower() != table.suffix:
        raise ConfigError(f"{option} {path}: a {table.what} is a {table.suffix}")
    if os.path.realpath(path) in {os.path.realpath(p) for p in (*inputs, *([output] if output else []))}:
        raise ConfigError(f"{option} {path}: is an input or the result. Remedy: another name")
    if path.exists():
        if not (keep or replace):
            raise DenseError(f"{path}: is there already. Remedy: another name, --overwrite, or --skip-existing, which "
                             "adds to it")
        kept = table.read(path)
        if keep:
            table.keep(kept)
    check_folder(path.resolve().parent)
    return table


def add_table(job: Job, table: RunTable, path: Path) -> None:
    """Make the job collect rows and write them when it ends."""
    write, finish = job.write, job.finish

    def write_and_add(result: Result, item: Item) -> object:
        outcome = write(result, item)
        table.add(result, item)
        return outcome

    def finish_all() -> None:
        try:
            if finish:
                finish()
        finally:
            table.write(path)

    job.write, job.finish = write_and_add, finish_all
