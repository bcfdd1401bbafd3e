"""A session with the device in a process, in which every command waits for m-ready."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from types import TracebackType

import numpy as np

READY = b"m-ready\r\n"


class Device:
    """Talks to ``firmware.host``'s program on its stdin and stdout."""

    def __init__(self, program: Path, *options: str | Path) -> None:
        command = [str(program), *map(str, options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.greeting = self.read(1)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read(self, commands: int) -> bytes:
        """Everything up to the m-ready line of so many commands; fails where the process has died or stays silent."""
        assert self.process.stdout is not None
        timer = threading.Timer(30, self.process.kill)
        timer.start()
        lines = []
        while commands:
            line = self.process.stdout.readline()
            if not line:
                assert self.process.stderr is not None
                raise AssertionError(f"the device died: {self.process.stderr.read().decode()[-2000:]}")
            lines.append(line)
            commands -= line.endswith(READY)
        timer.cancel()
        return b"".join(lines)

    def ask(self, *commands: str) -> str:
        """The whole reply to commands sent at once, m-ready lines included."""
        self.write("".join(f"{command}%" for command in commands).encode("latin-1"))
        return self.read(len(commands)).decode()

    def lines(self, command: str) -> list[str]:
        """The lines of a reply before m-ready."""
        *lines, ready, nothing = self.ask(command).split("\r\n")
        assert (ready, nothing) == ("m-ready", "")
        return lines

    def load(self, payload: bytes) -> str:
        """The reply to the last line of a payload."""
        self.ask(f"db load {len(payload)}")
        lines = [f"db {payload[i : i + 31].hex()}" for i in range(0, len(payload), 31)]
        for line in lines[:-1]:
            self.ask(line)
        return self.ask(lines[-1])


def wire(values: np.ndarray, kind: str) -> bytes:
    """Integers as they go over the line."""
    return np.asarray(values).reshape(-1).astype(np.dtype(kind).newbyteorder("<")).tobytes()
