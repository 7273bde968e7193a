"""Sessions: one interface to everything that runs a network."""
from __future__ import annotations

import importlib
import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dense.backends.bundle import Bundle
from dense.errors import ConfigError, MissingDependencyError

LOGGER = logging.getLogger("dense")


class Session(ABC):
    """A loaded network: arrays by name in, arrays by name out.

    backend: its name; device: 'cpu', 'cuda:0' ...; reason: why 'auto' chose it.
    """

    backend: ClassVar[str]
    device: str = "cpu"
    reason: str = ""

    @abstractmethod
    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs of a batch; dtypes and shapes as the bundle says."""

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """The only output for the only input."""
        (name,) = self.input_names
        return next(iter(self.run({name: batch}).values()))

    input_names: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line for people: backend, version, device."""
        return f"{self.backend} on {self.device}"


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


def open_session(bundle: Bundle, backend: str = "auto", device: str | None = None,
                 threads: int | None = None) -> Session:
    """A session for a bundle.

    backend: 'auto' or a name of ``BACKENDS``. device: 'cpu', 'cuda', 'cuda:1' ...; None takes the best there is.
    threads: on CPU; None leaves it to the backend.

    Raises ConfigError for an unknown backend or a device that is not there, MissingDependencyError where the
    backend's package is not installed, and BundleError where it refuses the graph.
    """
    if threads is not None and threads < 1:
        raise ConfigError(f"threads {threads}: must be at least 1")
    if backend != "auto":
        entry = BACKENDS.get(backend)
        if entry is None:
            raise ConfigError(f"no backend is called {backend!r}; known: auto, {', '.join(BACKENDS)}")
        if not entry.installed():
            raise MissingDependencyError(f"the backend {backend} needs the package {entry.package}, which is not "
                                         f"installed. Remedy: {entry.install}")
        return _open(entry, bundle, device, threads, "asked for")
    family = (device or "cpu").split(":")[0].lower()
    candidates = [b for b in BACKENDS.values() if family in b.devices]
    usable = [b for b in candidates if b.installed()]
    if not usable:
        if not candidates:
            raise ConfigError(f"no backend runs on {device!r}; known devices: "
                              f"{', '.join(sorted({d for b in BACKENDS.values() for d in b.devices}))}")
        raise MissingDependencyError(
            f"no backend for {family} is installed; any of {', '.join(b.name for b in candidates)} would do. "
            f"Remedy: {candidates[0].install}")
    skipped = [b.name for b in candidates[:candidates.index(usable[0])]]
    reason = f"the fastest installed for {family}" + (f"; not installed: {', '.join(skipped)}" if skipped else "")
    return _open(usable[0], bundle, device, threads, reason)


def _open(entry: Backend, bundle: Bundle, device: str | None, threads: int | None, reason: str) -> Session:
    family = (device or entry.devices[0]).split(":")[0].lower()
    if family not in entry.devices:
        raise ConfigError(f"{entry.name} does not run on {device!r}; it runs on {', '.join(entry.devices)}")
    session = importlib.import_module(entry.module).open_bundle(bundle, device, threads)
    session.reason = reason
    LOGGER.info("%s: %s (%s)", bundle.name, session.describe(), reason)
    return session
