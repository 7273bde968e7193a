"""Files about all pictures of a run: a CSV, a JSON; written when the run ends, gone on with by a later one."""
from __future__ import annotations

import csv
import io
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dense.errors import ConfigError, DenseError
from dense.inference.jobs import Job
from dense.inference.results import Result
from dense.inference.sources import Item
from dense.io import check_folder, write_text
from dense.io.images import natural_key


class RunTable(ABC):
    """What is written of each picture, by its name; safe to add to from several threads.

    suffix: of the file. what: the file is, for people ('table of areas').
    """

    suffix: str = ".csv"
    what: str

    def __init__(self, kept: Mapping[str, Any] | None = None):
        self._entries: dict[str, Any] = dict(kept or {})
        self._lock = threading.Lock()

    def name(self, result: Result, item: Item) -> str:
        """By which a picture is known in the file."""
        return result.source

    @abstractmethod
    def entry(self, result: Result) -> Any:
        """What is written of a picture."""

    @abstractmethod
    def text(self, entries: Mapping[str, Any]) -> str:
        """The file's content, of names and entries in order."""

    @abstractmethod
    def parse(self, text: str) -> dict[str, Any] | None:
        """Names and entries of a file that ``text`` made, None for anything else."""

    def add(self, result: Result, item: Item) -> None:
        """The entry of a picture, which takes the place of an earlier one."""
        entry = self.entry(result)
        with self._lock:
            self._entries[self.name(result, item)] = entry

    def write(self, path: Path) -> None:
        """Write the file, ordered by name. Raises DenseError."""
        with self._lock:
            names = sorted(self._entries, key=lambda n: natural_key(Path(n)))
            text = self.text({name: self._entries[name] for name in names})
        write_text(path, text)

    def read(self, path: Path) -> dict[str, Any]:
        """Entries of a file that was written here. DenseError for anything else."""
        try:
            with open(path, encoding="utf-8", newline="") as file:
                found = self.parse(file.read())
        except (OSError, UnicodeDecodeError) as error:
            raise DenseError(f"{path}: cannot be read ({error}). Remedy: another name") from error
        if found is None:
            raise DenseError(f"{path}: is there and is no {self.what}. Remedy: another name")
        return found


class CsvTable(RunTable):
    """A CSV with rows for each picture, the first column of which is its name; entries are lists of rows."""

    columns: tuple[str, ...]

    def text(self, entries: Mapping[str, list[dict]]) -> str:
        """See ``RunTable``."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        for rows in entries.values():
            writer.writerows(rows)
        return text.getvalue()

    def parse(self, text: str) -> dict[str, list[dict]] | None:
        """See ``RunTable``."""
        rows = csv.DictReader(io.StringIO(text, newline=""))
        entries: dict[str, list[dict]] = {}
        try:
            if tuple(rows.fieldnames or ()) != self.columns:
                return None
            for row in rows:
                entries.setdefault(row[self.columns[0]], []).append(row)
        except csv.Error:
            return None
        return entries


def open_table(table: RunTable, option: str, path: Path, inputs: Sequence[str], output: str | None, keep: bool,
               replace: bool) -> RunTable:
    """The table of a run that is to be written to ``path``. option: that asked for it, for messages.

    keep: what is in a file that is there stays, but for pictures that are done anew; replace: it is replaced.
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
            table._entries.update(kept)
    check_folder(path.resolve().parent)
    return table


def add_table(job: Job, table: RunTable, path: Path) -> None:
    """Make the job add its results to the table, and write it when it ends."""
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
