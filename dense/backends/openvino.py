"""Sessions on OpenVINO."""
from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dense.backends.bundle import Bundle
from dense.backends.session import Session
from dense.errors import BundleError, ConfigError

if TYPE_CHECKING:
    import openvino


@lru_cache(maxsize=1)
def find_core() -> openvino.Core:
    """OpenVINO's entrance, one for the life of the process.

    Its CPU plug-in gives the thread that loads it a stack for signals and frees it when the core goes; the next signal,
    for instance of a child process that ended, was seen to end the process then. So it never goes.
    """
    import openvino

    return openvino.Core()


class OpenVINOSession(Session):
    """A bundle's ONNX on OpenVINO (CPU, Intel GPUs and NPUs), in the precision of the graph."""

    backend = "openvino"

    def __init__(self, bundle: Bundle, device: str | None = None, threads: int | None = None):
        import openvino as ov

        core = find_core()
        name = (device or "cpu").upper().replace(":", ".")
        if name.split(".")[0] not in {d.split(".")[0] for d in core.available_devices}:
            raise ConfigError(f"device {device!r}: OpenVINO finds {', '.join(core.available_devices)} only. "
                              "Remedy: install the device's driver, or device 'cpu'")
        config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if bundle.precision == "fp16" and name != "CPU":
            config["INFERENCE_PRECISION_HINT"] = "f16"
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = core.compile_model(core.read_model(bundle.model_path), name, config)
        except RuntimeError as error:
            line = next((x for x in reversed(str(error).splitlines()) if x.strip()), "no message")[:200]
            raise BundleError(f"{bundle.model_path}: OpenVINO {ov.__version__} cannot load it ({line.strip()}). "
                              "Remedy: export the bundle again, or another backend") from error
        self.device = name.lower()
        self.version = ov.__version__.split("-")[0]
        try:
            self._outputs = {t.name: self._compiled.output(t.name) for t in bundle.outputs}
            for tensor in bundle.inputs:
                self._compiled.input(tensor.name)
        except RuntimeError:
            raise BundleError(f"{bundle.model_path}: lacks an input or output that bundle.json names. "
                              "Remedy: export the bundle again") from None
        self._request = self._compiled.create_infer_request()

    def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        # copied once: the request's own outputs are overwritten by the next run
        results = self._request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {name: np.array(results[port]) for name, port in self._outputs.items()}


def open_bundle(bundle: Bundle, device: str | None, threads: int | None) -> OpenVINOSession:
    """See ``open_session``."""
    return OpenVINOSession(bundle, device, threads)
