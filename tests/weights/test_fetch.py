"""Fetching: interruptions, servers of every kind, files that are not the right one, a full disk."""
import builtins
import errno
import hashlib
import shutil
from collections import namedtuple

import numpy as np
import pytest

from dense.errors import DenseError
from dense.weights.fetch import FetchError, check_url, fetch

CONTENT = np.random.default_rng(0).integers(0, 256, 700_001, dtype=np.uint8).tobytes()
OTHER = CONTENT[::-1]


def sha256(content: bytes) -> dict:
    return {"sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def get(server, place):
    """Fetch what the server has, without waiting between the tries."""
    server.content = CONTENT

    def get(url=None, digests=None, size=None, timeout=5.0, say=None):
        return fetch(url or server.url, place / "out.pth", size, digests, timeout, say or (lambda text: None), pause=0)

    return get


def assert_whole(place, content=CONTENT):
    assert (place / "out.pth").read_bytes() == content
    assert [p.name for p in place.glob("out.pth*")] == ["out.pth"]


def test_a_file_arrives_whole_and_nothing_else_is_left(get, place):
    assert get(digests=sha256(CONTENT), size=len(CONTENT)) == place / "out.pth"
    assert_whole(place)


def test_an_unknown_length_is_no_obstacle(get, server, place):
    server.length = False
    get(digests=sha256(CONTENT))
    assert_whole(place)


@pytest.mark.parametrize("identity", [{"etag": '"1"'}, {"modified": "Tue, 01 Mar 2022 10:00:00 GMT"}, {}])
def test_a_broken_connection_is_gone_on_with(get, server, place, identity):
    server.cuts = [300_000, 200_000]
    for key, value in identity.items():
        setattr(server, key, value)
    get(digests=sha256(CONTENT))
    assert_whole(place)
    assert server.asked == [None, "bytes=300000-", "bytes=500000-"]
    assert server.requests[1][1].get("If-Range") == next(iter(identity.values()), None)


def test_a_later_call_goes_on_where_the_first_ended(get, server, place):
    server.etag = '"1"'
    server.cuts = [300_000, *[0] * 4]
    with pytest.raises(FetchError, match=r"4 times in a row; 0\.3 MiB are kept, the same command goes on there"):
        get(digests=sha256(CONTENT))
    assert (place / "out.pth.part").read_bytes() == CONTENT[:300_000]
    assert not (place / "out.pth").exists()
    said = []
    get(digests=sha256(CONTENT), say=said.append)
    assert_whole(place)
    assert server.asked[-1] == "bytes=300000-"
    assert "going on after 0.3 MiB" in said[0]


def test_progress_between_failures_keeps_it_going(get, server, place):
    server.etag = '"1"'
    server.cuts = [50_000] * 12  # more than the tries in a row, each with some bytes
    get(digests=sha256(CONTENT))
    assert_whole(place)


def test_a_server_without_ranges_sends_all_again(get, server, place):
    server.ranges, server.etag, server.cuts = False, '"1"', [300_000]
    get(digests=sha256(CONTENT))
    assert_whole(place)
    assert server.asked == [None, "bytes=300000-"]


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_meanwhile_is_fetched_anew(get, server, place, heeds):
    server.etag, server.cuts, server.heeds_if_range = '"1"', [300_000, *[0] * 4], heeds
    with pytest.raises(FetchError):
        get()
    server.content, server.etag = OTHER, '"2"'
    get()
    assert_whole(place, OTHER)


def test_a_part_that_cannot_be_told_from_another_file_is_not_gone_on_with(get, server, place):
    server.cuts = [300_000, *[0] * 4]
    with pytest.raises(FetchError):
        get()  # no etag, no date, no digest
    server.requests.clear()
    get()
    assert_whole(place)
    assert server.asked == [None]


def test_a_mixture_of_two_versions_is_noticed_by_its_digest_and_fetched_anew(get, server, place):
    server.cuts = [300_000, *[0] * 4]
    with pytest.raises(FetchError):
        get(digests=sha256(OTHER))
    server.content = OTHER
    said = []
    get(digests=sha256(OTHER), say=said.append)
    assert_whole(place, OTHER)
    assert any("may be of another file" in text for text in said)


def test_another_part_than_was_asked_for_is_not_taken(get, server, place):
    server.etag, server.cuts, server.shift = '"1"', [300_000], 10
    get(digests=sha256(CONTENT))
    assert_whole(place)
    assert server.asked == [None, "bytes=300000-", None]


def test_a_server_whose_file_became_shorter_begins_again(get, server, place):
    server.etag, server.heeds_if_range, server.cuts = '"1"', False, [300_000, *[0] * 4]
    with pytest.raises(FetchError):
        get()
    server.content = CONTENT[:1000]
    get()
    assert_whole(place, CONTENT[:1000])


def test_another_digest_is_refused_and_nothing_is_left(get, place):
    with pytest.raises(FetchError, match=r"not the file that was meant: its sha256 is \w+ instead of \w+.*deleted"):
        get(digests=sha256(OTHER))
    assert list(place.glob("out.pth*")) == []


def test_another_length_is_refused_before_it_is_fetched(get, server, place):
    with pytest.raises(FetchError, match=r"offers 700001 bytes, the file has 700000"):
        get(size=700_000)
    assert list(place.glob("out.pth*")) == []
    server.length = False
    with pytest.raises(FetchError, match=r"700001 bytes instead of 700000"):
        get(size=700_000)


def test_a_web_page_in_place_of_the_file_is_refused(get, server, place):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match=r"sent a web page.*in a browser"):
        get()
    assert not (place / "out.pth").exists()


def test_a_missing_file_is_not_asked_for_again(get, server):
    server.statuses = [404] * 9
    with pytest.raises(FetchError, match=r"answered 404.*the file is gone.*Remedy: fetch it by hand"):
        get()
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(get, server, place):
    server.statuses = [503, 429, 500]
    get()
    assert_whole(place)


def test_a_silent_server_is_given_up(get, server):
    server.pause = 0.4
    with pytest.raises(FetchError, match=r"no answer in time, 4 times in a row\. Remedy"):
        get(timeout=0.05)


def test_no_server_at_all_is_an_error(get):
    with pytest.raises(FetchError, match=r"no connection \(.*refused.*4 times in a row"):
        get("http://127.0.0.1:9/weights.pth")


def test_redirections_are_followed_to_allowed_addresses_only(get, server, place):
    server.redirect = server.url
    get(server.url.replace("weights.pth", "redirect"))
    assert_whole(place)
    for bad in ("http://example.com/weights.pth", "ftp://127.0.0.1/weights.pth"):
        server.redirect = bad
        with pytest.raises(FetchError, match="only https"):
            get(server.url.replace("weights.pth", "redirect"))


@pytest.mark.parametrize("url", ["http://example.com/x", "ftp://example.com/x", "file:///etc/passwd", "x.pth",
                                 "http://127.0.0.1.example.com/x", "http://localhost@example.com/x", "https:///x"])
def test_only_https_is_fetched(url, place):
    with pytest.raises(FetchError, match="only https"):
        fetch(url, place / "x")


@pytest.mark.parametrize("url", ["https://example.com/x", "http://127.0.0.1:8/x", "http://[::1]/x", "http://localhost/x"])
def test_https_and_this_machine_are_allowed(url):
    check_url(url)


def test_offline_nothing_is_asked_for(get, server, monkeypatch):
    monkeypatch.setenv("DENSE_OFFLINE", "1")
    with pytest.raises(FetchError, match=r"DENSE_OFFLINE is set.*dense weights import FILE"):
        get()
    assert server.requests == []
    monkeypatch.setenv("DENSE_OFFLINE", "0")
    get()


def test_a_disk_without_room_is_an_error_before_anything_is_fetched(get, monkeypatch, place):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6, 1000))
    with pytest.raises(DenseError, match=r"the disk is full, 0\.7 MiB more are needed\. Remedy: free some space"):
        get()
    assert not (place / "out.pth").exists()


def test_a_disk_that_becomes_full_keeps_what_is_there(get, server, monkeypatch, place):
    server.etag, real = '"1"', builtins.open

    class Full:
        """A file on a disk with room for 400,000 bytes."""

        def __init__(self, file):
            self.file, self.room = file, 400_000

        def write(self, block):
            self.file.write(block[:self.room])
            self.room -= len(block)
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

    monkeypatch.setattr("dense.weights.fetch.open", lambda path, mode="r": (
        Full(real(path, mode)) if mode in ("wb", "ab") else real(path, mode)), raising=False)
    with pytest.raises(DenseError, match=r"the disk is full, 0\.\d MiB more are needed; the first 0\.\d MiB are kept"):
        get(digests=sha256(CONTENT))
    monkeypatch.undo()
    assert 0 < (place / "out.pth.part").stat().st_size <= 400_000
    get(digests=sha256(CONTENT))
    assert_whole(place)
    assert server.asked[-1].startswith("bytes=")


def test_a_folder_that_cannot_be_written_is_an_error(server, place):
    server.content = CONTENT
    (place / "file").write_text("")
    with pytest.raises(DenseError, match=r"is a file instead of a folder; choose another folder"):
        fetch(server.url, place / "file" / "out.pth", pause=0)
