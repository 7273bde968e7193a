"""What libraries raise while a run is built and while it goes on, in the user's terms."""
from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dense.engine.hooks.checkpoint import saved_checkpoints
from dense.errors import ConfigError, DenseError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def config_errors(origin: str | Path) -> Iterator[None]:
    """Raise what a class says about its arguments as ConfigError with the class and ``origin``, the config."""
    try:
        yield
    except DenseError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, ImportError, AssertionError) as error:
        reason = str(error) or type(error).__name__
        owner = _built_class(error)
        if owner and owner not in reason:
            reason = f"{owner}: {reason}"
        raise ConfigError(f"{origin}: cannot be built: {reason}. Remedy: correct that setting; "
                          "DENSE_TRACEBACK=1 shows where it was raised") from error


def _built_class(error: BaseException) -> str | None:
    """Name of the class that mmengine's registry was building when ``error`` was raised."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "obj_cls" in frame.f_locals]
    return getattr(frames[-1].f_locals["obj_cls"], "__name__", None) if frames else None


@contextmanager
def run_errors(work_dir: Path) -> Iterator[None]:
    """Raise what ends a run through no fault of ours as a DenseError of one message.

    An error of a data worker loses the worker's traceback; a full disk and a killed worker get a remedy.
    """
    try:
        yield
    except DenseError as error:
        raise type(error)(worker_message(error)) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DenseError(f"{error.filename or work_dir}: {error.strerror}. {intact(work_dir)}") from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise DenseError(f"a process that loads data died ({reason}). Remedy: it was probably killed for want of "
                         f"memory: fewer --workers, or 0. {intact(work_dir)}") from error
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError("a batch of one picture leaves a single value per channel at the coarsest level, which "
                          "batch normalisation cannot use. Remedy: a larger --size or --batch-size") from error


def worker_message(error: DenseError) -> str:
    """The message without the traceback that torch puts around an error of a data worker."""
    text = str(error)
    if "Original Traceback" not in text:
        return text
    starts = list(re.finditer(rf"^[\w.]*{type(error).__name__}: ", text, re.MULTILINE))
    return text[starts[-1].end():].strip() if starts else text


def intact(work_dir: Path) -> str:
    """What a run that ends now leaves behind, and how to go on."""
    saved = saved_checkpoints(work_dir)
    if not saved:
        return "There is no checkpoint yet; begin again once that is mended"
    return f"{saved[-1]} is intact: once that is mended, the same command with --resume goes on from there"
