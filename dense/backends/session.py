"""Sessions: one interface to everything that runs a network."""
from __future__ import annotations

import importlib
import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from dense.backends.bundle import Bundle, Tensor
from dense.errors import BundleError, ConfigError, InputError, MissingDependencyError

LOGGER = logging.getLogger("dense")


class Session(ABC):
    """A loaded network: arrays by name in, arrays by name out.

    backend: its name; device: 'cpu', 'cuda:0' ...; reason: why it was chosen; version: of the runtime.
    inputs: what it takes; shapes: smallest, usual and largest of the sizes that may vary, by name; a name that is
    not in it has no limits.
    """

    backend: ClassVar[str]
    device: str = "cpu"
    reason: str = ""
    version: str = ""
    inputs: tuple[Tensor, ...] = ()
    shapes: Mapping[str, tuple[int, int, int]] = MappingProxyType({})

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(t.name for t in self.inputs)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of a batch by name; dtypes and shapes as the bundle says. They belong to the caller.

        Raises InputError, before anything is run, for names, dtypes, shapes or sizes that it does not take.
        """
        check_inputs(inputs, self.inputs, self.shapes)
        return self._run(inputs)

    @abstractmethod
    def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """``run`` with inputs that were checked."""

    def __call__(self, batch: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        """For the only input: the only output, or several by name."""
        (name,) = self.input_names
        outputs = self.run({name: batch})
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def describe(self) -> str:
        """One line for people: backend, version, device."""
        return f"{self.backend} {self.version} on {self.device}"


def check_inputs(arrays: Mapping[str, np.ndarray], expected: tuple[Tensor, ...],
                 shapes: Mapping[str, tuple[int, int, int]]) -> None:
    """InputError if ``arrays`` are not what ``expected`` and ``shapes`` say (see ``Session``)."""
    names = [t.name for t in expected]
    if set(arrays) != set(names):
        given = ", ".join(map(str, arrays)) or "nothing"
        raise InputError(f"the network takes {', '.join(names)}, but was given {given}; inputs go by these names")
    seen: dict[str, int] = {}
    for tensor in expected:
        array = arrays[tensor.name]
        wanted = f"{tensor.dtype} ({', '.join(map(str, tensor.shape))})"
        if not isinstance(array, np.ndarray):
            raise InputError(f"{tensor.name}: a {type(array).__name__} is no array; give a NumPy array {wanted}")
        if array.dtype != tensor.dtype or array.ndim != len(tensor.shape):
            raise InputError(f"{tensor.name}: {array.dtype} {array.shape} does not fit; give {wanted}")
        for size, axis in zip(array.shape, tensor.shape, strict=True):
            fixed = axis if isinstance(axis, int) else None
            low, _, high = (fixed,) * 3 if fixed else shapes.get(axis, (1, 1, None))
            if size < low or (high is not None and size > high):
                what = f"{tensor.name}: shape {array.shape}" if fixed else f"{tensor.name}: {axis} {size}"
                allowed = str(low) if low == high else f"{low} or more" if high is None else f"{low} to {high}"
                raise InputError(f"{what} does not fit {wanted}; {axis if not fixed else 'that axis'} may be {allowed}")
            if not fixed and seen.setdefault(axis, size) != size:
                raise InputError(f"{tensor.name}: {axis} is {size}, but {seen[axis]} in another input; make them equal")


@dataclass(frozen=True)
class Backend:
    """What is known of a backend before it is loaded.

    module: ours, with a function ``open_bundle(bundle, device, threads) -> Session``; package: the one it needs;
    install: how to get that; devices: prefixes of device names that it can run on.
    """

    name: str
    module: str
    package: str
    install: str
    devices: tuple[str, ...]

    def installed(self) -> bool:
        """Whether its package can be found; nothing is imported."""
        try:
            return importlib.util.find_spec(self.package) is not None
        except (ImportError, ValueError):
            return False


# in the order in which 'auto' tries them; on CPU the order is that of measured speed
BACKENDS = {b.name: b for b in (
    Backend("openvino", "dense.backends.openvino", "openvino", "pip install 'dense[deploy]'", ("cpu", "gpu", "npu")),
    Backend("onnxruntime", "dense.backends.onnxruntime", "onnxruntime", "pip install 'dense[deploy]'",
            ("cpu", "cuda")),
)}


def find_backend(name: str) -> Backend:
    """The installed backend of a name. ConfigError if it is unknown, MissingDependencyError if not installed."""
    if name not in BACKENDS:
        hint = "; torch runs models by name, not bundles" if name == "torch" else ""
        raise ConfigError(f"no backend for bundles is called {name!r}; known: auto, {', '.join(BACKENDS)}{hint}")
    entry = BACKENDS[name]
    if not entry.installed():
        raise MissingDependencyError(f"the backend {name} needs the package {entry.package}, which is not "
                                     f"installed. Remedy: {entry.install}")
    return entry


def open_session(bundle: Bundle, backend: str = "auto", device: str | None = None,
                 threads: int | None = None) -> Session:
    """A session for a bundle.

    backend: 'auto' or a name of ``BACKENDS``. device: 'cpu', 'cuda', 'cuda:1' ...; None is the CPU: a GPU is asked
    for by name, and there is an error where it cannot be used. threads: on CPU; None leaves it to the backend.

    'auto' takes the first installed backend of the device, and the next one, with a warning, where that cannot be
    imported or refuses the graph; ``session.reason`` says so.

    Raises ConfigError for an unknown backend or a device that is not there, MissingDependencyError where the
    backend's package is not installed or broken, and BundleError where it refuses the graph.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads {threads}: must be at least 1")
    if backend != "auto":
        return _open(find_backend(backend), bundle, device, threads, "asked for")
    family = (device or "cpu").split(":")[0].lower()
    candidates = [b for b in BACKENDS.values() if family in b.devices]
    if not candidates:
        raise ConfigError(f"no backend runs on {device!r}; known devices: "
                          f"{', '.join(sorted({d for b in BACKENDS.values() for d in b.devices}))}")
    skipped, failures = [], []
    for entry in candidates:
        if not entry.installed():
            skipped.append(f"{entry.name} is not installed")
            continue
        reason = "; ".join([f"the fastest for {family} that can be used", *skipped])
        try:
            return _open(entry, bundle, device, threads, reason)
        except (BundleError, MissingDependencyError) as error:
            LOGGER.warning("%s", error)
            skipped.append(f"{entry.name} failed")
            failures.append(error)
    if failures:
        raise failures[0]
    raise MissingDependencyError(
        f"no backend for {family} is installed; any of {', '.join(b.name for b in candidates)} would do. "
        f"Remedy: {candidates[0].install}")


def _open(entry: Backend, bundle: Bundle, device: str | None, threads: int | None, reason: str) -> Session:
    family = (device or "cpu").split(":")[0].lower()
    if family not in entry.devices:
        raise ConfigError(f"{entry.name} does not run on {device!r}; it runs on {', '.join(entry.devices)}")
    try:
        session = importlib.import_module(entry.module).open_bundle(bundle, device, threads)
    except ImportError as error:
        raise MissingDependencyError(f"the backend {entry.name} is installed but cannot be imported ({error}). "
                                     f"Remedy: {entry.install} --force-reinstall") from error
    session.inputs, session.shapes, session.reason = bundle.inputs, bundle.shapes, reason
    LOGGER.info("%s: %s (%s)", bundle.name, session.describe(), reason)
    return session
