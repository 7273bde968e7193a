"""Verifying weights that are on this machine: their hash, and their output for the golden picture."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dense.errors import DenseError
from dense.weights.catalogue import read_catalogue
from dense.weights.fetch import digests_of
from dense.weights.store import Found, find, list_found, read_receipt


@dataclass
class Verified:
    """What was found about some weights: lines for people, and problems (none if all is well)."""

    name: str
    path: Path
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def verify_weights(names: Iterable[str] = (), say: Callable[[str], None] = lambda text: None) -> Iterator[Verified]:
    """Verify weights by name, all that are shipped and in the cache by default, one after the other.

    The file's sha256 is compared with that of its import (of the catalogue, for shipped ones); the network is run on
    the golden picture and its output compared with what it was then. Trained ones have no record: theirs is only
    looked at.

    Raises WeightsError for names that there are not.
    """
    found = [find(name) for name in names] or [f for f in list_found().values() if f.place != "trained"]
    for item in found:
        say(f"verifying {item.name}")
        yield _verify(item)


def _verify(item: Found) -> Verified:
    result = Verified(item.name, item.path)
    record = _record(item)
    if record is None and item.place != "trained":
        result.problems.append("there is no record of its import, so that nothing can be compared. Remedy: dense "
                               "weights import FILE --overwrite")
    elif record is None:
        result.lines.append("trained here: there is no record to compare with")
    else:
        sha256 = digests_of(item.path, ("sha256",))["sha256"]
        if sha256 != record["sha256"]:
            result.problems.append(f"its sha256 is {sha256} instead of {record['sha256']}: the file was changed or is "
                                   f"damaged. Remedy: {_again(item)}")
            return result
        result.lines.append(f"sha256 as recorded ({sha256[:12]}...)")
    try:
        from dense.models.build import build_model
        from dense.weights.check import check_output

        check = check_output(build_model(item.name), (record or {}).get("golden") or None)
    except DenseError as error:
        result.problems.append(str(error))
        return result
    result.lines += check.lines
    result.problems += check.problems
    return result


def _record(item: Found) -> dict | None:
    """sha256 and golden values: of the catalogue for shipped weights, of the receipt for those in the cache."""
    if item.place == "shipped":
        entry = read_catalogue().get(item.name)
        values = {d.kind: d.value for d in entry.files[0].digests} if entry else {}
        return values | {"golden": entry.golden} if "sha256" in values else None
    receipt = read_receipt(item.path) if item.place == "cache" else None
    return receipt if receipt and isinstance(receipt.get("sha256"), str) else None


def _again(item: Found) -> str:
    entry = read_catalogue().get(item.name)
    if item.place == "shipped":
        return "install dense again"
    if entry and any(file.urls for file in entry.files):
        return f"dense weights get {item.name} --overwrite"
    return "dense weights import FILE --overwrite"
