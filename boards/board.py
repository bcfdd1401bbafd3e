"""What a board is: data that everything above reads, and the two LiteX objects that the SoC is built around."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accel.dataflow.budget import Budget

FLOWS = ("verilator", "open", "vivado")
CPUS = ("lite", "standard", "full")  # of the VexRiscv; all multiply, which the firmware (rv32im) expects

_SIZES = tuple(1 << bits for bits in range(12, 29))  # 4 KiB hold the smallest stack; at 256 MiB the next region begins


class BoardError(ValueError):
    """A board that does not exist; the message lists those that do."""


@dataclass(frozen=True)
class Usb:
    """How the board's serial port shows itself to the host: identity of its USB chip, and which of its interfaces."""

    vendor: int
    product: int
    interface: int = 0


@dataclass(frozen=True)
class Board:
    """One board; a file of this folder each, as `BOARD`.

    ``name``: what BOARD= says. ``title``: what its maker calls it. ``device``: the part, as tools spell it; in
    simulation the one whose size is kept to. ``clock_hz``: the system clock. ``new_platform``: makes the LiteX platform
    with its pins. ``clocking``: from the platform to a module with the clock domains (see `soc.soc.Hardware`).
    ``budget``: what the accelerator may take, which is the device less the SoC. ``flow``: how it is built by default,
    one of `FLOWS`.

    On a board with wires: ``crystal``, port and Hz of the clock from outside; ``signals``, the platform's resource
    (name, number) for each of ``life``, ``busy``, ``error`` (LEDs) and ``timestamp`` (a pin for an energy meter);
    ``usb``, its serial port; ``programmer``, openFPGALoader's name of the board.

    Options of the SoC: ``cpu``, LiteX's variant of the VexRiscv, one of `CPUS`; ``rom`` for the firmware and ``sram``
    for its data and stack, bytes, a power of two each; ``uart``, LiteX's kind of UART; ``baud``, bits a second on its
    wires after power-up.

    Raises ValueError for values that cannot be.
    """

    name: str
    title: str
    device: str
    clock_hz: int
    new_platform: Callable[[], Any]
    clocking: Callable[[Any], Any]
    budget: Budget
    flow: str
    crystal: tuple[str, float] | None = None
    signals: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    usb: Usb | None = None
    programmer: str | None = None
    cpu: str = "standard"
    rom: int = 0x1_0000
    sram: int = 0x4000
    uart: str = "serial"
    baud: int = 115200

    def __post_init__(self) -> None:
        if self.clock_hz <= 0:
            raise ValueError(f"board {self.name}: clock_hz must be positive, not {self.clock_hz}")
        if self.flow not in FLOWS:
            raise ValueError(f"board {self.name}: flow must be one of {', '.join(FLOWS)}, not {self.flow!r}")
        if self.flow != "verilator" and self.crystal is None:
            raise ValueError(f"board {self.name}: a board that is no simulation needs a crystal")
        if self.cpu not in CPUS:
            raise ValueError(f"board {self.name}: cpu must be one of {', '.join(CPUS)}, not {self.cpu!r}")
        for memory, size in (("rom", self.rom), ("sram", self.sram)):
            if size not in _SIZES:
                sizes = f"a power of two from {_SIZES[0]} to {_SIZES[-1]} bytes"
                raise ValueError(f"board {self.name}: {memory} must be {sizes}, not {size}")
        if self.baud <= 0:
            raise ValueError(f"board {self.name}: baud must be positive, not {self.baud}")

    @property
    def simulated(self) -> bool:
        """Whether Verilator is the board."""
        return self.flow == "verilator"

    def platform(self) -> Any:
        """A new LiteX platform; each SoC needs its own."""
        return self.new_platform()
