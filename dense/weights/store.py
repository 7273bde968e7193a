"""Where weights are found by name: the one place that resolves ``model@weights``.

In this order: those that come with the package; the cache (``$DENSE_CACHE/weights``), where ``dense weights get`` and
``import`` put them; and what was trained below the current folder, ``work_dirs/RUN/best.safetensors`` as ``model@RUN``.
"""
from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from dense.errors import WeightsError
from dense.io.cache import cache_folder
from dense.weights.catalogue import NAME, Entry, narrowest, read_catalogue
from dense.weights.shipped import list_shipped

WORK_DIRS = Path("work_dirs")
BEST = "best.safetensors"
RUN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
NO_LICENCES = {"code": "unknown", "weights": "unknown", "data": "unknown"}


@dataclass(frozen=True)
class Found:
    """Weights that are on this machine. place: 'shipped', 'cache' or 'trained'."""

    name: str
    path: Path
    place: str

    @property
    def words(self) -> str:
        """For people: where they are."""
        return {"shipped": "shipped weights", "cache": f"weights in the cache, {self.path}",
                "trained": f"weights trained here, {self.path}"}[self.place]


def weights_folder() -> Path:
    """Folder of fetched and imported weights."""
    return cache_folder() / "weights"


def file_name(name: str) -> str:
    """File of ``model@weights``: ``model--weights.safetensors``."""
    return f"{name.replace('@', '--')}.safetensors"


def cached_path(name: str) -> Path:
    """Where weights of this name are, or would be, in the cache."""
    return weights_folder() / file_name(name)


def receipt_path(path: Path) -> Path:
    """Beside weights in the cache: what they were made from, their sha256, and what they answered when checked."""
    return path.with_suffix(".json")


def read_receipt(path: Path) -> dict | None:
    """The receipt of weights in the cache; None if there is none that can be read."""
    try:
        values = json.loads(receipt_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def find(name: str) -> Found:
    """Weights of a name. WeightsError if there are none: near misses, and how to get them."""
    if path := list_shipped().get(name):
        return Found(name, path, "shipped")
    if NAME.fullmatch(name) and (path := cached_path(name)).is_file():
        return Found(name, path, "cache")
    model, _, run = name.partition("@")
    path = WORK_DIRS / run / BEST
    # a run never passes for the published weights whose name it has
    if name not in read_catalogue() and RUN.fullmatch(run) and path.is_file():
        if (owner := _model_of(path)) not in (None, model):
            raise WeightsError(f"{path}: weights of {owner}, not of {model}. Remedy: {owner}@{run}")
        return Found(name, path, "trained")
    raise WeightsError(_not_found(name))


def find_weights(name: str) -> Path:
    """The file of ``model@weights``. WeightsError if there is none: near misses, and how to get them."""
    return find(name).path


def locate(weights: str | Path) -> Path:
    """A file as it is; the file of a name with ``@`` that is no file. WeightsError for an unknown name."""
    path = Path(weights)
    return find_weights(str(weights)) if "@" in str(weights) and not path.exists() else path


def name_of(path: str | Path) -> str | None:
    """The name by which a file of weights is found from here; None if it has none."""
    path = Path(path).resolve()
    return next((found.name for found in list_found().values() if found.path.resolve() == path), None)


def list_found() -> dict[str, Found]:
    """Everything that can be used by name on this machine."""
    found = [Found(name, path, "shipped") for name, path in list_shipped().items()]
    found += [Found(p.stem.replace("--", "@", 1), p, "cache") for p in sorted(weights_folder().glob("*--*.safetensors"))
              if not p.name.startswith(".")]
    for path in sorted((*WORK_DIRS.glob(f"*/{BEST}"), *WORK_DIRS.glob(f"*/*/{BEST}"))):
        run = path.parent.relative_to(WORK_DIRS).as_posix()
        if RUN.fullmatch(run) and (model := _model_of(path)) and f"{model}@{run}" not in read_catalogue():
            found.append(Found(f"{model}@{run}", path, "trained"))
    names: dict[str, Found] = {}
    for item in found:
        names.setdefault(item.name, item)
    return names


def list_weights() -> list[dict]:
    """What the catalogue knows and what is on this machine: a row (plain values) each.

    name, state ('shipped', 'cache', 'trained' or 'absent'), path, bytes (on disk, else to fetch, None if unknown),
    licences (text of 'code', 'weights', 'data'), commercial ('yes', 'unclear', 'no'), summary, remedy (how to get it).
    """
    catalogue, found = read_catalogue(), list_found()
    return [_row(name, catalogue.get(name), found.get(name)) for name in dict.fromkeys((*catalogue, *found))]


def _row(name: str, entry: Entry | None, found: Found | None) -> dict:
    row = {"name": name, "state": found.place if found else "absent", "path": str(found.path) if found else None,
           "bytes": None, "licences": dict(NO_LICENCES), "commercial": "unclear", "summary": "", "remedy": ""}
    if entry and (not found or found.place != "trained"):
        row |= {"licences": {k: v.text for k, v in entry.licences.items()}, "commercial": entry.commercial,
                "summary": entry.summary}
    elif found and found.place != "shipped":
        meta = read_meta(found.path)
        row["licences"] |= {k: str(v) for k, v in (meta.get("licences") or {}).items()}
        row["commercial"] = narrowest([c] if (c := meta.get("commercial")) in ("yes", "no") else [])
        row["summary"] = _origin(meta)
    if found:
        row["bytes"] = found.path.stat().st_size
    elif entry:
        row["bytes"] = next((int(f.size.value) for f in entry.files if f.size), None)
        row["remedy"] = remedy(entry)
    return row


def _origin(meta: dict) -> str:
    source = meta.get("source") or {}
    if source.get("file"):
        return f"imported from {source['file']}"
    return f"trained for {meta['iterations']} iterations" if meta.get("iterations") else ""


def remedy(entry: Entry) -> str:
    """How to get weights of the catalogue."""
    if any(file.urls for file in entry.files):
        return f"dense weights get {entry.name}"
    file = entry.files[0]
    name = "" if file.digests else f" --name {entry.name}"
    return f"fetch {file.name} by hand ({file.by_hand}), then dense weights import {file.name}{name}"


def _not_found(name: str) -> str:
    catalogue, found = read_catalogue(), list_found()
    if entry := catalogue.get(name):
        return f"{name}: known, but not on this machine. Remedy: {remedy(entry)}"
    parts = [f"no weights are called {name!r}"]
    for place, words in (("shipped", "shipped"), ("cache", "in the cache"), ("trained", "trained here")):
        names = [item.name for item in found.values() if item.place == place]
        if names or place == "shipped":
            parts.append(f"{words}: {', '.join(names) or 'none'}")
    if absent := [n for n in catalogue if n not in found]:
        parts.append(f"to be had: {', '.join(absent)} (dense weights list)")
    near = difflib.get_close_matches(name, {*catalogue, *found}, n=2)
    if near:
        parts.append(f"did you mean {' or '.join(near)}?")
    return "; ".join(parts)


def read_meta(path: Path) -> dict:
    """What is stored beside the tensors of a .safetensors, from its header alone; {} if it cannot be read."""
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length < 100_000_000:
                return {}
            values = json.loads(json.loads(file.read(length)).get("__metadata__", {}).get("dense", "{}"))
    except (OSError, ValueError, AttributeError):
        return {}
    return values if isinstance(values, dict) else {}


def _model_of(path: Path) -> str | None:
    """Name of the model whose weights these are; None where the file does not say."""
    from dense.models.names import model_of_meta

    return model_of_meta(read_meta(path))
