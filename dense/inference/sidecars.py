"""JSON beside results: NAME.json with what was found in a picture and where it comes from."""
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dense.errors import DenseError
from dense.inference.results import Result
from dense.inference.sinks import Writer, files_of
from dense.io import write_json
from dense.io.volume_files import bare_name, volume_suffix


@dataclass(frozen=True)
class WithSidecar:
    """A writer that also writes NAME.json beside each result; the other one writes the result itself.

    facts: what is the same for all results, to be filled before the first one is written. The JSON is written first: a
    result that is there has its JSON.
    """

    writer: Writer
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def marker(self) -> str:
        """See ``Writer``."""
        return self.writer.marker

    def check(self, target: Path) -> None:
        """See ``Writer``."""
        self.writer.check(target)

    def files(self, target: Path) -> tuple[Path, ...]:
        """See ``dense.inference.sinks.files_of``."""
        return (*files_of(self.writer, target)[:-1], sidecar_of(target), target)

    def write(self, result: Result, path: Path) -> Path:
        """Write both. DenseError where a JSON that is none of ours is in the place."""
        sidecar = sidecar_of(path)
        if sidecar.exists() and not is_ours(sidecar):
            raise DenseError(f"{sidecar}: is there and was not written by dense. Remedy: move it, or choose another "
                             "output folder")
        write_json(sidecar, {**self.facts, **result.to_dict(), "result": path.name})
        return self.writer.write(result, path)

    def encode(self, result: Result, suffix: str) -> bytes:
        """See ``Writer``."""
        return self.writer.encode(result, suffix)


def sidecar_of(target: Path) -> Path:
    """The JSON beside a result. Results of one run differ in more than their suffix, hence these differ too."""
    return target.with_name(f"{bare_name(target) if volume_suffix(target) else target.stem}.json")


def is_ours(sidecar: Path) -> bool:
    """Whether a file is a JSON that ``WithSidecar`` wrote."""
    try:
        values = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, Mapping) and {"dense", "result", "source"} <= values.keys()
