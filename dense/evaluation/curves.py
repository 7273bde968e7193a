"""Curves of data sets, and methods against each other image by image, as PNG files."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from dense.evaluation.folder import Result
from dense.evaluation.measures import MEASURES, mean_curves, mean_e_curve
from dense.io import atomic_path

_PAIRS = 6  # panels on a sheet of scatter plots


def draw_curves(results: Sequence[Result], path: Path) -> bool:
    """Precision over recall, F and E over the threshold; a line for each method.

    Returns whether there was something to draw: the rows hold counts.
    """
    results = [result for result in results if result.rows and "counts" in result.rows[0]]
    if not results:
        return False
    figure, axes = _figure(3, 1)
    thresholds = np.arange(256)
    for result in results:
        precision, recall, f = mean_curves(result.rows)
        # nothing is selected at the highest thresholds: precision 0 there is no point of the curve
        shown = recall > 0
        axes[0].plot(recall[shown], precision[shown], label=result.method.name)
        axes[1].plot(thresholds, f, label=result.method.name)
        axes[2].plot(thresholds, mean_e_curve(result.rows), label=result.method.name)
    axes[0].set(title="precision and recall", xlabel="recall", ylabel="precision")
    axes[1].set(title="F-measure", xlabel="threshold", ylabel="F")
    axes[2].set(title="E-measure", xlabel="threshold", ylabel="E")
    for axis in axes:
        axis.set_ylim(0, 1.02)
        axis.grid(alpha=0.3)
    axes[0].set_xlim(0, 1.02)
    axes[0].legend(fontsize=8)
    _save(figure, path)
    return True


def draw_scatter(results: Sequence[Result], name: str, path: Path) -> bool:
    """A measure of the images that two methods share, one against the other, for (at most six) pairs of methods.

    Returns whether there was something to draw.
    """
    figures = [{row["name"]: row[name] for row in result.rows} for result in results]
    pairs = [(i, j) for i, j in combinations(range(len(results)), 2) if figures[i].keys() & figures[j].keys()]
    pairs = pairs[:_PAIRS]
    if not pairs:
        return False
    figure, axes = _figure(min(3, len(pairs)), (len(pairs) + 2) // 3)
    higher = MEASURES[name].higher
    for axis, (i, j) in zip(axes, pairs, strict=False):
        shared = [image for image in figures[i] if image in figures[j]]
        x, y = (np.array([figures[k][image] for image in shared], float) for k in (i, j))
        wins = int(np.count_nonzero(x > y if higher else x < y)), int(np.count_nonzero(y > x if higher else y < x))
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        margin = 0.04 * (high - low) or 0.5
        axis.plot([low - margin, high + margin], [low - margin, high + margin], color="0.6", linewidth=1)
        axis.scatter(x, y, s=14, alpha=0.7, edgecolors="none")
        labels = [results[k].method.name for k in (i, j)]
        axis.set(xlabel=f"{labels[0]}, better on {wins[0]}", ylabel=f"{labels[1]}, better on {wins[1]}",
                 title=f"{name} of {len(shared)} images ({'more' if higher else 'less'} is better)",
                 xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))
        axis.title.set_fontsize(10)
        axis.set_aspect("equal")
        axis.grid(alpha=0.3)
        for k in np.argsort(-np.abs(x - y), kind="stable")[:3]:  # where they differ most
            if x[k] != y[k]:
                right = x[k] > (low + high) / 2  # the name on the side where there is room
                axis.annotate(_plain(shared[k]), (x[k], y[k]), fontsize=7, xytext=(-5 if right else 5, 3),
                              textcoords="offset points", ha="right" if right else "left")
    for axis in axes[len(pairs):]:
        axis.set_axis_off()
    _save(figure, path)
    return True


def _figure(columns: int, rows: int):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * columns, 4.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _plain(text: str) -> str:
    """No mathematics in names."""
    text = text.replace("$", r"\$")
    return text if len(text) <= 28 else text[:27] + "…"


def _save(figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
