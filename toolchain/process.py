"""Long-running programs: output in a log, no child left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HEARTBEAT_SECONDS = 30.0


class ToolError(RuntimeError):
    """A program failed; the message has its last error and the log's path."""


class Processes:
    """Programs that run at the same time and end together: `kill` ends all of them and what they started.

    Of those that run for long, ``say`` gets a line every `HEARTBEAT_SECONDS`.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._ended = False

    def run(
        self, command: Sequence[str], *, step: str, cwd: Path, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Run ``command`` in ``cwd``, its output in ``log``; ``step`` is what it is called while it runs.

        Raises `ToolError`; any thread may call this.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            with self._lock:
                if self._ended:
                    raise ToolError(f"{command[0]}: not started, others were interrupted")
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._running.add(process)
            start = time.monotonic()
            try:
                while (status := _wait(process, HEARTBEAT_SECONDS)) is None:
                    self._say(f"{step}: {time.monotonic() - start:.0f} s; {last_line(log)[:60]}")
            except BaseException:
                _kill(process)
                raise
            finally:
                with self._lock:
                    self._running.discard(process)
        if status:
            raise ToolError(f"{last_error(log) or f'{command[0]} ended with status {status}'} (log: {log})")

    def kill(self) -> None:
        """End all that runs; nothing more can be started."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            _kill(process)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def last_line(log: Path) -> str:
    """What a program said last."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 4096, 0))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip().removeprefix("Info:").strip() for line in reversed(lines) if line.strip(" ")), "")


def last_error(log: Path) -> str:
    """The line that tells most about why a program failed: the last with an error, else the last before make's."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    for line in lines:
        if match := re.match(r"make(?:\[\d+\])?: .*\] (Killed|Terminated|Aborted|Segmentation fault)", line):
            return f"{match[1]} by the system, perhaps for want of memory" if match[1] == "Killed" else match[1]
    lines = [line for line in lines if not re.match(r"make(\[\d+\])?: ", line)]
    errors = [line for line in lines if re.search(r"\berror\b|not found|No such file", line, re.IGNORECASE)]
    errors = [line for line in errors if not re.search(r"\d+ errors?$", line)]
    return (errors or lines or [""])[-1]
