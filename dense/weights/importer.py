"""Importing weights into the cache: recognised, converted into our .safetensors, checked, and recorded."""
from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dense import __version__
from dense.errors import ConfigError, WeightsError
from dense.io.atomic import atomic_path, write_json
from dense.io.lock import file_lock
from dense.tasks import task_from_dict
from dense.weights.catalogue import NAME, Entry, File, find_by_digest, read_catalogue
from dense.weights.check import Check, check_against_onnx, check_output, check_tensors, require
from dense.weights.fetch import digests_of
from dense.weights.nnunet import find_checkpoint, name_of_checkpoint
from dense.weights.shipped import list_shipped
from dense.weights.sources import Source, plain_keys, read_source, recognise_source
from dense.weights.store import NO_LICENCES, cached_path, read_receipt, receipt_path, remedy

if TYPE_CHECKING:
    from torch import Tensor, nn

Say = Callable[[str], None]


@dataclass(frozen=True)
class Imported:
    """Weights in the cache. notes: what a person should know of them (trust, checks)."""

    name: str
    path: Path
    notes: list[str] = field(default_factory=list)


def import_weights(path: str | Path, name: str | None = None, overwrite: bool = False,
                   say: Say = lambda text: None) -> Imported:
    """Put weights that were fetched elsewhere into the cache, to be used as ``name``.

    path: .pth/.pt, .safetensors or .onnx (float32 or float16, BatchNorm kept or folded), recognised by content; or the
        folder of a model that nnU-Net trained, with one fold.
    name: ``model@weights``; by default the catalogue's, if the file is one of its, else ``model@FILE``.
    overwrite: replace weights of that name in the cache. say: is told what is found, a line at a time.

    Raises WeightsError, ConfigError for an unsuitable name, MissingDependencyError for ONNX without its package;
    nothing has changed then.
    """
    path = Path(path)
    if path.is_dir():
        path = find_checkpoint(path)
        say(f"{path}: the checkpoint of the folder")
    digests = digests_of(path)
    known = find_by_digest(digests)
    if known and known[0].shipped:
        raise WeightsError(f"{path}: comes with the package as {known[0].name}. Remedy: use that name")
    if name is not None:
        known = _check_name(name, path, known)
    source = read_source(path)
    model, settings = recognise_source(source, name and name.partition("@")[0])
    if name is None:
        name = known[0].name if known else f"{model}@{_slug(path)}"
        known = _check_name(name, path, known)
    if name.partition("@")[0] != model:
        raise ConfigError(f"{name}: {path} holds weights of {model}. Remedy: --name {model}@{name.partition('@')[2]}")
    target = cached_path(name)
    with file_lock(target.with_name(f".{target.stem}.lock"), lambda: say(f"{name}: waiting for another process")):
        return _import(source, name, model, settings, known, digests, overwrite, say)


def _import(source: Source, name: str, model: str, settings: dict, known: tuple[Entry, File] | None,
            digests: Mapping[str, str], overwrite: bool, say: Say) -> Imported:
    """The rest, while no other process writes this name."""
    target = cached_path(name)
    receipt = read_receipt(target) or {}
    if target.is_file() and not overwrite:
        if (receipt.get("source") or {}).get("sha256") == digests["sha256"]:
            return Imported(name, target, [f"{name} was imported from this file already"])
        raise WeightsError(f"{name}: there are other weights of this name in the cache ({target}). Remedy: --overwrite "
                           "to replace them, or another --name")
    say(f"{source.path.name}: {source.kind} of {model}{_words(settings)}")
    notes = trust(source.path, known, digests)
    made, tensors = _load(source, model, settings)
    meta = _meta(made, model, settings, source, known, digests)
    with atomic_path(target) as temporary:
        check = _write_and_check(temporary, made, tensors, meta, source, model, say)
        stored = digests_of(temporary, ("sha256",))["sha256"]
        size = temporary.stat().st_size
    write_json(receipt_path(target), {
        "name": name, "sha256": stored, "bytes": size, "source": meta["source"], "licences": meta["licences"],
        "imported": meta["imported"], "check": check.lines, "golden": check.golden})
    return Imported(name, target, [*notes, *check.lines])


def _write_and_check(path: Path, made: nn.Module, tensors: dict[str, Tensor], meta: dict, source: Source, model: str,
                     say: Say) -> Check:
    """Write, read what was written as anyone will, and check that. WeightsError if something is wrong with it."""
    from dense.models.build import build_model
    from dense.weights.files import write_weights

    state = made.network.state_dict()
    # float16 values stay such where nothing is lost, so that a file of them does not double
    half = all(_is_half(v) for v in state.values() if v.is_floating_point() and v.ndim > 1)
    write_weights(path, state, meta, half)
    again = build_model(model, weights=path)
    say(f"checking: the golden {'volume' if len(again.task.size) == 3 else 'picture'}"
        f"{', against the original' if source.kind == 'onnx' else ''}")
    check = check_output(again)
    parts = [check_tensors(again, tensors)]
    if source.kind == "onnx":
        parts.append(check_against_onnx(again, source.path))
    for part in parts:
        check.lines += part.lines
        check.problems += part.problems
    require(check, source.path)
    return check


def _is_half(tensor: Tensor) -> bool:
    return bool((tensor.half().to(tensor.dtype) == tensor).all())


def _load(source: Source, model: str, settings: dict) -> tuple[nn.Module, dict[str, Tensor]]:
    """The model with the weights in it, and the file's tensors by its keys. WeightsError if they do not fit."""
    from dense.models.build import build_model, load_network_weights
    from dense.weights.files import Weights

    made = build_model(model, **settings)
    if source.state is None:
        if not hasattr(made.network, "read_onnx"):
            raise WeightsError(f"{source.path}: ONNX copies of {model} cannot be read back. Remedy: use the .pth")
        state = made.network.read_onnx(source.path)
    else:
        state = plain_keys(source.state, next(iter(made.network.state_dict())))
        if hasattr(made.network, "read_state"):  # other layouts of this network
            state = made.network.read_state(state)
    load_network_weights(made.network, Weights(state, path=source.path))
    if "task" in source.meta:
        try:
            made.task = task_from_dict(source.meta["task"])
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{source.path}: the task stored in it is not understood ({error}). Remedy: update "
                               "dense if a newer version wrote it") from None
    elif source.size and source.size != tuple(made.task.size):
        made.task = replace(made.task, size=source.size)
    return made, state


def _meta(made: nn.Module, model: str, settings: dict, source: Source, known: tuple[Entry, File] | None,
          digests: Mapping[str, str]) -> dict:
    """What is stored with the weights: as in our own trainings, and where they come from."""
    entry = known[0] if known else None
    kept = {k: source.meta[k] for k in ("metrics", "iterations", "licences") if k in source.meta}
    licences = {k: v.text for k, v in entry.licences.items()} if entry else kept.get("licences", dict(NO_LICENCES))
    return kept | {
        "class": type(made.network).__name__, "model": model, "network": settings, "task": made.task.to_dict(),
        "licences": licences, "commercial": entry.commercial if entry else "unclear",
        "source": {"file": source.path.name, "kind": source.kind, "sha256": digests["sha256"]},
        "imported": datetime.date.today().isoformat(), "dense": __version__}


def trust(path: Path, known: tuple[Entry, File] | None, digests: Mapping[str, str]) -> list[str]:
    """What can be said of the origin of a file."""
    sha256 = f"sha256 {digests['sha256']}"
    if known is None:
        return [f"{path.name} is not in the catalogue: origin and licences are unknown; its {sha256} is recorded"]
    entry, file = known
    if not file.digests:
        return [f"nobody published a digest of {file.name}: that it is the authors' is taken on trust; its {sha256} is "
                "recorded, compare it with one that you trust"]
    kinds = " and ".join(digest.kind for digest in file.digests)
    return [f"{path.name} has the published {kinds} of {file.name} ({entry.name})"]


def _check_name(name: str, path: Path, known: tuple[Entry, File] | None) -> tuple[Entry, File] | None:
    """The catalogue's entry and file that ``name`` means for this file; ConfigError if it may not be used."""
    from dense.models.names import list_models

    model = name.partition("@")[0]
    if not NAME.fullmatch(name) or "--" in name:
        raise ConfigError(f"{name!r} is no name for weights. Remedy: MODEL@WEIGHTS of letters, digits and ._- , for "
                          "example isnet@mine")
    if model not in list_models():
        raise ConfigError(f"{name}: no model is called {model!r}. Remedy: one of {', '.join(list_models())}")
    if name in list_shipped():
        raise ConfigError(f"{name}: comes with the package. Remedy: another --name")
    entry = read_catalogue().get(name)
    if entry is None or (known and known[0] is entry):
        return known
    open_file = next((file for file in entry.files if not file.digests), None)
    if open_file is None or known:
        what = f"is {known[0].name}" if known else "is none of its files (another digest)"
        raise ConfigError(f"{name}: stands for the weights of the catalogue, {path.name} {what}. Remedy: another "
                          f"--name, or {remedy(entry)}")
    return entry, open_file


def _slug(path: Path) -> str:
    stem = name_of_checkpoint(path) or (
        path.parent.name if path.stem in ("best", "last", "model") and path.parent.name else path.stem)
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9_.-]+", "-", stem)).strip("-.") or "imported"


def _words(settings: dict) -> str:
    return "".join(f", {k} {v:g}" if isinstance(v, float) else f", {k} {v}" for k, v in settings.items())
