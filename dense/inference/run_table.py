"""A CSV for a whole run: rows of each result, and those of earlier runs that stay."""
from __future__ import annotations

import csv
import io
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from dense.errors import ConfigError, DenseError
from dense.inference.jobs import Job
from dense.inference.results import Result
from dense.inference.sources import Item
from dense.io import check_folder, write_text
from dense.io.images import natural_key


class RunTable:
    """Rows of results; safe to add to from several threads.

    columns: names; the first one holds the result's source. rows_of: rows of a result, by column. kept: rows of an
    earlier run.
    """

    def __init__(self, columns: Sequence[str], rows_of: Callable[[Result], list[dict]], kept: Sequence[dict] = ()):
        self.columns, self.rows_of = tuple(columns), rows_of
        self._rows: dict[str, list[dict]] = {}
        for row in kept:
            self._rows.setdefault(row[columns[0]], []).append(row)
        self._lock = threading.Lock()

    def add(self, result: Result) -> None:
        """The rows of a result, which take the place of earlier ones."""
        rows = self.rows_of(result)
        with self._lock:
            self._rows[result.source] = rows

    def write(self, path: Path) -> None:
        """Write the CSV, ordered by source. Raises DenseError."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        with self._lock:
            for name in sorted(self._rows, key=lambda n: natural_key(Path(n))):
                writer.writerows(self._rows[name])
        write_text(path, text.getvalue())


def open_table(table: RunTable, option: str, path: Path, inputs: Sequence[str], output: str | None, keep: bool,
               replace: bool) -> RunTable:
    """The table of a run that is to be written to ``path``, with the rows that stay.

    option: what asked for it, for messages ('--areas'). keep: rows of a table that is there stay, but for sources that
    are done anew; replace: it is replaced.
    Raises DenseError, before anything is done, where it cannot be written, is an input or the result, is there and it
    is not said what becomes of it, or is none of ours.
    """
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"{option} {path}: a table is a .csv")
    if os.path.realpath(path) in {os.path.realpath(p) for p in (*inputs, *([output] if output else []))}:
        raise ConfigError(f"{option} {path}: is an input or the result. Remedy: another name")
    kept: list[dict] = []
    if path.exists():
        if not (keep or replace):
            raise DenseError(f"{path}: is there already. Remedy: another name, --overwrite, or --skip-existing, which "
                             "adds to it")
        kept = read_rows(path, table.columns, f"no table of {option.removeprefix('--')}")
    check_folder(path.resolve().parent)
    return RunTable(table.columns, table.rows_of, kept if keep else ())


def add_table(job: Job, table: RunTable, path: Path) -> None:
    """Make the job collect rows and write them when it ends."""
    write, finish = job.write, job.finish

    def write_and_add(result: Result, item: Item) -> object:
        outcome = write(result, item)
        table.add(result)
        return outcome

    def finish_all() -> None:
        try:
            if finish:
                finish()
        finally:
            table.write(path)

    job.write, job.finish = write_and_add, finish_all


def read_rows(path: Path, columns: Sequence[str], strange: str) -> list[dict]:
    """Rows of a table that was written here. DenseError for anything else; strange: what it is then."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) == tuple(columns):
                return list(rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DenseError(f"{path}: cannot be read ({error}). Remedy: another name") from error
    raise DenseError(f"{path}: is there and is {strange}. Remedy: another name")
