"""The simulated board: the SoC verilated, with its UART on a TCP port and a pseudo-terminal (docs/contracts.md)."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from accel.rtl import verilate

SOURCES = Path(__file__).parent / "sim"


class SimulatorError(RuntimeError):
    """The simulator did not start; the message carries what it said."""


def build(soc_v: Path, *, out_dir: Path, clock_hz: int) -> Path:
    """Verilate ``soc.v`` (of `soc.generate`, without ``rom``) into ``out_dir / "Vsoc"`` and return that path.

    The firmware is no part of it. Nothing is done when the same was built there before. Raises VerilateError.
    """
    return verilate.build(
        [SOURCES / "soc.vlt", soc_v],
        top="soc",
        name="Vsoc",
        out_dir=out_dir,
        cpp=[SOURCES / "main.cpp", SOURCES / "line.cpp"],
        include=[SOURCES],
        cxx_options=[f"-DCLOCK_HZ={clock_hz}.0"],
    )


@dataclass
class Simulation:
    """A running simulator, as a context manager that ends it. Its TCP port is ``port``, its pseudo-terminal ``pty``.

    ``rom``: the firmware; None is ``../firmware/firmware.bin``, seen from the executable. ``timestamps``: a
    file for the cycles of the timestamp pin's falling edges, a line each. Raises SimulatorError.
    """

    executable: Path
    rom: Path | None = None
    with_pty: bool = False
    timestamps: Path | None = None
    options: tuple[str, ...] = ("--quiet",)
    port: int = field(default=0, init=False)
    pty: str | None = field(default=None, init=False)

    def __enter__(self) -> Simulation:
        command = [str(self.executable), *self.options]
        command += ["--rom", str(self.rom)] if self.rom else []
        command += ["--pty"] if self.with_pty else []
        command += ["--timestamps", str(self.timestamps)] if self.timestamps else []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)
        assert self.process.stdout is not None
        said = [self.process.stdout.readline() for _ in range(1 + self.with_pty)]
        if tcp := re.fullmatch(r"uart: tcp 127\.0\.0\.1:(\d+)\n", said[0]):
            self.port = int(tcp[1])
        if self.with_pty and (pty := re.fullmatch(r"uart: pty (\S+)\n", said[1])):
            self.pty = pty[1]
        if not self.port or (self.with_pty and not self.pty):
            _, errors = self.process.communicate()
            raise SimulatorError(f"{self.executable.name} did not start: {errors.strip() or 'it said nothing'}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
