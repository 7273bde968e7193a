"""Files that are either complete or not there: written beside their place, then moved into it."""

import contextlib
import errno
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import DenseError, ImageError

PathLike = str | os.PathLike[str]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEARLY_NONE = 1 << 20


@contextlib.contextmanager
def atomic_path(path: PathLike, *, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; after the block it is flushed and moved to `path`.

    The temporary name is hidden and keeps the suffix, for writers that go by it. Missing folders are made.
    A link is followed, so that the file it points to is replaced. If the block raises, KeyboardInterrupt
    included, the temporary file is removed and a previous file stays as it was.

    Args:
        path: the file to write.
        size: bytes that will be written, if known; for the message when the disk is full.

    Raises:
        DenseError: the disk is full, the folder cannot be written, `path` is a folder or device, or the block
            wrote nothing. Other exceptions of the block pass through.
    """
    final = Path(os.path.realpath(path))
    mode = _prepare(final)
    temporary = final.with_name(f".{final.stem[:40]}.{secrets.token_hex(6)}.tmp{final.suffix}")
    body_done = False
    try:
        yield temporary
        body_done = True
        _finish(temporary, final, mode)
    except Exception as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        message = _explain(error, final, size, written, body_done)
        if message is None:
            raise
        raise DenseError(message) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_folder(path: PathLike) -> None:
    """Make the folder if it is missing, and try whether files can be written into it: before long work.

    Raises:
        DenseError: it is, or lies in, a file; it cannot be made; nothing can be written into it.
    """
    folder = Path(path)
    remedy = "choose another folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        there = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise DenseError(f"{folder}: {'is' if there == folder else f'lies in {there},'} a file instead of a "
                             f"folder; {remedy}") from error
        remedy = f"check the permissions of {there}, or {remedy}"
        raise DenseError(f"{folder}: the folder cannot be made ({error.strerror or error}); {remedy}") from error
    probe = folder / f".{secrets.token_hex(6)}.tmp"
    try:
        with open(probe, "xb") as file:
            file.write(b"0")
        probe.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
        if error.errno in _FULL:
            problem, remedy = "the disk is full", f"free some space, or {remedy}"
        elif error.errno == errno.EROFS:
            problem = "is on a read-only disk"
        elif isinstance(error, PermissionError):
            problem, remedy = "is read-only for you (permission denied)", f"change its permissions, or {remedy}"
        else:
            problem = f"cannot be written into ({error.strerror or error})"
        raise DenseError(f"{folder}: {problem}; {remedy}") from error


def write_bytes(path: PathLike, data: bytes | bytearray | memoryview) -> None:
    """Write `data` to `path` as `atomic_path` does. Raises `DenseError`."""
    with atomic_path(path, size=memoryview(data).nbytes) as temporary:
        try:
            with open(temporary, "wb") as file:
                file.write(data)
        except OSError as error:
            error.filename = error.filename or os.fspath(temporary)  # so that it is known whose it is
            raise


def write_text(path: PathLike, text: str) -> None:
    """Write `text` to `path` in UTF-8, line ends as given, as `atomic_path` does. Raises `DenseError`."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # names of files may not be text


def write_json(path: PathLike, value: Any) -> None:
    """Write `value` as indented JSON, as `atomic_path` does.

    NumPy numbers and arrays, paths, tuples and sets are converted. NaN and infinities become null: JSON has
    no such numbers. Raises `DenseError`, also for what JSON cannot hold.
    """
    try:
        text = json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        remedy = "pass numbers, text, lists and dictionaries only"
        raise DenseError(f"{os.fspath(path)}: cannot be written as JSON ({error}); {remedy}") from error
    write_text(path, text + "\n")


def write_image(path: PathLike, array: np.ndarray, *, quality: int = 95, lossless: bool = False) -> None:
    """Encode `array` in the format of the suffix and write it as `atomic_path` does.

    Args:
        path: ends in .png, .jpg, .jpeg or .webp.
        array: uint8 (H, W) or (H, W, 1) grey, (H, W, 3) RGB, or (H, W, 4) RGBA.
        quality: 1..100, for JPEG and WebP.
        lossless: for WebP, keep every value (`quality` is not used).

    Raises:
        ImageError: wrong suffix, shape or dtype, RGBA as JPEG, a side too long for the format.
        DenseError: as for `atomic_path`.
    """
    import cv2

    name, suffix = os.fspath(path), Path(path).suffix.lower()
    options = {
        ".png": [],
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101 if lossless else quality],  # above 100: OpenCV's lossless
    }
    if suffix not in options:
        raise ImageError(f"{name}: cannot write pictures as {suffix or 'a file without suffix'}; use .png")
    if not 1 <= quality <= 100:
        raise ImageError(f"{name}: quality {quality} is outside 1..100; give a value in that range")
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or channels not in (1, 3, 4) or array.size == 0:
        raise ImageError(
            f"{name}: an array of {array.dtype} {array.shape} is no picture; "
            "give uint8 (H, W), (H, W, 3) or (H, W, 4)"
        )
    if channels == 4 and suffix in (".jpg", ".jpeg"):
        raise ImageError(f"{name}: JPEG has no transparency; use .png or .webp, or drop the alpha channel")
    limit = {".webp": 16383, ".png": 1_000_000}.get(suffix, 65500)
    if max(array.shape[:2]) > limit:
        problem = f"{suffix} allows sides of at most {limit} pixels, not {array.shape}"
        raise ImageError(f"{name}: {problem}; {'' if suffix == '.png' else 'use .png or '}shrink the picture")
    if channels >= 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGBA2BGRA)
    try:
        done, encoded = cv2.imencode(suffix, np.ascontiguousarray(array), options[suffix])
    except cv2.error as error:
        raise ImageError(f"{name}: could not be encoded ({error.err}); try .png") from error
    if not done:
        raise ImageError(f"{name}: could not be encoded; try .png")
    write_bytes(path, encoded)


def _prepare(final: Path) -> int | None:
    """Make the folder, refuse what must not be replaced, and return the permissions of a previous file."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        status = final.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DenseError(f"{final}: {_reason(error, final)}") from error
    if stat.S_ISDIR(status.st_mode):
        raise DenseError(f"{final}: is a folder; give the name of a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise DenseError(f"{final}: is a device or pipe and cannot be replaced; give the name of a file")
    return stat.S_IMODE(status.st_mode)


def _finish(temporary: Path, final: Path, mode: int | None) -> None:
    if not temporary.exists():
        problem = f"nothing was written to {temporary.name}"
        raise DenseError(f"{final}: {problem}; write to the path that atomic_path yields")
    with open(temporary, "r+b") as file:
        os.fsync(file.fileno())
    if mode is not None:
        os.chmod(temporary, mode)
    os.replace(temporary, final)
    with contextlib.suppress(OSError):  # so that the new name survives a power cut, where supported
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _explain(error: Exception, final: Path, size: int | None, written: int, ours: bool) -> str | None:
    """The message for an error that the user can act on, or None."""
    if isinstance(error, DenseError):
        return None
    try:
        free: int | None = shutil.disk_usage(final.parent).free
    except OSError:
        free = None
    is_full = isinstance(error, OSError) and error.errno in _FULL
    # Libraries turn a full disk into errors of their own (torch.save: RuntimeError).
    if not is_full and not isinstance(error, OSError) and free is not None:
        is_full = free < _NEARLY_NONE and written > 0
    if is_full:
        needed = _mib(size) if size is not None else f"more than the {_mib(written)} written so far"
        # The partial file counts as free: it is removed.
        available = "an unknown amount" if free is None else _mib(free + written)
        previous = "the previous file is untouched" if final.exists() else "no file was left behind"
        return (
            f"{final}: the disk is full (or a quota or a limit of file sizes is reached): {needed} needed, {available} "
            f"free in {final.parent}; {previous}. Free some space or write to another disk"
        )
    # What a caller's own code could not do with other files is not ours to explain.
    name = getattr(error, "filename", None)
    ours = ours or (name is not None and os.path.dirname(os.fspath(name)) == os.fspath(final.parent))
    return f"{final}: {_reason(error, final)}" if ours and isinstance(error, OSError) else None


def _reason(error: OSError, final: Path) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long; choose a shorter one"
    if error.errno == errno.EROFS:
        return f"{final.parent} is on a read-only disk; write to another folder"
    if isinstance(error, PermissionError):
        remedy = f"change the permissions of {final.parent}, or close the program that has the file open"
        return f"may not be written (permission denied); {remedy}"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{final.parent} is, or lies in, a file instead of a folder; choose another place"
    return f"cannot be written ({error.strerror or error}); check the path and the disk"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size} bytes"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key if isinstance(key, str | int) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
