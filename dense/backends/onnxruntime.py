"""Sessions on ONNX Runtime."""
from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dense.backends.bundle import Bundle
from dense.backends.session import Session
from dense.errors import BundleError, ConfigError


class OnnxRuntimeSession(Session):
    """A bundle's ONNX on ONNX Runtime (CPU or CUDA)."""

    backend = "onnxruntime"

    def __init__(self, bundle: Bundle, device: str | None = None, threads: int | None = None):
        import onnxruntime as ort

        family, _, number = (device or "cpu").lower().partition(":")
        if number and not number.isdigit():
            raise ConfigError(f"device {device!r}: the part after ':' must be a number, for example cuda:0")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads:
            options.intra_op_num_threads = threads
        if family == "cuda":
            if "CUDAExecutionProvider" not in ort.get_available_providers():
                raise ConfigError(f"device {device!r}: this onnxruntime has no CUDA. Remedy: pip install "
                                  "onnxruntime-gpu in place of onnxruntime, or device 'cpu'")
            providers = [("CUDAExecutionProvider", {"device_id": int(number or 0)})]
        else:
            providers = ["CPUExecutionProvider"]
        try:
            self._session = ort.InferenceSession(str(bundle.model_path), options, providers=providers)
        except Exception as error:
            raise BundleError(f"{bundle.model_path}: ONNX Runtime {ort.__version__} cannot load it ({_line(error)}). "
                              "Remedy: export the bundle again, or another backend") from error
        if family == "cuda" and "CUDAExecutionProvider" not in self._session.get_providers():
            # it falls back to the CPU with a warning only
            raise ConfigError(f"device {device!r}: ONNX Runtime found no usable GPU. Remedy: check the driver "
                              "(nvidia-smi) and its CUDA libraries, or device 'cpu'")
        self.device = f"cuda:{number or 0}" if family == "cuda" else "cpu"
        self.version = ort.__version__
        self._outputs = [t.name for t in bundle.outputs]
        missing = {*(t.name for t in bundle.inputs), *self._outputs} - {
            v.name for v in (*self._session.get_inputs(), *self._session.get_outputs())}
        if missing:
            raise BundleError(f"{bundle.model_path}: has no {', '.join(sorted(missing))}, which bundle.json names. "
                              "Remedy: export the bundle again")

    def _run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = self._session.run(self._outputs, dict(inputs))
        return dict(zip(self._outputs, values, strict=True))


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def open_bundle(bundle: Bundle, device: str | None, threads: int | None) -> OnnxRuntimeSession:
    """See ``open_session``."""
    return OnnxRuntimeSession(bundle, device, threads)
