"""Pickles of plain values, read without running what else a pickle may hold."""
from __future__ import annotations

import collections
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import InputError

MOST = 512 * 2**20
"""Bytes of a file that is read; plans and descriptions of trainings have some thousands."""

_RECONSTRUCT, _SCALAR = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
_FROM_BUFFER = np.zeros(1).__reduce_ex__(5)[0]
# numpy.core was renamed in NumPy 2, and files name the one that wrote them
_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", name): function for core in ("core", "_core")
       for name, function in (("_reconstruct", _RECONSTRUCT), ("scalar", _SCALAR))},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FROM_BUFFER for core in ("core", "_core")},
    **{(module, name): value for module in ("builtins", "__builtin__")
       for name, value in (("set", set), ("frozenset", frozenset), ("complex", complex), ("slice", slice),
                           ("range", range), ("bytearray", bytearray))},
    **{("numpy.dtypes", type(np.dtype(code)).__name__): type(np.dtype(code)) for code in np.typecodes["All"]},
}


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """The bytes of arrays in pickles of protocol 2, and no other codec: those are modules that would be imported."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"_codecs.encode to {encoding!r}")
    return text.encode("latin1")


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _encode
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a reference to something outside of the file")


def read_pickle(path: str | Path) -> Any:
    """What a .pkl holds: numbers, texts, built-in containers, OrderedDicts, NumPy arrays and numbers.

    Raises InputError for a file that is missing or damaged, and for one that holds anything else: its name is in the
    message, and nothing of it was run.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST:
            raise InputError(f"{path}: {path.stat().st_size >> 20} MiB are too many for a file of plain values")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}. Remedy: check the path") from None
    try:
        return _Plain(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        if "." not in str(error) or " " in str(error):
            raise InputError(f"{path}: damaged, or no pickle ({error}). Remedy: copy it again") from None
        raise InputError(f"{path}: refused, since it holds more than plain values and arrays ({error}); loading such a "
                         "file could run code hidden in it. Remedy: where you trust its origin, write it anew there "
                         "without that") from None
    except Exception as error:  # whatever damaged bytes lead to
        raise InputError(f"{path}: damaged, or no pickle ({type(error).__name__}: {str(error)[:120]}). "
                         "Remedy: copy it again") from None
