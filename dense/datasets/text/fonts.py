"""Fonts where they are installed, and which characters each can draw."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dense.datasets.text.words import SCRIPTS
from dense.errors import DatasetError

SUFFIXES = (".ttf", ".otf", ".ttc")
SYSTEM = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts")
LEAST = 0.9  # share of a script's letters that a font must have


@dataclass(frozen=True)
class Fonts:
    """Font files, grouped by folder, and how likely each folder is: by the root of its number of files, so that a
    package of two hundred does not drown the others."""

    groups: tuple[tuple[Path, ...], ...]

    def __len__(self) -> int:
        return sum(map(len, self.groups))

    def draw(self, rng: np.random.Generator) -> Path:
        """One file."""
        weights = np.sqrt([len(g) for g in self.groups])
        group = self.groups[int(rng.choice(len(self.groups), p=weights / weights.sum()))]
        return group[int(rng.integers(len(group)))]


def find_fonts(folders: str | Path | Sequence[str | Path] | None = None) -> Fonts:
    """Fonts in the folders and below them, in the order of their names; None: those of the system.

    Raises DatasetError where there are none.
    """
    if folders is None:
        folders = [f for f in SYSTEM if Path(f).is_dir()]
    roots = [Path(f) for f in ([folders] if isinstance(folders, str | Path) else folders)]
    groups: dict[Path, list[Path]] = {}
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                groups.setdefault(path.parent, []).append(path)
    if not groups:
        raise DatasetError(f"no fonts (.ttf, .otf, .ttc) in {', '.join(map(str, roots)) or 'the usual places'}. "
                           "Remedy: tools/data/make_text_sources.py fetches some, or name a folder with fonts=...")
    return Fonts(tuple(tuple(paths) for _, paths in sorted(groups.items())))


@lru_cache(maxsize=4096)
def scripts_of(path: Path) -> dict[str, str]:
    """Script -> the letters of it that the font has, for those that it covers; empty for a font that cannot be read."""
    from fontTools.ttLib import TTFont, TTLibError

    logging.getLogger("fontTools").setLevel(logging.ERROR)
    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            known = set(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, ValueError, AssertionError):
        return {}
    found = {}
    for name, script in SCRIPTS.items():
        letters = [c for c in script.letters if ord(c) in known]
        if len(letters) >= LEAST * len(script.letters) or (script.large and len(letters) > 200):
            found[name] = "".join(letters)
    return found
