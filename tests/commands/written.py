"""What a command has written."""
import csv
from pathlib import Path


def names(folder: Path) -> list[str]:
    """Files of a folder and those below it, sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def rows(path: Path) -> list[dict]:
    """Rows of a CSV by its columns."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
