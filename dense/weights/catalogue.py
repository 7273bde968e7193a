"""The catalogue: which weights there are, where they come from, and what may be done with them."""
from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dense.errors import WeightsError

CATALOGUE = Path(__file__).with_name("catalogue.toml")
PARTS = ("code", "weights", "data")
COMMERCIAL = ("yes", "unclear", "no")  # from the widest to the narrowest
DIGITS = {"sha256": 64, "sha1": 40, "md5": 32}
NAME = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Sourced:
    """A value, and where it comes from."""

    value: str | int
    source: str


@dataclass(frozen=True)
class Digest(Sourced):
    """A digest in lower-case hexadecimal; kind: 'sha256', 'sha1' or 'md5'."""

    kind: str


@dataclass(frozen=True)
class Licence:
    """text: of the licence, or that there is none; commercial: 'yes', 'no' or 'unclear'."""

    text: str
    commercial: str
    source: str


@dataclass(frozen=True)
class File:
    """One form of some weights. urls: to fetch it from, by_hand: where a person gets it (at least one of the two is
    there, unless the weights are shipped); size in bytes and digests: None and () where nobody published them."""

    name: str
    urls: tuple[Sourced, ...] = ()
    by_hand: str = ""
    size: Sourced | None = None
    digests: tuple[Digest, ...] = ()

    @property
    def format(self) -> str:
        """'pth', 'onnx', 'safetensors', or 'model', a checkpoint of nnU-Net 1."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Entry:
    """Weights by name. licences: of 'code', 'weights' and 'data'. golden: what the network answers to the golden
    picture (``dense.weights.check``), with its source, or None."""

    name: str
    summary: str
    homepage: str
    licences: Mapping[str, Licence]
    files: tuple[File, ...]
    shipped: bool = False
    note: str = ""
    golden: Mapping | None = None

    @property
    def commercial(self) -> str:
        """'yes' if code, weights and training data all allow it, 'no' if one forbids it, else 'unclear'."""
        return narrowest(licence.commercial for licence in self.licences.values())

    @property
    def model(self) -> str:
        """Name of the model: what is before the @."""
        return self.name.partition("@")[0]


def narrowest(values) -> str:
    """The narrowest of some of 'yes', 'unclear' and 'no'; 'unclear' of none."""
    return max(values, key=COMMERCIAL.index, default="unclear")


def read_catalogue(path: str | Path | None = None) -> dict[str, Entry]:
    """Name -> entry, in the catalogue's order. WeightsError if the catalogue is damaged or incomplete."""
    return _read(Path(path) if path else CATALOGUE)


@functools.cache
def _read(path: Path) -> dict[str, Entry]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        if values.get("format") != 1:
            raise ValueError(f"format {values.get('format')!r}, this version of dense reads 1")
        entries = [_entry(item) for item in values["weights"]]
    except (OSError, KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise WeightsError(f"{path}: not a catalogue of weights ({what}). Remedy: install dense again") from None
    names = [entry.name for entry in entries]
    if twice := {name for name in names if names.count(name) > 1}:
        raise WeightsError(f"{path}: {', '.join(sorted(twice))} stands there twice. Remedy: install dense again")
    return dict(zip(names, entries, strict=True))


def _entry(item: dict) -> Entry:
    name = item["name"]
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no MODEL@WEIGHTS")
    licences = {part: Licence(**item["licences"][part]) for part in PARTS}
    for part, licence in licences.items():
        if licence.commercial not in COMMERCIAL or not licence.text or not licence.source:
            raise ValueError(f"{name}: licence of {part}: text, source and commercial = {' | '.join(COMMERCIAL)}")
    entry = Entry(licences=licences, files=tuple(_file(f, name) for f in item["files"]),
                  **{k: v for k, v in item.items() if k not in ("licences", "files")})
    if not entry.files or (not entry.shipped and any(not f.urls and not f.by_hand for f in entry.files)):
        raise ValueError(f"{name}: does not say where its files are to be had")
    return entry


def _file(item: dict, owner: str) -> File:
    size = Sourced(**item["size"]) if "size" in item else None
    file = File(item["name"], tuple(Sourced(**u) for u in item.get("urls", ())), item.get("by_hand", ""), size,
                tuple(Digest(**d) for d in item.get("digests", ())))
    if any(not s.source for s in (*file.urls, *file.digests, *((size,) if size else ()))):
        raise ValueError(f"{owner}: {file.name}: a number without its source")
    for digest in file.digests:
        if not re.fullmatch(f"[0-9a-f]{{{DIGITS.get(digest.kind, 0)}}}", digest.value):
            raise ValueError(f"{owner}: {file.name}: {digest.value!r} is no {digest.kind}")
    if file.urls and not file.digests:
        raise ValueError(f"{owner}: {file.name}: is fetched without a digest to check")
    return file


def find_by_digest(digests: Mapping[str, str]) -> tuple[Entry, File] | None:
    """The entry and its file with one of the digests (kind -> value), or None."""
    for entry in read_catalogue().values():
        for file in entry.files:
            if file.digests and all(digests.get(d.kind) == d.value for d in file.digests):
                return entry, file
    return None
