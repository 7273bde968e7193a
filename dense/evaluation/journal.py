"""Results of single images, kept as they come, so that a run that ended early goes on."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from dense.errors import DenseError
from dense.evaluation.measures import VERSION
from dense.io import write_text


def digest(data: bytes) -> str:
    """Hash of a file's content."""
    return hashlib.sha256(data).hexdigest()


def entry_key(pred: str, gt: str, settings: str) -> str:
    """The key of an image's results: hashes of both files, the settings and the version of the measures."""
    return hashlib.sha256(f"{VERSION} {settings} {pred} {gt}".encode()).hexdigest()[:40]


class Journal:
    """A file of JSON lines ``{"key": ..., "row": ...}``, or None for none.

    rows: what earlier runs left, by key. Damaged lines (the last one of a run that was killed) are left out.

    Raises DenseError if the file cannot be read or written.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self._file: IO[str] | None = None
        try:
            text = path.read_text(encoding="utf-8", errors="replace") if path and path.is_file() else ""
        except OSError as error:
            raise DenseError(f"{path}: cannot be read ({error.strerror}); remove it to begin anew") from error
        self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self.rows[entry["key"]] = dict(entry["row"])
            except (ValueError, TypeError, KeyError):
                continue

    def find(self, key: str, columns: Iterable[str]) -> dict[str, Any] | None:
        """The row, if it holds all these columns."""
        row = self.rows.get(key)
        return row if row is not None and all(column in row for column in columns) else None

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row, together with what an earlier one of the same key holds besides."""
        self.rows[key] = self.rows.get(key, {}) | row
        if self.path is None:
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - open until `close`
                self._file.write("\n" if self._torn else "")
            self._file.write(_line(key, self.rows[key]))
            self._file.flush()
        except OSError as error:
            reason = error.strerror or error
            raise DenseError(f"{self.path}: cannot be written ({reason}); free some space or choose another "
                             "output folder (-o)") from error

    def finish(self, keys: Iterable[str]) -> None:
        """Leave these entries only, in this order: the file does not grow from run to run."""
        self.close()
        if self.path is not None:
            write_text(self.path, "".join(_line(key, self.rows[key]) for key in dict.fromkeys(keys)))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(key: str, row: dict[str, Any]) -> str:
    return json.dumps({"key": key, "row": row}, separators=(",", ":"), allow_nan=False) + "\n"
