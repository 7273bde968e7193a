"""A lock between processes, for what only one of them may write at a time."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from dense.errors import DenseError


@contextlib.contextmanager
def file_lock(path: str | os.PathLike[str], waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock file `path` during the block; the system lets go of it when the process ends, however it ends.

    The file stays: removing it would let two processes hold two files of one name. waiting: is called once if another
    process holds it.

    Raises:
        DenseError: the lock file cannot be made.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise DenseError(f"{path}: cannot be written ({error.strerror or error}). Remedy: check the folder's "
                         "permissions, or name another with DENSE_CACHE") from error
    with file:
        if not _try_to_lock(file):
            waiting()
            _wait_and_lock(file)
        yield


if os.name == "nt":
    import msvcrt
    import time

    def _try_to_lock(file) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_and_lock(file) -> None:
        while not _try_to_lock(file):
            time.sleep(0.2)
else:
    import fcntl

    def _try_to_lock(file) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_and_lock(file) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
