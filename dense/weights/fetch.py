"""Fetching a file over HTTPS: it goes on where it was interrupted, is checked, and is whole or not there."""
from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import ipaddress
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dense import __version__
from dense.errors import DenseError, WeightsError
from dense.io.atomic import check_folder
from dense.progress import Meter

CHUNK = 1 << 18
TRIES = 4  # in a row without a byte
TIMEOUT = 30.0
LATER = {408, 425, 429, 500, 502, 503, 504}
MIB = 2**20

Say = Callable[[str], None]


class FetchError(WeightsError):
    """A file that could not be fetched, from this address."""


@dataclass
class Version:
    """What the server says of the file that a partial one is the beginning of."""

    url: str
    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """For If-Range: only a strong etag or a date promises the same bytes."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def is_offline() -> bool:
    """Whether DENSE_OFFLINE asks to fetch nothing."""
    return os.environ.get("DENSE_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def check_url(url: str) -> None:
    """FetchError unless it is https, or http to this machine itself."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname):
        return
    raise FetchError(f"{url}: only https is fetched (http on the way could be changed by anyone). Remedy: fetch it by "
                     "hand, then dense weights import FILE")


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def fetch(url: str, target: str | Path, size: int | None = None, digests: Mapping[str, str] | None = None,
          timeout: float = TIMEOUT, say: Say = lambda text: None, pause: float = 1.0) -> Path:
    """Fetch ``url`` as ``target``.

    What is there of an interrupted fetch (``target`` with ``.part`` behind) is gone on with, if the server can and the
    file is still the same. size: bytes it must have; digests: kind ('sha256', 'md5') -> hexadecimal value it must have.
    timeout: seconds without a byte; pause: seconds before the second try, doubled each time.

    Raises FetchError that says what is wrong and what was kept; DenseError where the disk is full.
    """
    target = Path(target)
    part = target.with_name(target.name + ".part")
    check_url(url)
    if is_offline():
        raise FetchError(f"{url}: not fetched, DENSE_OFFLINE is set. Remedy: unset it, or copy the file here from "
                         "elsewhere and use dense weights import FILE")
    check_folder(part.parent)
    fetching = _Fetching(url, part, size, bool(digests), timeout, say)
    resumed = fetching.run(pause)
    problem = _wrong(part, size, digests)
    if problem and resumed:
        say(f"{target.name}: {problem}; the part fetched earlier may be of another file, fetching all of it again")
        fetching.forget()
        fetching.run(pause)
        problem = _wrong(part, size, digests)
    if problem:
        fetching.forget()
        raise FetchError(f"{url}: what came is not the file that was meant: {problem}; it was deleted. Remedy: try "
                         "again later; if it stays so, the file was replaced there: do not use it unless its new "
                         "digest is published")
    with open(part, "r+b") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    fetching.forget()
    return target


def _wrong(path: Path, size: int | None, digests: Mapping[str, str] | None) -> str | None:
    """What is wrong with a file, or None."""
    if size is not None and path.stat().st_size != size:
        return f"{path.stat().st_size} bytes instead of {size}"
    found = digests_of(path, digests or ())
    return next((f"its {kind} is {found[kind]} instead of {value}" for kind, value in (digests or {}).items()
                 if found[kind] != value.lower()), None)


def digests_of(path: str | Path, kinds=("sha256", "md5")) -> dict[str, str]:
    """Kind -> hexadecimal digest of a file, read once. WeightsError if it cannot be read."""
    hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    if not hashes:
        return {}
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                for digest in hashes.values():
                    digest.update(block)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error}). Remedy: check the path") from error
    return {kind: digest.hexdigest() for kind, digest in hashes.items()}


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, to allowed addresses only."""

    def redirect_request(self, request, file, code, message, headers, new_url):
        check_url(new_url)
        return super().redirect_request(request, file, code, message, headers, new_url)


class _Again(Exception):
    """A failure after which trying again may help; its text says why."""


class _Fetching:
    """One file on its way into ``part``; beside it, in ``part.json``, the version that it is a part of."""

    def __init__(self, url: str, part: Path, size: int | None, checked: bool, timeout: float, say: Say):
        self.url, self.part, self.size, self.timeout, self.say = url, part, size, timeout, say
        self.checked = checked  # by a digest at the end
        self.is_new = False  # whether this call began at the first byte
        self.notes = part.with_name(part.name + ".json")
        proxies = [urllib.request.ProxyHandler({})] if _is_loopback(urllib.parse.urlsplit(url).hostname) else []
        self.opener = urllib.request.build_opener(_Redirects(), *proxies)

    def forget(self) -> None:
        """Remove the partial file and what is known of it."""
        for path in (self.part, self.notes):
            path.unlink(missing_ok=True)

    def run(self, pause: float) -> bool:
        """Fetch until complete; True if a part of an earlier call was used."""
        begin = self._begin()
        idle = 0
        if begin:
            self.say(f"{self.part.stem}: going on after {begin / MIB:.1f} MiB")
        while True:
            before = self.part.stat().st_size if self.part.exists() else 0
            try:
                self._attempt()
                return not self.is_new
            except _Again as reason:
                after = self.part.stat().st_size if self.part.exists() else 0
                idle = 0 if after > before else idle + 1
                if idle >= TRIES:
                    kept = f"; {after / MIB:.1f} MiB are kept, the same command goes on there" if after else ""
                    raise FetchError(f"{self.url}: {reason}, {TRIES} times in a row{kept}. Remedy: check the network, "
                                     "try again later, or fetch it elsewhere and use dense weights import FILE"
                                     ) from None
                self.say(f"{self.part.stem}: {reason}; trying again")
                time.sleep(pause * 2 ** max(0, idle - 1))

    def _begin(self) -> int:
        """Bytes that can be gone on with; what cannot is removed."""
        version = self._version()
        have = self.part.stat().st_size if self.part.exists() else 0
        known = version is not None and version.url == self.url and (self.checked or version.validator is not None)
        if have and (not known or (self.size is not None and have > self.size)):
            self.forget()
            return 0
        return have

    def _version(self) -> Version | None:
        try:
            return Version(**json.loads(self.notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _attempt(self) -> None:
        """One request. Raises _Again or FetchError unless the file is complete afterwards."""
        have = self._begin()
        if self.size is not None and have == self.size:
            return
        headers = {"User-Agent": f"dense/{__version__}", "Accept-Encoding": "identity"}
        version = self._version() if have else None
        if have:
            headers["Range"] = f"bytes={have}-"
            if version and version.validator:
                headers["If-Range"] = version.validator
        try:
            response = self.opener.open(urllib.request.Request(self.url, headers=headers), timeout=self.timeout)
        except urllib.error.HTTPError as error:
            self._refused(error, have, version)
            return
        except (OSError, http.client.HTTPException) as error:
            raise _Again(_why(error)) from None
        with contextlib.closing(response):
            if response.status != 206:
                have = 0  # all of it: the file has changed, or the server cannot do parts
            elif not have or not self._continues(response, have, version):
                self.forget()
                raise _Again("the server sent another part than was asked for")
            self._receive(response, have)

    def _refused(self, error: urllib.error.HTTPError, have: int, version: Version | None) -> None:
        """Raises what an error status means; returns where it means that nothing is missing."""
        if error.code == 416 and have:
            if version and version.total == have:
                return
            self.forget()
            raise _Again("the server's file is shorter than the part that was fetched")
        if error.code in LATER:
            raise _Again(f"the server answered {error.code} {error.reason}")
        hint = {401: " (it asks for a login)", 403: " (it may ask for a login)", 404: " (the file is gone)"}
        raise FetchError(f"{self.url}: the server answered {error.code} {error.reason}{hint.get(error.code, '')}. "
                         "Remedy: fetch it by hand where it is to be had now, then dense weights import FILE")

    @staticmethod
    def _continues(response, have: int, version: Version | None) -> bool:
        """Whether a partial answer is the rest of what is there."""
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if not found or int(found[1]) != have:
            return False
        new = _described(response, "")
        total = None if found[2] == "*" else int(found[2])
        if version is None:
            return True
        return all(a is None or b is None or a == b for a, b in (
            (total, version.total), (new.etag, version.etag), (new.modified, version.modified)))

    def _receive(self, response, have: int) -> None:
        """Write the answer behind the first ``have`` bytes."""
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        if total is not None and self.size is not None and total != self.size:
            self.forget()
            raise FetchError(f"{self.url}: the server offers {total} bytes, the file has {self.size}. Remedy: fetch "
                             "it by hand where it is to be had now, then dense weights import FILE")
        if "text/html" in response.headers.get("Content-Type", ""):
            raise FetchError(f"{self.url}: the server sent a web page in place of the file (a login, or a question). "
                             "Remedy: fetch it in a browser, then dense weights import FILE")
        self._check_space(have, total or self.size)
        self.is_new = self.is_new or not have
        version = _described(response, self.url)
        version.total = total
        meter = Meter(f"fetch {self.part.stem}, MiB", -(-total // MIB) if total else None, have // MIB)
        try:
            with meter, open(self.part, "ab" if have else "wb") as file:
                if not have:
                    self.notes.write_text(json.dumps(asdict(version)), encoding="utf-8")
                while block := self._read(response):
                    file.write(block)
                    have += len(block)
                    meter.step(have // MIB if have != total else -(-have // MIB))
        except OSError as error:
            raise self._not_written(error, have, total or self.size) from error
        if total is not None and have < total:
            raise _Again(f"the connection ended after {have} of {total} bytes")
        if total is not None and have > total:
            raise _Again(f"{have} bytes came instead of {total}")

    @staticmethod
    def _read(response) -> bytes:
        try:
            return response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Again(_why(error)) from None

    def _check_space(self, have: int, total: int | None) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and total - have > free:
            raise self._not_written(OSError(errno.ENOSPC, "No space left on device"), have, total)

    def _not_written(self, error: OSError, have: int, total: int | None) -> DenseError:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return DenseError(f"{self.part}: cannot be written ({error.strerror or error}). Remedy: check the folder's "
                              "permissions, or name another with DENSE_CACHE")
        missing = f", {(total - have) / MIB:.1f} MiB more are needed" if total else ""
        kept = f"; the first {have / MIB:.1f} MiB are kept, the same command goes on there" if have else ""
        return DenseError(f"{self.part.parent}: the disk is full{missing}{kept}. Remedy: free some space, or name "
                          "another folder with DENSE_CACHE")


def _described(response, url: str) -> Version:
    return Version(url, response.headers.get("ETag"), response.headers.get("Last-Modified"))


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return f"no connection ({reason})" if str(reason) else f"the connection broke ({type(reason).__name__})"
