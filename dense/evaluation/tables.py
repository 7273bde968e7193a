"""Figures as text: Markdown and LaTeX that paste into a paper, CSV and JSON for programs."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dense.evaluation.folder import Evaluation, Result
from dense.evaluation.listing import KINDS, counted
from dense.evaluation.measures import HCE_PARTS, MEASURES, columns

_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip
_PARTS = {"HCE_fp_points": "FP points", "HCE_fp_independent": "FP regions",
          "HCE_fn_points": "FN points", "HCE_fn_independent": "FN regions"}  # fmt: skip


def digits(column: str) -> int:
    """Decimals of a column in tables: one for HCE's parts."""
    return MEASURES[column].digits if column in MEASURES else 1


def escape_latex(text: str) -> str:
    """Text as LaTeX sets it."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def comparable(results: Sequence[Result]) -> bool:
    """Whether all methods that have figures were evaluated on the same images."""
    return len({tuple(row["name"] for row in result.rows) for result in results if result.figures}) <= 1


def best(results: Sequence[Result], name: str) -> set[int]:
    """The numbers of the methods with the best figure as printed; none if there is nothing to compare with."""
    shown = {i: round(r.figures[name], digits(name)) for i, r in enumerate(results) if r.figures}
    if len(shown) < 2 or not comparable(results):
        return set()
    top = (max if MEASURES[name].higher else min)(shown.values())
    return {i for i, value in shown.items() if value == top}


def markdown(evaluation: Evaluation) -> str:
    """The table of all methods, that of HCE's parts, and what is left out."""
    names, results = evaluation.settings.names, evaluation.results
    header = ["", *(f"{name} {'↑' if MEASURES[name].higher else '↓'}" for name in names), "images"]
    text = _markdown_table(header, [
        [_pipes(result.method.name), *cells, str(len(result.rows))]
        for result, cells in zip(results, _cells(results, names, "**{}**"), strict=True)])
    if "HCE" in names:
        rows = [[_pipes(r.method.name), *_parts(r)] for r in results]
        text += "\n" + _markdown_table(["HCE in parts", *_PARTS.values()], rows)
    return text + "\n" + foot(evaluation)


def latex(evaluation: Evaluation) -> str:
    """The same tables as plain ``tabular``; no package is needed. Images are counted where their sets differ."""
    names, results = evaluation.settings.names, evaluation.results
    arrows = {True: r"$\uparrow$", False: r"$\downarrow$"}
    header = ["Method", *(f"{escape_latex(name)} {arrows[MEASURES[name].higher]}" for name in names)]
    counted_too = not comparable(results)
    header += ["images"] * counted_too
    text = _latex_table(header, [
        [escape_latex(result.method.name), *cells, *[str(len(result.rows))] * counted_too]
        for result, cells in zip(results, _cells(results, names, r"\textbf{{{}}}"), strict=True)])
    if "HCE" in names:
        rows = [[escape_latex(r.method.name), *_parts(r)] for r in results]
        text += "\n" + _latex_table(["HCE in parts", *_PARTS.values()], rows)
    notes = [line for line in foot(evaluation).splitlines() if line]
    return text + "".join(f"% {line}\n" for line in notes)


def foot(evaluation: Evaluation, examples: int | None = None) -> str:
    """What is left out and what is special, as lines; ``examples``: files named for each kind, None for all."""
    lines = []
    for result in evaluation.results:
        method = result.method
        counts = Counter(problem.kind for problem in method.problems)
        said = [counted(counts[kind], kind) for kind in KINDS if counts[kind]]
        if said:
            truths = len(result.rows) + sum(counts[kind] for kind in KINDS if kind != "extra")
            lines += [f"{method.name}: {len(result.rows)} of {truths} images evaluated; {', '.join(said)}", ""]
            for kind in KINDS:
                found = [problem for problem in method.problems if problem.kind == kind]
                lines += [f"- {problem.detail}" for problem in found[:examples]]
                if examples is not None and len(found) > examples:
                    lines.append(f"- ... and {counted(len(found) - examples, kind, 'more ')}")
            lines.append("")
        for note, number in Counter(row["note"] for row in result.rows if row["note"]).items():
            lines += [f"{method.name}: {number} image{'s' * (number > 1)}: {note}", ""]
    if not comparable(evaluation.results):
        lines += ["The methods were not evaluated on the same images: their figures do not compare.", ""]
    return "\n".join(lines)


def per_image_csv(result: Result, names: Sequence[str]) -> str:
    """A line an image: name, height, width, the figures, a note."""
    out = io.StringIO()
    fields = ["name", "height", "width", *columns(names), "note"]
    writer = csv.DictWriter(out, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.rows)
    return out.getvalue()


def per_image_json(result: Result, names: Sequence[str]) -> list[dict[str, Any]]:
    """The same as objects."""
    fields = ["name", "height", "width", *columns(names), "note"]
    return [{field: row[field] for field in fields} for row in result.rows]


def summary_json(evaluation: Evaluation) -> dict[str, Any]:
    """All but the figures of single images."""
    settings = evaluation.settings
    return {
        "ground truths": str(evaluation.truths),
        "settings": {"metrics": list(settings.names), "normalize": settings.stretched, "resize": settings.resize},
        "methods": [
            {"name": result.method.name, "folder": str(result.method.folder), "images": len(result.rows),
             "figures": result.figures, "problems": [problem._asdict() for problem in result.method.problems]}
            for result in evaluation.results],
    }  # fmt: skip


def _cells(results: Sequence[Result], names: Sequence[str], bold: str) -> list[list[str]]:
    table = [["-"] * len(names) for _ in results]
    for column, name in enumerate(names):
        winners = best(results, name)
        for i, result in enumerate(results):
            if result.figures:
                text = f"{result.figures[name]:.{digits(name)}f}"
                table[i][column] = bold.format(text) if i in winners else text
    return table


def _parts(result: Result) -> list[str]:
    return [f"{result.figures[part]:.1f}" if result.figures else "-" for part in HCE_PARTS]


def _pipes(text: str) -> str:
    return text.replace("|", "\\|")


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return f"| {' | '.join([first, *rest])} |"

    rule = f"|{'-' * (widths[0] + 2)}|" + "".join(f"{'-' * (width + 1)}:|" for width in widths[1:])
    return "\n".join([line(header), rule, *map(line, rows)]) + "\n"


def _latex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\hline", " & ".join(header) + r" \\", r"\hline",
             *(" & ".join(row) + r" \\" for row in rows), r"\hline", r"\end{tabular}"]
    return "\n".join(lines) + "\n"
