"""``verify``: does a bundle give what the model gave, on every backend? In tensors, and in the task's own metric."""
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from dense import __version__
from dense.backends import BACKENDS, Bundle, Session, open_session, read_bundle
from dense.backends.session import find_backend
from dense.errors import DatasetError, DenseError, MissingDependencyError
from dense.io import find_pairs, find_splits, read_image, read_mask, split_folders
from dense.tasks.pictures import fit

LOGGER = logging.getLogger("dense")
METRICS = ("maxF", "MAE", "IoU")
VALIDATION = "DIS-VD"
WORST = 6

Say = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """One backend against a reference; differences are absolute.

    backend: its description; max, mean: of the tensors or alphas; deltas: of the metrics; seconds: that it ran.
    error: why there are no figures, '' if there are; first: the first diverging layer, in words.
    """

    backend: str
    passed: bool
    max: float = 0.0
    mean: float = 0.0
    deltas: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    first: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture of the data on which a backend differs from the reference: largest and mean difference of alpha.

    panel: uint8 RGB row of picture, truth, the reference's alpha, the backend's, and their difference, stretched.
    """

    name: str
    backend: str
    max: float
    mean: float
    panel: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Report:
    """What a verification found; see ``to_dict`` for the JSON.

    golden, data: a comparison for each backend; reference: what the data were compared with; figures: the task's
    metrics by backend, the reference first; worst: pictures with the largest differences.
    """

    bundle: Bundle
    golden: tuple[Comparison, ...]
    data: tuple[Comparison, ...] = ()
    data_root: str = ""
    pictures: int = 0
    reference: str = ""
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    worst: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every backend is within the tolerance everywhere."""
        return all(c.passed for c in (*self.golden, *self.data))

    def to_dict(self) -> dict:
        """Plain values (JSON)."""
        return {
            "bundle": self.bundle.name, "model sha256": self.bundle.files[self.bundle.model], "passed": self.passed,
            "tolerance": self.bundle.tolerance, "golden": [asdict(c) for c in self.golden],
            "data": {"root": self.data_root, "pictures": self.pictures, "reference": self.reference,
                     "figures": self.figures, "backends": [asdict(c) for c in self.data],
                     "worst": [{"name": p.name, "backend": p.backend, "max": p.max, "mean": p.mean}
                               for p in self.worst]},
            "notes": list(self.notes), "versions": {"dense": __version__, **{
                f"export: {k}": v for k, v in self.bundle.versions.items()}}}


def verify(folder: str | Path, backends: Sequence[str] = (), data: str | Path | None = None, limit: int | None = 12,
           weights: str | Path | None = None, use_data: bool = True, say: Say = lambda text: None) -> Report:
    """Check a bundle's files, then its output on every backend.

    backends: names, or none for all that are installed. data: a folder in the layout of DIS5K, or of pictures and
    masks; None takes the bundled set where it is there. limit: pictures of it at most. weights: those of the export,
    where they are not where they were. use_data: False for the golden input alone. say: is told what goes on.

    Raises BundleError for a damaged bundle, MissingDependencyError where a backend that was asked for, or every one,
    is not installed, DatasetError for data that are not there.
    """
    bundle = read_bundle(folder)
    say(f"{bundle.folder}: {len(bundle.files)} files are as they were exported")
    notes: list[str] = []
    graph = _graph(bundle, weights, notes)
    sessions, golden = {}, []
    for name in _names(backends):
        say(f"golden input on {name}")
        comparison, session = compare_golden(bundle, name, graph)
        golden.append(comparison)
        if session is not None:
            sessions[name] = session
    report = Report(bundle, tuple(golden), notes=tuple(notes))
    pairs, root = _data(bundle, data, limit) if use_data else ([], "")
    if not pairs or not sessions:
        return report
    return compare_data(report, sessions, graph, pairs, root, say)


def compare_golden(bundle: Bundle, backend: str, graph=None) -> tuple[Comparison, Session | None]:
    """A backend's output for the golden input against the golden output; with the session, None if it has none.

    graph: the folded PyTorch graph, or None; it names the first diverging layer of a failure.
    """
    fed, expected = bundle.golden()
    inputs = {bundle.inputs[0].name: fed}
    try:
        session = open_session(bundle, backend)
        begun = time.perf_counter()
        found = session.run(inputs)[bundle.outputs[0].name]
        seconds = time.perf_counter() - begun
    except DenseError as error:
        return Comparison(backend, False, error=str(error)), None
    except Exception as error:  # whatever a runtime raises is a finding
        line = next((x for x in str(error).splitlines() if x.strip()), type(error).__name__)[:300]
        return Comparison(backend, False, error=f"{type(error).__name__}: {line}"), None
    if found.shape != expected.shape:
        return Comparison(session.describe(), False, error=f"output {found.shape} instead of {expected.shape}"), None
    largest, mean = difference(found, expected)
    passed = largest <= bundle.tolerance["max"] and mean <= bundle.tolerance["mean"]
    first = "" if passed else _first_layer(bundle, backend, inputs, graph)
    return Comparison(session.describe(), passed, largest, mean, {}, seconds, first=first), session


def difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Largest and mean absolute difference; infinite where a value is not finite."""
    delta = np.abs(found.astype(np.float64) - expected)
    return (float(delta.max()), float(delta.mean())) if np.isfinite(delta).all() else (float("inf"),) * 2


def _first_layer(bundle: Bundle, backend: str, inputs: Mapping[str, np.ndarray], graph) -> str:
    from dense.deployment.bisect import first_divergence

    try:
        found = first_divergence(bundle, backend, inputs, graph)
    except DenseError as error:
        return f"the first diverging layer was not looked for: {error}"
    return str(found) if found else ("every tensor that can be seen agrees: the cause is in fused operators, or in a "
                                     "reference that is not the exported model")


def compare_data(report: Report, sessions: Mapping[str, Session], graph, pairs: Sequence, root: str,
                 say: Say = lambda text: None) -> Report:
    """The report with every session compared on pictures, with PyTorch, or with the first session without it."""
    bundle, runs = report.bundle, dict(sessions)
    if graph is not None:
        from dense.backends.torch import TorchSession

        runs = {"torch": TorchSession(graph, "cpu")} | runs
    reference = next(iter(runs))
    rows: dict[str, list[dict]] = {name: [] for name in runs}
    seconds, found, worst = dict.fromkeys(runs, 0.0), [], []
    for number, pair in enumerate(pairs, start=1):
        image, mask, alphas = read_image(pair.image), read_mask(pair.mask), {}
        for name, session in runs.items():
            begun = time.perf_counter()
            alphas[name] = bundle.task.run(image, _forward(bundle, session))
            seconds[name] += time.perf_counter() - begun
            rows[name].append(_metrics(alphas[name], mask))
            if name != reference:
                found.append(Picture(pair.name, name, *difference(alphas[name], alphas[reference])))
                if len(worst) < WORST or found[-1].max > worst[-1].max:
                    drawn = replace(found[-1], panel=comparison_panel(image, mask, alphas[reference], alphas[name]))
                    worst = sorted([*worst, drawn], key=lambda p: p.max, reverse=True)[:WORST]
        if number % 10 == 0 or number == len(pairs):
            say(f"pictures {number}/{len(pairs)}")
    figures = {name: _summary(rows[name]) for name in runs}
    data = []
    for name, session in runs.items():
        own = [p for p in found if p.backend == name]
        if name == reference:
            continue
        largest, mean = max(p.max for p in own), float(np.mean([p.mean for p in own]))
        deltas = {m: figures[name][m] - figures[reference][m] for m in METRICS}
        passed = (largest <= bundle.tolerance["max"] and max(p.mean for p in own) <= bundle.tolerance["mean"]
                  and max(map(abs, deltas.values())) <= bundle.tolerance["metric"])
        data.append(Comparison(session.describe(), passed, largest, mean, deltas, seconds[name]))
    return replace(report, data=tuple(data), data_root=root, pictures=len(pairs), figures=figures, worst=tuple(worst),
                   reference=runs[reference].describe())


def comparison_panel(image: np.ndarray, mask: np.ndarray, expected: np.ndarray, found: np.ndarray,
                     size: int = 200) -> np.ndarray:
    """uint8 RGB row: picture, truth, two alphas (float 0..1), and their difference stretched to its largest value."""
    delta = np.nan_to_num(np.abs(found - expected), nan=1.0)
    panels = (image, mask, expected, np.nan_to_num(found), delta / max(float(delta.max()), 1e-12))
    return np.hstack([fit(p, size, size) for p in panels])


def _forward(bundle: Bundle, session: Session) -> Callable[[np.ndarray], np.ndarray]:
    """The session as a function of batches, filled up where the bundle's batch is fixed."""
    least = bundle.limits(bundle.inputs[0])[0][0]

    def forward(batch: np.ndarray) -> np.ndarray:
        filled = np.concatenate([batch, np.repeat(batch[-1:], least - len(batch), axis=0)]) if len(batch) < least \
            else batch
        return session(filled)[:len(batch)]

    return forward


def _metrics(alpha: np.ndarray, mask: np.ndarray) -> dict:
    from dense.evaluation import iou, mae, precision_recall

    alpha = np.nan_to_num(alpha, nan=0.0, posinf=1.0, neginf=0.0)  # the difference says that it was not finite
    levels = np.rint(alpha * 255).astype(np.uint8)
    return {"counts": precision_recall(levels, mask), "MAE": mae(alpha, mask), "IoU": iou(levels, mask)}


def _summary(rows: Sequence[dict]) -> dict[str, float]:
    from dense.evaluation import max_f

    return {"maxF": max_f([r["counts"] for r in rows]), **{m: float(np.mean([r[m] for r in rows]))
                                                           for m in ("MAE", "IoU")}}


def _names(backends: Sequence[str]) -> list[str]:
    """Backends to run; with none asked for, all that are installed."""
    if backends and "all" not in backends:
        return [find_backend(name).name for name in dict.fromkeys(backends)]
    installed = [b.name for b in BACKENDS.values() if b.installed()]
    if not installed:
        raise MissingDependencyError(f"no backend is installed, any of {', '.join(BACKENDS)} would do. "
                                     f"Remedy: {next(iter(BACKENDS.values())).install}")
    return installed


def _graph(bundle: Bundle, weights: str | Path | None, notes: list[str]):
    """The folded PyTorch graph of the bundle, or None with a note why. Weights that were named must do."""
    try:
        from dense.deployment.source import rebuild

        model = rebuild(bundle, None if weights is None else str(weights))
        graph = model.graph()
        from dense.models.fold import fold_batchnorm

        return fold_batchnorm(graph, *graph.example({"batch": 1, "height": 64, "width": 64}))
    except (DenseError, ImportError) as error:
        if weights is not None:
            raise
        notes.append(f"PyTorch's model was not built, pictures are compared with the first backend: {error}")
        LOGGER.info(notes[-1])
        return None


def _data(bundle: Bundle, root: str | Path | None, limit: int | None) -> tuple[list, str]:
    """Pairs of picture and mask, and where they come from; none where there is no bundled data."""
    if bundle.task.kind != "cutout":
        return [], ""
    if root is None:
        places = (Path(__file__).resolve().parents[2] / "data" / "cutouts", Path("data/cutouts"))
        root = next((p for p in places if p.is_dir()), None)
        if root is None:
            return [], ""
    splits = find_splits(root)
    split = VALIDATION if VALIDATION in splits else splits[0] if splits else None
    pairs = find_pairs(*split_folders(root, split)).pairs
    if not pairs:
        raise DatasetError(f"{root}: no picture has a mask of the same name. Remedy: tools/data/check.py says more")
    if limit is not None and len(pairs) > limit:
        pairs = [pairs[round(i * (len(pairs) - 1) / max(1, limit - 1))] for i in range(limit)]  # from all over
    return pairs, str(Path(root) / split) if split else str(root)
