"""Check a segmentation data set: python tools/data/check.py ROOT [--splits DIS-TR DIS-VD] [--json FILE]

Exit code: 0 without errors (warnings allowed), 1 with errors in the data, 2 if the check could not be made.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dense.datasets.check import Report

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # works without installing the package

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0].partition(":")[0])
    parser.add_argument("root", help="folder with the splits, or with im/gt, images/masks or the like")
    parser.add_argument("--splits", nargs="+", metavar="SPLIT", help="splits to check (all that are found)")
    parser.add_argument("--classes", metavar="FILE", help="class file of labels (classes.txt or .json in the folder)")
    parser.add_argument("--json", metavar="FILE", help="also write every finding to this file")
    parser.add_argument("--jobs", type=int, default=cores, metavar="N", help="processes (%(default)s)")
    parser.add_argument("--full", action="store_true", help="list every finding, not five of each kind")
    arguments = parser.parse_args(argv)
    if arguments.jobs < 1:
        parser.error("--jobs must be at least 1")
    return arguments


def _show(report: "Report", console: Any, examples: int | None) -> None:
    from rich.markup import escape
    from rich.table import Table

    from dense.datasets.check import KINDS

    pairs = ", ".join(f"{escape(split)} {count}" for split, count in report.pairs.items())
    console.print(f"Pairs: {pairs}", highlight=False)
    if report.findings:
        table = Table(title="Findings", title_justify="left", show_lines=True)
        table.add_column("Kind")
        table.add_column("Number", justify="right")
        table.add_column("Examples", overflow="fold")
        table.add_column("Remedy")
        for kind, items in report.by_kind().items():
            level, remedy = KINDS[kind]
            lines = [f"{', '.join(item.files)}: {item.detail}" for item in items[:examples]]
            if len(items) > len(lines):
                lines.append(f"... and {len(items) - len(lines)} more (--full lists them)")
            name = f"[{_STYLES[level]}]{escape(kind)}[/]\n({level})"
            table.add_row(name, str(len(items)), escape("\n".join(lines)), escape(remedy))
        console.print(table)
    counts = ", ".join(f"{report.count(level)} {level}s" for level in _STYLES)
    console.print(f"{'No errors' if report.ok else 'The data set has errors'}: {counts}.", highlight=False)


def main(argv: list[str] | None = None) -> int:
    """Run the check; returns the exit code."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from dense.datasets.check import check_dataset
    from dense.errors import DenseError
    from dense.io import write_json

    arguments = _arguments(argv)
    console, errors = Console(), Console(stderr=True)
    columns = (TextColumn("Checking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=errors, transient=True) as progress:
            bar = progress.add_task("", total=None)
            report = check_dataset(
                arguments.root,
                arguments.splits,
                jobs=arguments.jobs,
                classes=arguments.classes,
                progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
        _show(report, console, None if arguments.full else 5)
        if arguments.json:
            write_json(arguments.json, report.to_dict())
    except DenseError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        errors.print("Interrupted; nothing was changed.")
        return 130
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
