"""Weights of the catalogue, fetched and imported by name."""
from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from dense.errors import MissingDependencyError, WeightsError
from dense.io.lock import file_lock
from dense.weights.catalogue import Entry, File, read_catalogue
from dense.weights.fetch import MIB, FetchError, digests_of, fetch, is_offline
from dense.weights.importer import Imported, import_weights
from dense.weights.shipped import list_shipped
from dense.weights.store import cached_path, find, remedy, weights_folder

Say = Callable[[str], None]
_COMMERCIAL = {"no": "not allowed", "unclear": "not clearly allowed"}


def get_weights(name: str, overwrite: bool = False, commercial_only: bool = False, keep: bool = False,
                say: Say = lambda text: None) -> Imported:
    """Fetch weights of the catalogue and import them into the cache; what is there already is used.

    overwrite: fetch and import anew. commercial_only: refuse what is not clearly allowed commercially. keep: leave the
    fetched file in the cache beside the imported one.

    Raises WeightsError (FetchError where it could not be fetched), MissingDependencyError, DenseError (disk full).
    """
    entry = read_catalogue().get(name)
    if entry is None:
        found = find(name)  # raises, with near misses
        return Imported(name, found.path, [f"{name} is here already: {found.words}"])
    if commercial_only and entry.commercial != "yes":
        facts = "; ".join(f"{k}: {v.text}" for k, v in entry.licences.items())
        raise WeightsError(f"{name}: commercial use is {_COMMERCIAL[entry.commercial]} ({facts})")
    if name in list_shipped():
        return Imported(name, list_shipped()[name], [f"{name} comes with the package"])
    here = Imported(name, cached_path(name), [f"{name} is in the cache already"])
    if here.path.is_file() and not overwrite:
        return here
    if not any(file.urls for file in entry.files):
        raise WeightsError(f"{name}: cannot be fetched by a program. Remedy: {remedy(entry)}")
    lock = weights_folder() / "downloads" / f".{name}.lock"
    with file_lock(lock, lambda: say(f"{name}: another process is fetching it, waiting")):
        if here.path.is_file() and not overwrite:  # the other process put it there
            return here
        return _get(entry, overwrite, keep, say)


def _get(entry: Entry, overwrite: bool, keep: bool, say: Say) -> Imported:
    problems: list[Exception] = []
    for file in entry.files:
        try:
            path = _fetched(file, say)
            done = import_weights(path, entry.name, overwrite, say)
        except (FetchError, MissingDependencyError) as error:
            if is_offline():
                raise
            problems.append(error)
            say(str(error))
            continue
        if not keep:
            path.unlink(missing_ok=True)
        return done
    listed = "".join(f"\n  {error}" for error in problems)
    raise FetchError(f"{entry.name}: could not be fetched:{listed}")


def _fetched(file: File, say: Say) -> Path:
    """The file, fetched now or earlier."""
    if file.format == "onnx":
        _need_onnx(file.name)
    path = weights_folder() / "downloads" / file.name
    expected = {d.kind: d.value for d in file.digests}
    if path.is_file() and digests_of(path, tuple(expected)) == expected:
        return path
    size = int(file.size.value) if file.size else None
    problem: FetchError | None = None
    for url in file.urls:
        try:
            say(f"fetching {url.value}{f', {size / MIB:.1f} MiB' if size else ''}")
            return fetch(str(url.value), path, size, expected, say=say)
        except FetchError as error:
            problem = error
    raise problem or FetchError(f"{file.name}: is not fetched by programs; {file.by_hand}")


def _need_onnx(name: str) -> None:
    if importlib.util.find_spec("onnx") is None:
        raise MissingDependencyError(f"{name}: reading it needs the package onnx. Remedy: pip install 'dense[deploy]'")
