"""A session as a function of batches: split to what fits into memory, and said aloud."""
from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile

import numpy as np

from dense.backends import Bundle, Session
from dense.errors import ConfigError, DenseError
from dense.tasks.base import Output, each_output

LOGGER = logging.getLogger("dense")
_SIGNS = ("out of memory", "failed to allocate memory", "bad_alloc", "not enough memory", "cannot allocate memory",
          "can't allocate memory")


class Network:
    """``network(tensors)``: outputs of single tensors (C, h, w) or (C, d, h, w), ``batch`` of one size at a time.

    Where the device's memory is not enough, the batch is halved, for good, with a warning. With a bundle, batches are
    kept within its limits and other sizes than its own are refused (ConfigError).
    """

    def __init__(self, session: Session, batch: int = 1, bundle: Bundle | None = None):
        if batch < 1:
            raise ConfigError(f"batch {batch}: must be at least 1")
        self.session, self.batch, self.least = session, batch, 1
        self.dtype, self.limits = np.dtype(np.float32), None
        if bundle is not None:
            tensor = bundle.inputs[0]
            self.dtype, self.limits = np.dtype(tensor.dtype), bundle.limits(tensor)
            self.least, most = self.limits[0]
            if batch > most:
                LOGGER.warning("%s takes batches of at most %d: batch %d instead of %d", bundle.name, most, most, batch)
            self.batch = max(self.least, min(batch, most))

    def check_size(self, size: tuple[int, ...]) -> None:
        """ConfigError if the bundle does not take windows of (height, width) or (depth, height, width)."""
        if self.limits is None:
            return
        limits = self.limits[-len(size):]
        if not all(low <= s <= high for s, (low, high) in zip(size, limits, strict=True)):
            spans = " x ".join(str(low) if low == high else f"{low}..{high}" for low, high in limits)
            axes = "height x width" if len(size) == 2 else "depth x height x width"
            raise ConfigError(f"the bundle takes {spans} ({axes}), not {' x '.join(map(str, size))}; use a mode of one "
                              "size (global, tiles), or export with dynamic sizes")

    def __call__(self, tensors: Iterable[np.ndarray]) -> list[Output]:
        """Outputs of each, in order, floats as float32. Raises DenseError if a single one does not fit into memory."""
        tensors, waiting, outputs = iter(tensors), [], []
        while True:
            waiting.extend(islice(tensors, max(0, self.batch - len(waiting))))
            if not waiting:
                return outputs
            part = list(takewhile(lambda t: t.shape == waiting[0].shape, waiting[:self.batch]))
            try:
                outputs.extend(self._run(part))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(len(part), part[0].shape, error)
            else:
                del waiting[:len(part)]

    def _run(self, part: Sequence[np.ndarray]) -> list[Output]:
        batch = np.stack(part).astype(self.dtype, copy=False)
        if len(part) < self.least:  # a graph of fixed batch
            batch = np.concatenate([batch, np.repeat(batch[-1:], self.least - len(part), axis=0)])
        outputs = each_output(self.session(batch))[:len(part)]
        return [{k: _float32(v) for k, v in o.items()} if isinstance(o, dict) else _float32(o) for o in outputs]

    def _shrink(self, tried: int, shape: tuple[int, ...], error: Exception) -> None:
        size = " x ".join(map(str, shape[1:]))
        if tried <= self.least:
            remedy = "mode 'global', a smaller picture, or device 'cpu'" if len(shape) == 3 else \
                "device 'cpu', or a narrower network"
            raise DenseError(f"{self.session.describe()}: out of memory with a single window of {size}; use {remedy}"
                             ) from error
        self.batch = max(self.least, tried // 2)
        LOGGER.warning("%s: out of memory with a batch of %d at %s; going on with %d", self.session.describe(), tried,
                       size, self.batch)
        torch = sys.modules.get("torch")
        if torch is not None and self.session.device.startswith("cuda"):
            error.__traceback__ = None  # its frames hold the tensors that did not fit
            torch.cuda.empty_cache()


def _float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a backend's error says that memory is used up."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SIGNS)
