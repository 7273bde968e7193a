"""Losses and metrics as a JSON log and as curves."""
from __future__ import annotations

import json
from pathlib import Path

from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook

from dense.io import atomic_path, write_text
from dense.registry import HOOKS


@HOOKS.register_module()
class Curves(Hook):
    """Writes ``log.jsonl`` (one object a line) and ``curves.png`` into the work directory.

    interval: training losses (means over all processes) are logged every so many iterations. A resumed run goes
    on in the same files.
    """

    priority = "BELOW_NORMAL"

    def __init__(self, interval: int = 10):
        self.interval = interval

    def before_train(self, runner) -> None:
        self.file = Path(runner.work_dir) / "log.jsonl"
        if is_main_process():
            # entries after the checkpoint that is resumed from belong to the lost part of the run
            rows = [r for r in read_log(self.file) if r["iter"] <= runner.iter]
            if rows:
                write_text(self.file, "".join(json.dumps(r) + "\n" for r in rows))
            else:
                self.file.unlink(missing_ok=True)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if (runner.iter + 1) % self.interval:
            return
        losses = {k: v.detach().clone() for k, v in (outputs or {}).items()}
        for value in losses.values():
            all_reduce(value, "mean")  # each process sees its part of the batch
        if is_main_process():
            row = {"iter": runner.iter + 1, "lr": runner.optim_wrapper.get_lr()["lr"][0]}
            self._write(row | {k: float(v) for k, v in losses.items()})

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        if is_main_process() and metrics and hasattr(self, "file"):
            self._write({"iter": runner.iter} | {f"val/{k}": v for k, v in metrics.items()})
            draw_curves(self.file, Path(runner.work_dir) / "curves.png")

    def _write(self, row: dict) -> None:
        with open(self.file, "a") as file:
            file.write(json.dumps(row) + "\n")


def read_log(path: Path) -> list[dict]:
    """Rows of a ``log.jsonl``; a half-written last line (a killed run) is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return [r for r in rows if isinstance(r, dict) and "iter" in r]


def draw_curves(log: Path, picture: Path) -> None:
    """Losses (log scale) on the left, validation metrics on the right, against iterations."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_log(log)
    # of measures, without those of another scale, and those of single classes
    shown = sorted({k for r in rows for k in r if k.startswith("val/") and "." not in k
                    and not any(name in k for name in ("HCE", "HD95", "VD"))})
    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axis, keys, title in (
            (left, sorted({k for r in rows for k in r if "loss" in k or k.startswith("bce")}), "training loss"),
            (right, shown, "validation")):
        for key in keys:
            points = [(r["iter"], r[key]) for r in rows if key in r]
            axis.plot(*zip(*points, strict=True), label=key.removeprefix("val/"),
                      marker="o" if axis is right else None, markersize=3)
        axis.set(title=title, xlabel="iteration")
        axis.grid(alpha=0.3)
        if keys:
            axis.legend(fontsize=8)
    if any(line.get_ydata().min() > 0 for line in left.lines):
        left.set_yscale("log")
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110)
