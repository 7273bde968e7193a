"""A verification as JSON and as one HTML file with its pictures inside."""
from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dense.deployment.checks import check_of
from dense.deployment.verify import Comparison, Report
from dense.io import write_json, write_text

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f;background:#fff}
table{border-collapse:collapse;margin:.6rem 0 1.4rem}th,td{padding:.25rem .8rem;border-bottom:1px solid #ddd}
th{text-align:left;font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}
.yes{color:#0a7a3c}.no{color:#c0261c}img{max-width:100%;display:block}figure{margin:1rem 0}figcaption{color:#555}
code{background:#f2f2f4;padding:0 .25rem}
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#18181b}th,td{border-color:#3a3a40}
figcaption{color:#aaa}code{background:#2a2a2e}.yes{color:#4ccb83}.no{color:#ff7b6e}}
"""


def write_report(report: Report, folder: str | Path) -> tuple[Path, Path]:
    """Write ``verify.json`` and ``verify.html`` into a folder. Raises DenseError where it cannot be written."""
    paths = Path(folder) / "verify.json", Path(folder) / "verify.html"
    write_json(paths[0], report.to_dict())
    write_text(paths[1], to_html(report))
    return paths


def to_html(report: Report) -> str:
    """The report as a page of its own: nothing is fetched."""
    bundle = report.bundle
    facts = [("task", bundle.task.kind), ("precision", bundle.precision), ("opset", bundle.opset),
             *((t.name, f"{t.dtype} ({', '.join(map(str, t.shape))})") for t in (*bundle.inputs, *bundle.outputs)),
             *((k, f"{low} to {high}, usually {usual}") for k, (low, usual, high) in bundle.shapes.items()),
             *(("made with", f"{k} {v}") for k, v in bundle.versions.items()),
             *((f"licence of {k}", v) for k, v in bundle.licences.items()),
             ("sha256 of the graph", bundle.files[bundle.model])]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{_text(bundle.name)}: verification</title><style>{STYLE}</style>",
        f"<h1>{_text(bundle.name)}: {_verdict(report.passed)}</h1>",
        f"<p>Tolerance: {bundle.tolerance['max']:g} at most, {bundle.tolerance['mean']:g} on average, "
        f"{bundle.tolerance['metric']:g} in a metric.</p>",
        "<h2>Golden input</h2>", _table(("backend", "largest difference", "mean difference", "seconds", ""),
                                        (_cells(c) for c in report.golden))]
    parts += [f"<p>{_text(c.backend)}: {_text(c.error or c.first)}</p>" for c in report.golden if c.error or c.first]
    check = check_of(bundle.task)
    if report.data:
        parts += [f"<h2>{report.pictures} {check.things} of <code>{_text(report.data_root)}</code></h2>",
                  f"<p>{check.answer.capitalize()} compared with those of {_text(report.reference)}.</p>",
                  _table(("backend", "largest difference", "mean difference", "seconds", ""),
                         (_cells(c) for c in report.data)),
                  _table(("", *check.metrics), ([name, *(f"{figures[m]:.5f}" for m in check.metrics)]
                                                for name, figures in report.figures.items())),
                  "<h2>Largest differences</h2>",
                  f"<p>{check.panels}, stretched so that the largest is white.</p>"]
        parts += [f"<figure><img alt='' src='data:image/png;base64,{_png(p.panel)}'><figcaption>{_text(p.name)}, "
                  f"{_text(p.backend)}: largest {p.max:.2e}, mean {p.mean:.2e}</figcaption></figure>"
                  for p in report.worst if p.panel is not None]
    if report.unread:
        parts += [f"<h2>{len(report.unread)} {check.things} that could not be compared</h2>",
                  _table(("", ""), ([name, _Raw(html.escape(reason))] for name, reason in report.unread))]
    parts += [f"<p>{_text(note)}</p>" for note in report.notes]
    parts += ["<h2>Bundle</h2>", _table(("", ""), ([k, str(v)] for k, v in facts))]
    return "\n".join(parts) + "</html>\n"


def to_lines(report: Report) -> list[str]:
    """The report for the terminal."""
    lines = [f"golden  {_line(c)}" for c in report.golden]
    check = check_of(report.bundle.task)
    things = check.things if check else "pictures"
    if report.data:
        lines += [f"data    {_line(c)}; " + ", ".join(f"{m} {d:+.1e}" for m, d in c.deltas.items())
                  for c in report.data]
        figures = next(iter(report.figures.values()))
        lines.append(f"        {report.pictures} {things} of {report.data_root}, against {report.reference}: "
                     + ", ".join(f"{m} {v:.4f}" for m, v in figures.items()))
    if report.unread:
        lines.append(f"unread  {len(report.unread)} {things} could not be compared:")
        lines += [f"        {name}: {reason.removeprefix(f'{name}: ')}" for name, reason in report.unread]
    lines += [f"note    {note}" for note in report.notes]
    lines += [f"        {c.first}" for c in report.golden if c.first]
    return lines


def _line(comparison: Comparison) -> str:
    state = "equal " if comparison.passed else "FAILED"
    if comparison.error:
        return f"{state} {comparison.backend}: {comparison.error}"
    return f"{state} {comparison.backend}: largest {comparison.max:.1e}, mean {comparison.mean:.1e}"


def _cells(comparison: Comparison) -> list[str]:
    figures = ["", "", ""] if comparison.error else [
        f"{comparison.max:.2e}", f"{comparison.mean:.2e}", f"{comparison.seconds:.2f}"]
    return [comparison.backend, *figures, _Raw(_verdict(comparison.passed))]


class _Raw(str):
    """HTML as it is."""


def _verdict(passed: bool) -> str:
    return "<span class=yes>equal</span>" if passed else "<span class=no>differs</span>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(h)}" for h in header) if any(header) else ""
    body = "".join("<tr>" + "".join(f"<td{'' if i == 0 or isinstance(c, _Raw) else ' class=n'}>{_text(c)}"
                                    for i, c in enumerate(row)) for row in rows)
    return f"<table><tr>{head}{body}</table>"


def _text(value: object) -> str:
    return value if isinstance(value, _Raw) else html.escape(str(value))


def _png(picture: np.ndarray) -> str:
    import cv2

    return base64.b64encode(cv2.imencode(".png", picture[..., ::-1])[1]).decode()
