"""A web server on this machine that misbehaves in the ways servers do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Serves the server's files as it says, and notes the Range of each request."""

    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        content = server.files.get(self.path.lstrip("/"))
        start = int(wanted[6:-1]) if wanted and server.resumes else 0
        if content is None or server.status != 200:
            return self.send_error(404 if server.status == 200 else server.status)
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut.pop(0)] if server.cut else body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """``files`` by name; ``cut``: how many bytes of a body the next requests get before the connection closes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.status, self.resumes = 200, True
        self.cut: list[int] = []
        self.ranges: list[str | None] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


@contextmanager
def serving() -> Iterator[Server]:
    """A server while the block lasts."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
