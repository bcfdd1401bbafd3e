"""The host's end of the device protocol, over anything that pyserial opens.

A command is text ended by ``%``; the reply is lines ended by CR LF, the last of which is ``m-ready``. Nothing on the
line is taken on trust: a reply must be complete, in time and of the right form, else the exchange fails with a
`LineError`, and `Client.attempt` brings both sides into step again and repeats it a bounded number of times.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import serial

from bench.errors import BenchError, DeviceError, Garbled, LineError, PortError, Reset, Silent

CHUNK = 31  # bytes a `db` command: 3 + 62 digits + 1 stay below the device's command buffer of 80 characters
LINE_TIMEOUT_S = 5.0
INFER_TIMEOUT_S = 30.0
ATTEMPTS = 3
LONGEST_LINE = 1 << 20  # characters; a device that sends more without an end of line is babbling
MOST_LINES = 1 << 14  # lines a reply; `db print` of the largest input has 3,456
TIMESTAMP_RANGE = 1 << 32  # the device counts microseconds in 32 bits and wraps

T = TypeVar("T")
Log = Callable[[str, str], None]


@dataclass(frozen=True)
class Inference:
    """One ``infer`` command: the printed results, and the microseconds between its two timestamps."""

    results: tuple[str, ...]
    elapsed_us: int

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(map(float, self.results))


class Client:
    """A device on ``port``.

    ``time_scale`` stretches every time limit (a simulated device runs at a fraction of real time). ``log`` is called
    with who (``"host"`` or ``"dut"``) and each line.
    """

    def __init__(self, port: str, *, baud: int = 115200, time_scale: float = 1.0, log: Log | None = None) -> None:
        if time_scale <= 0:
            raise ValueError(f"time scale must be positive, not {time_scale}")
        self.port = port
        self.baud = baud
        self.time_scale = time_scale
        self._log = log or (lambda who, line: None)
        self._serial: serial.SerialBase | None = None
        self._nonce = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._serial is not None:
            self._serial.close()
            self._serial = None

    # The line ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _port_errors(self) -> Iterator[None]:
        try:
            yield
        except (
            OSError,
            serial.SerialException,
        ) as error:  # SerialException is an OSError, but not promised to stay one
            self.close()
            raise PortError(f"{self.port}: {error}") from error

    def _opened(self) -> serial.SerialBase:
        if self._serial is None:
            with self._port_errors():
                self._serial = serial.serial_for_url(
                    self.port, baudrate=self.baud, timeout=0.05, write_timeout=LINE_TIMEOUT_S * self.time_scale
                )
        return self._serial

    def _send(self, text: str, shown: str | None = None) -> None:
        port = self._opened()
        self._log("host", f"{shown or text}%")
        with self._port_errors():
            port.write(f"{text}%".encode("ascii"))
            port.flush()

    def _line(self, seconds: float, awaited: str) -> str:
        """The next line without its end. Raises `Silent` when it is not complete ``seconds`` (scaled) from now."""
        port = self._opened()
        limit = seconds * self.time_scale
        deadline = time.monotonic() + limit
        line = bytearray()
        while not line.endswith(b"\n"):
            with self._port_errors():
                line += port.read_until(b"\n")  # what has come after 50 ms, at the latest
            if len(line) > LONGEST_LINE:
                raise Garbled(f"{self.port}: a line without end in the reply to {awaited!r}")
            if not line.endswith(b"\n") and time.monotonic() > deadline:
                got = f" (only {line[:40]!r} came)" if line else ""
                raise Silent(f"{self.port}: no answer to {awaited!r} within {limit:g} s{got}")
        text = line.decode("ascii", "replace").strip()
        self._log("dut", text)
        return text

    def retune(self, baud: int) -> None:
        """Send and receive ``baud`` bits a second from here on; the device is told by the command of that name."""
        self.baud = baud
        if self._serial is not None:
            with self._port_errors():
                self._serial.baudrate = baud

    def synchronise(self, *, attempts: int = ATTEMPTS) -> None:
        """Bring host and device into step, whatever either has half said; reopens a lost port.

        Sends a command that no device knows, with a number of its own. The device echoes it in ``e-[Unknown command:
        …]``, so everything before that echo is old. Raises `Silent` (or `PortError`) after a few tries.
        """
        for _ in range(attempts):
            self._nonce += 1
            mark = f"sync-{self._nonce}"
            self._send(mark)
            seen = False
            try:
                for _ in range(MOST_LINES):
                    line = self._line(LINE_TIMEOUT_S, mark)
                    if line.startswith("e-[Unknown command:") and line.endswith(f"{mark}]"):
                        seen = True
                    elif line == "m-ready" and seen:
                        return
            except Silent as silent:
                last = silent
        raise last

    def command(self, text: str, *, seconds: float = LINE_TIMEOUT_S, shown: str | None = None) -> list[str]:
        """Send ``text%`` and return the lines of the reply before ``m-ready``, without noise.

        ``seconds`` is the longest wait for one line. Raises `Silent`, `Reset`, `DeviceError`, `PortError`.
        """
        self._send(text, shown)
        lines: list[str] = []
        for _ in range(MOST_LINES):
            line = self._line(seconds, shown or text)
            if line == "m-ready":
                if errors := [found for found in lines if found.startswith("e-[")]:
                    raise DeviceError(f"{self.port}: the device answered {errors[0]} to {shown or text!r}")
                return lines
            if line == "m-init-done":
                raise Reset(f"{self.port}: the device reset itself during {shown or text!r}")
            if line.startswith(("m-", "e-")):
                lines.append(line)
        raise Garbled(f"{self.port}: a reply without end to {shown or text!r}")

    def attempt(self, what: str, action: Callable[[], T]) -> T:
        """``action()``, with both sides brought into step and repeated when the line fails. Raises `BenchError`."""
        for left in reversed(range(ATTEMPTS)):
            try:
                return action()
            except LineError as failed:
                self._log("host", f"# {type(failed).__name__}: {failed}")
                try:
                    if left:
                        self.synchronise()
                        continue
                    cause = failed
                except LineError as lost:
                    cause = lost
                raise BenchError(f"{what}: {cause}. {cause.advice}") from cause
        raise AssertionError("not reached")

    # Commands ---------------------------------------------------------------------------------------------------

    def ask(self, command: str, tag: str) -> str:
        """The text between the brackets of the one line ``m-<tag>-[…]`` in the reply.

        Raises `Garbled` and as `command`.
        """
        found = [m[1] for line in self.command(command) if (m := re.fullmatch(rf"m-{tag}-\[(.*)\]", line))]
        if len(found) != 1:
            raise Garbled(f"{self.port}: {len(found)} lines m-{tag}-[…] in the reply to {command!r} instead of one")
        return found[0]

    def ask_surely(self, command: str, tag: str) -> str:
        """As `ask`, twice: for what nothing else would show to be wrong. Raises `Garbled` when the answers differ."""
        first, second = self.ask(command, tag), self.ask(command, tag)
        if first != second:
            raise Garbled(f"{self.port}: two answers to {command!r}: {first[:60]} and {second[:60]}")
        return first

    def numbers(self, text: str, tag: str) -> list[int]:
        """The integers of a list separated by commas. Raises `Garbled`."""
        if not re.fullmatch(r"-?\d+(,-?\d+)*", text):
            raise Garbled(f"{self.port}: m-{tag}-[{text[:60]}] is not a list of integers")
        return [int(number) for number in text.split(",")]

    def load(self, data: bytes, *, verify: bool = False) -> None:
        """Put an input into the device's buffer; ``verify`` reads it back. Raises `Garbled` when bytes were lost."""
        self.command(f"db load {len(data)}")
        done = False
        for start in range(0, len(data), CHUNK):
            if done:
                raise Garbled(f"{self.port}: the device took {start} bytes for all {len(data)}")
            chunk = data[start : start + CHUNK]
            shown = f"db <bytes {start}..{start + len(chunk) - 1}, sha256 {hashlib.sha256(chunk).hexdigest()[:8]}>"
            done = "m-load-done" in self.command(f"db {chunk.hex()}", shown=shown)
        if not done:
            raise Garbled(f"{self.port}: no m-load-done after {len(data)} bytes, so some were lost")
        if verify:
            self.verify(data)

    def verify(self, data: bytes) -> None:
        """Compare the device's buffer with ``data``. Raises `Garbled`."""
        lines = [line for line in self.command("db print") if line.startswith("m-buffer-")]
        text = "".join(line.removeprefix("m-buffer-").replace("-", "") for line in lines)
        if text.lower() != data.hex():
            raise Garbled(f"{self.port}: the device's buffer differs from the {len(data)} bytes sent")

    def infer(self, inferences: int, warmup: int) -> Inference:
        """Run the loaded input. Raises `Garbled` when the reply is not whole, and as `command`."""
        command = f"infer {inferences} {warmup}"
        lines = self.command(command, seconds=INFER_TIMEOUT_S)
        stamps = [int(m[1]) for line in lines if (m := re.fullmatch(r"m-lap-us-(\d+)", line))]
        found = [m[1].split(",") for line in lines if (m := re.fullmatch(r"m-results-\[(.*)\]", line))]
        if (
            f"m-infer-start-{inferences}" not in lines
            or "m-infer-done" not in lines
            or len(stamps) != 2
            or len(found) != 1
        ):
            raise Garbled(f"{self.port}: lines are missing in the reply to {command!r}")
        # Three decimals are the protocol's, and a lost character cannot hide in them.
        if not all(re.fullmatch(r"-?\d+\.\d{3}", number) for number in found[0]):
            raise Garbled(
                f"{self.port}: m-results-[{','.join(found[0])[:60]}] is not a list of numbers with three decimals"
            )
        return Inference(tuple(found[0]), (stamps[1] - stamps[0]) % TIMESTAMP_RANGE)
