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
from dense.deployment.checks import TaskCheck, absolute_difference, check_of
from dense.errors import DatasetError, DenseError, MissingDependencyError
from dense.io.pairs import Pair
from dense.tasks.base import each_output

LOGGER = logging.getLogger("dense")
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
    """A picture of the data on which a backend differs from the reference: largest and mean difference.

    panel: uint8 RGB row that shows it.
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
    metrics by backend, the reference first; worst: pictures with the largest differences; unread: pictures of the data
    that could not be compared, with the reason.
    """

    bundle: Bundle
    golden: tuple[Comparison, ...]
    data: tuple[Comparison, ...] = ()
    data_root: str = ""
    pictures: int = 0
    reference: str = ""
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    worst: tuple[Picture, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
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
                     "unread": [{"name": name, "reason": reason} for name, reason in self.unread],
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
    check = check_of(bundle.task)
    root = data if data is not None or check is None else check.default_root()
    if not use_data or not sessions or check is None or root is None:
        return report
    pairs, place = check.find(root)
    return compare_data(report, check, sessions, graph, spread(pairs, limit), place, say)


def compare_golden(bundle: Bundle, backend: str, graph=None) -> tuple[Comparison, Session | None]:
    """A backend's output for the golden input against the golden output; with the session, None if it has none.

    graph: the folded PyTorch graph, or None; it names the first diverging layer of a failure.
    """
    fed, expected = bundle.golden()
    inputs = {bundle.inputs[0].name: fed}
    try:
        session = open_session(bundle, backend)
        begun = time.perf_counter()
        found = bundle.golden_part(session.run(inputs)[bundle.outputs[0].name])
        seconds = time.perf_counter() - begun
    except DenseError as error:
        return Comparison(backend, False, error=str(error)), None
    except Exception as error:  # whatever a runtime raises is a finding
        line = next((x for x in str(error).splitlines() if x.strip()), type(error).__name__)[:300]
        return Comparison(backend, False, error=f"{type(error).__name__}: {line}"), None
    if found.shape != expected.shape:
        return Comparison(session.describe(), False, error=f"output {found.shape} instead of {expected.shape}"), None
    largest, mean = absolute_difference(found, expected)
    passed = largest <= bundle.tolerance["max"] and mean <= bundle.tolerance["mean"]
    first = "" if passed else _first_layer(bundle, backend, inputs, graph)
    return Comparison(session.describe(), passed, largest, mean, {}, seconds, first=first), session


def _first_layer(bundle: Bundle, backend: str, inputs: Mapping[str, np.ndarray], graph) -> str:
    from dense.deployment.bisect import first_divergence

    try:
        found = first_divergence(bundle, backend, inputs, graph)
    except DenseError as error:
        return f"the first diverging layer was not looked for: {error}"
    return str(found) if found else ("every tensor that can be seen agrees: the cause is in fused operators, or in a "
                                     "reference that is not the exported model")


def compare_data(report: Report, check: TaskCheck, sessions: Mapping[str, Session], graph, pairs: Sequence[Pair],
                 root: str, say: Say = lambda text: None) -> Report:
    """The report with every session compared on pictures, with PyTorch, or with the first session without it.

    Raises DatasetError where no picture could be read.
    """
    bundle, runs = report.bundle, dict(sessions)
    if graph is not None:
        from dense.backends.torch import TorchSession

        runs = {"torch": TorchSession(graph, "cpu")} | runs
    reference = next(iter(runs))
    rows: dict[str, list[dict]] = {name: [] for name in runs}
    seconds, found, worst, unread = dict.fromkeys(runs, 0.0), [], [], []
    for number, pair in enumerate(pairs, start=1):
        if number % 10 == 0 or number == len(pairs):
            say(f"{check.things} {number}/{len(pairs)}")
        try:
            image, truth = check.read(pair)
        except (DenseError, MemoryError) as error:
            unread.append((pair.name, str(error) or type(error).__name__))
            continue
        answers = {}
        for name, session in runs.items():
            begun = time.perf_counter()
            answers[name] = check.run(image, _forward(bundle, session))
            seconds[name] += time.perf_counter() - begun
            rows[name].append(check.measure(answers[name], truth))
            if name != reference:
                found.append(Picture(pair.name, name, *check.difference(answers[name], answers[reference])))
                if len(worst) < WORST or found[-1].max > worst[-1].max:
                    drawn = replace(found[-1], panel=check.panel(image, truth, answers[reference], answers[name]))
                    worst = sorted([*worst, drawn], key=lambda p: p.max, reverse=True)[:WORST]
    if len(unread) == len(pairs):
        raise DatasetError(f"{root}: none of {len(pairs)} {check.things} could be read, first {unread[0][1]}")
    figures = {name: check.summary(rows[name]) for name in runs}
    data = []
    for name, session in runs.items():
        own = [p for p in found if p.backend == name]
        if name == reference:
            continue
        largest, mean = max(p.max for p in own), float(np.mean([p.mean for p in own]))
        deltas = {m: figures[name][m] - figures[reference][m] for m in check.metrics}
        passed = (largest <= bundle.tolerance["max"] and max(p.mean for p in own) <= bundle.tolerance["mean"]
                  and max(map(abs, deltas.values())) <= bundle.tolerance["metric"])
        data.append(Comparison(session.describe(), passed, largest, mean, deltas, seconds[name]))
    return replace(report, data=tuple(data), data_root=root, pictures=len(pairs) - len(unread), figures=figures,
                   worst=tuple(worst), unread=tuple(unread), reference=runs[reference].describe())


def spread(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    """``limit`` of the pairs, from all over."""
    if limit is None or len(pairs) <= limit:
        return list(pairs)
    return [pairs[round(i * (len(pairs) - 1) / max(1, limit - 1))] for i in range(limit)]


def _forward(bundle: Bundle, session: Session) -> Callable[[np.ndarray], list]:
    """The session as a function of batches, filled up where the bundle's batch is fixed."""
    least = bundle.limits(bundle.inputs[0])[0][0]

    def forward(batch: np.ndarray) -> list:
        filled = np.concatenate([batch, np.repeat(batch[-1:], least - len(batch), axis=0)]) if len(batch) < least \
            else batch
        return each_output(session(filled))[:len(batch)]

    return forward


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
