"""Downloads against a server on this machine that misbehaves in the ways servers do."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from http_server import Server, serving

from models import download
from models.download import FetchError, File

CONTENT = np.random.default_rng(1).bytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.files["file.onnx"] = CONTENT
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HEADRACE_DATA", raising=False)
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    return tmp_path / "cache"


def file(server: Server, sha: str = SHA) -> File:
    return File("models/file.onnx", sha, server.url("file.onnx"))


def test_a_file_is_downloaded_once(server: Server, cache: Path) -> None:
    path = download.fetch(file(server))
    assert path == cache / "models" / "file.onnx" and path.read_bytes() == CONTENT
    assert download.fetch(file(server)) == path
    assert server.ranges == [None]
    assert [p.name for p in path.parent.iterdir()] == ["file.onnx"]


def test_a_transfer_that_breaks_off_goes_on(server: Server) -> None:
    server.cut = [100_000, 50_000]
    assert download.fetch(file(server)).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_server_that_cannot_resume_sends_all_of_it_again(server: Server) -> None:
    server.cut, server.resumes = [100_000], False
    assert download.fetch(file(server)).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-"]


def test_a_transfer_that_breaks_off_for_good_is_kept_for_the_next_run(server: Server, cache: Path) -> None:
    server.cut = [10] * download.ATTEMPTS
    advice = f"put it at {cache}/models/file.onnx, or set HEADRACE_DATA to a folder that has models/file.onnx"
    message = (
        f"{server.url('file.onnx')} cannot be downloaded: the transfer ended after 40 of 300000 bytes; "
        f"40 bytes are kept and the next run goes on from there; or {advice}"
    )
    with pytest.raises(FetchError, match=re.escape(message)):
        download.fetch(file(server))
    assert not (cache / "models" / "file.onnx").exists()
    server.ranges.clear()
    assert download.fetch(file(server)).read_bytes() == CONTENT
    assert server.ranges == ["bytes=40-"]


def test_a_part_that_is_whole_already_is_taken(server: Server, cache: Path) -> None:
    part = cache / "models" / "file.onnx.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert download.fetch(file(server)).read_bytes() == CONTENT
    assert server.ranges == ["bytes=300000-"]


@pytest.mark.parametrize("there", ["nothing", "a stale part", "a damaged file"])
def test_wrong_bytes_are_kept_aside_and_never_used(server: Server, cache: Path, there: str) -> None:
    target, expected = cache / "models" / "file.onnx", SHA
    target.parent.mkdir(parents=True)
    if there == "nothing":
        server.files["file.onnx"] = CONTENT[:-1] + b"?"
        got = hashlib.sha256(server.files["file.onnx"]).hexdigest()
    elif there == "a stale part":
        target.with_name("file.onnx.part").write_bytes(b"stale")
        got = hashlib.sha256(b"stale" + CONTENT[5:]).hexdigest()
    else:
        target.write_bytes(b"damaged")
        got = hashlib.sha256(b"damaged").hexdigest()
    with pytest.raises(FetchError) as error:
        download.fetch(file(server))
    bad = cache / "models" / "file.onnx.bad"
    assert str(error.value) == (
        f"file.onnx: sha256 is {got}, expected {expected}, from {server.url('file.onnx')}; kept aside as {bad}, "
        "not used. Run the command again to fetch it anew"
    )
    assert [p.name for p in target.parent.iterdir()] == ["file.onnx.bad"]
    assert hashlib.sha256(bad.read_bytes()).hexdigest() == got
    server.files["file.onnx"] = CONTENT
    assert download.fetch(file(server)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "reason", "tries"), [(404, "404 Not Found", 1), (503, "503 Service Unavailable", download.ATTEMPTS)]
)
def test_a_server_that_refuses(server: Server, cache: Path, status: int, reason: str, tries: int) -> None:
    server.status = status
    with pytest.raises(FetchError) as error:
        download.fetch(file(server))
    assert str(error.value) == (
        f"{server.url('file.onnx')} cannot be downloaded: {reason}; or put it at {cache}/models/file.onnx, "
        "or set HEADRACE_DATA to a folder that has models/file.onnx"
    )
    assert len(server.ranges) == tries


def test_without_a_connection_or_an_address(cache: Path) -> None:
    by_hand = f"put it at {cache}/models/x.onnx, or set HEADRACE_DATA to a folder that has models/x.onnx"
    with pytest.raises(FetchError, match=r"^http://no\.invalid/x\.onnx cannot be downloaded: .*; or put it at "):
        download.fetch(File("models/x.onnx", SHA, "http://no.invalid/x.onnx"))
    with pytest.raises(FetchError, match=r"^http://127\.0\.0\.1:1/x\.onnx cannot be downloaded: .*refused"):
        download.fetch(File("models/x.onnx", SHA, "http://127.0.0.1:1/x.onnx"))
    with pytest.raises(FetchError) as error:
        download.fetch(File("models/x.onnx", SHA, None, origin="made from x.h5"))
    assert str(error.value) == f"models/x.onnx has no public address (made from x.h5); {by_hand}"


def test_the_local_folder_comes_first_and_is_checked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    with pytest.raises(FetchError, match=r"^HEADRACE_DATA=.*/data is not a folder; correct it or unset it$"):
        download.fetch(file(server))
    local = tmp_path / "data" / "models" / "file.onnx"
    local.parent.mkdir(parents=True)
    assert download.fetch(file(server)).is_relative_to(tmp_path / "cache")
    local.write_bytes(CONTENT)
    assert download.fetch(file(server)) == local
    local.write_bytes(b"other")
    with pytest.raises(FetchError) as error:
        download.fetch(file(server))
    got = hashlib.sha256(b"other").hexdigest()
    assert str(error.value) == f"{local}: sha256 is {got}, expected {SHA}; correct it or remove it"
    assert local.read_bytes() == b"other"


def test_packed_files_are_known_by_what_is_in_them(server: Server) -> None:
    packed = File("datasets/x.gz", hashlib.sha256(b"content").hexdigest(), server.url("x.gz"), unpacked=True)
    server.files["x.gz"] = gzip.compress(b"content", compresslevel=1, mtime=5)
    assert gzip.decompress(download.fetch(packed).read_bytes()) == b"content"
    path = download.fetch(packed)
    path.write_bytes(b"not gzip")
    with pytest.raises(FetchError, match=r"^x\.gz: sha256 is damaged, expected "):
        download.fetch(packed)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert download.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("HEADRACE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert download.cache_folder() == tmp_path / "xdg" / "headrace"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download.cache_folder() == tmp_path / ".cache" / "headrace"
