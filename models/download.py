"""Files with a known sha256: found on this machine, or downloaded, resumed and checked.

A file is looked for below HEADRACE_DATA (a local folder with the same bytes), then in the cache (HEADRACE_CACHE, else
``headrace`` in XDG_CACHE_HOME or ~/.cache), then at its address. Its sha256 is checked every time.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from accel.native import cache_folder

TIMEOUT_S = 30.0
ATTEMPTS = 4
PAUSE_S = 1.0
CHUNK = 1 << 16


class FetchError(RuntimeError):
    """A file that cannot be had; the message names it, its address, and where to put it by hand."""


@dataclass(frozen=True)
class File:
    """``path`` below HEADRACE_DATA and the cache, its sha256, its address (None: it has none, ``origin`` says why).

    ``unpacked``: the sha256 is that of the gunzipped content, as the gzip header differs between mirrors.
    """

    path: str
    sha256: str
    url: str | None
    origin: str | None = None
    unpacked: bool = False


def data_folder() -> Path | None:
    """The folder HEADRACE_DATA names, or None. Raises FetchError when it is not a folder."""
    value = os.environ.get("HEADRACE_DATA")
    if not value:
        return None
    if not Path(value).is_dir():
        raise FetchError(f"HEADRACE_DATA={value} is not a folder; correct it or unset it")
    return Path(value)


def fetch(file: File) -> Path:
    """The file, checked. Raises FetchError."""
    data = data_folder()
    if data and (data / file.path).is_file():
        if (got := sha256(data / file.path, unpacked=file.unpacked)) != file.sha256:
            raise FetchError(f"{data / file.path}: sha256 is {got}, expected {file.sha256}; correct it or remove it")
        return data / file.path
    target = cache_folder() / file.path
    if not target.is_file():
        if file.url is None:
            raise FetchError(f"{file.path} has no public address ({file.origin}); {by_hand(file.path)}")
        part = target.with_name(target.name + ".part")
        with progress(target.name) as advance:
            download(file.url, part, advance, advice=by_hand(file.path))
        check(part, sha256(part, unpacked=file.unpacked), file.sha256, name=target.name, url=file.url)
        part.replace(target)
    check(target, sha256(target, unpacked=file.unpacked), file.sha256, name=target.name, url=file.url)
    return target


def by_hand(path: str) -> str:
    """What a user without a connection does."""
    return f"put it at {cache_folder() / path}, or set HEADRACE_DATA to a folder that has {path}"


def check(path: Path, got: str, expected: str, *, name: str, url: str | None) -> None:
    """Keep a file or folder with a wrong sha256 aside, as ``NAME.bad``, and raise FetchError."""
    if got == expected:
        return
    bad = path.with_name(name + ".bad")
    if bad.is_dir():
        bad = path.with_name(f"{name}.bad.{time.time_ns()}")
    path.replace(bad)
    raise FetchError(
        f"{name}: sha256 is {got}, expected {expected}" + (f", from {url}" if url else "") + f"; kept aside as {bad}, "
        "not used. Run the command again to fetch it anew"
    )


def sha256(path: Path, *, unpacked: bool = False) -> str:
    """The sha256 of a file, or of its gunzipped content (a gzip file that is damaged has the sha256 ``damaged``)."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path) if unpacked else path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except (gzip.BadGzipFile, EOFError):
        return "damaged"
    return digest.hexdigest()


def download(url: str, part: Path, advance: Callable[[int, int | None], None], *, advice: str) -> None:
    """Bring ``url`` to ``part``, going on where an earlier transfer broke off. Raises FetchError.

    ``advance(done, total)`` is told of the bytes; total is None while unknown. Nothing is checked but the length.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_S * attempt)
        try:
            return _transfer(url, part, advance)
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"{error.code} {error.reason}"
            if error.code < 500:
                break
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", None) or error or type(error).__name__)
            if isinstance(getattr(error, "reason", None), socket.gaierror):
                break  # no connection, or no such host: asking again does not help
    kept = part.stat().st_size if part.exists() else 0
    resume = f" {kept} bytes are kept and the next run goes on from there;" if kept else ""
    raise FetchError(f"{url} cannot be downloaded: {reason};{resume} or {advice}")


def _transfer(url: str, part: Path, advance: Callable[[int, int | None], None]) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "headrace"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            error.close()
            return  # nothing is left to transfer: the sha256 decides
        raise
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            part.unlink()
            raise ConnectionError("the server resumes at a wrong place")
        if not resumed:
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length and length.isdigit() else None
        with part.open("ab" if resumed else "wb") as out:
            advance(done, total)
            while chunk := response.read(CHUNK):
                out.write(chunk)
                done += len(chunk)
                advance(done, total)
    if total is not None and done != total:
        raise ConnectionError(f"the transfer ended after {done} of {total} bytes")


@contextmanager
def progress(name: str, *, unit: str = "bytes") -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr when that is a terminal; yields ``advance(done, total)``."""
    console = Console(stderr=True)
    amount = DownloadColumn() if unit == "bytes" else TextColumn("{task.completed}/{task.total} " + unit)
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
