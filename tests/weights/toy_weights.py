"""A server on this machine that does what it is told, and catalogues for tests."""
from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

WIDTH = 0.125


@dataclass
class Served:
    """What the server does, and what it was asked.

    cuts: bytes after which the connection ends, one for each of the first answers that has a body (None: all of it).
    """

    content: bytes = b""
    etag: str | None = None
    modified: str | None = None
    ranges: bool = True
    heeds_if_range: bool = True
    cuts: list = field(default_factory=list)
    statuses: list = field(default_factory=list)
    kind: str = "application/octet-stream"
    redirect: str | None = None
    shift: int = 0  # of what it says and sends of a range
    pause: float = 0.0
    length: bool = True
    requests: list = field(default_factory=list)
    url: str = ""

    @property
    def asked(self) -> list[str | None]:
        """The Range of every request."""
        return [headers.get("Range") for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        told = self.server.told
        told.requests.append((self.path, dict(self.headers)))
        time.sleep(told.pause)
        if told.statuses and (status := told.statuses.pop(0)):
            return self.send_error(status)
        if told.redirect and self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", told.redirect)
            return self.end_headers()
        content, begin = told.content, 0
        asked = self.headers.get("Range") if told.ranges else None
        condition = self.headers.get("If-Range")
        if asked and not (told.heeds_if_range and condition and condition not in (told.etag, told.modified)):
            begin = int(asked.removeprefix("bytes=").rstrip("-")) + told.shift
            if begin >= len(content):
                return self.send_error(416)
        self.send_response(206 if begin else 200)
        for name, value in (("ETag", told.etag), ("Last-Modified", told.modified), ("Content-Type", told.kind),
                            ("Content-Length", str(len(content) - begin) if told.length else None),
                            ("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}" if begin else None)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        cut = told.cuts.pop(0) if told.cuts else None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # of clients that have seen enough
            self.wfile.write(content[begin:] if cut is None else content[begin:begin + cut])


def entry(name: str, files: str, commercial: str = "unclear") -> str:
    """An entry of a catalogue."""
    licence = f'{{text = "none stated", commercial = "{commercial}", source = "a test"}}'
    return (f'[[weights]]\nname = "{name}"\nsummary = "toy"\nhomepage = "nowhere"\n[weights.licences]\n'
            f'code = {licence}\nweights = {licence}\ndata = {licence}\n{files}\n')


def file_entry(name: str, url: str | None = None, sha256: str | None = None, size: int | None = None) -> str:
    """A file of an entry; without url it is fetched by hand."""
    lines = ["[[weights.files]]", f'name = "{name}"']
    lines.append(f'urls = [{{value = "{url}", source = "a test"}}]' if url else 'by_hand = "http://the.page"')
    if sha256:
        lines.append(f'digests = [{{kind = "sha256", value = "{sha256}", source = "a test"}}]')
    if size:
        lines.append(f'size = {{value = {size}, source = "a test"}}')
    return "\n".join(lines)
