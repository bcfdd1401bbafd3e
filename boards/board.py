"""What a board is: data that everything above reads, and the two LiteX objects that the SoC is built around."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from accel.dataflow.budget import Budget

FLOWS = ("verilator", "open", "vivado")


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
    with its pins. ``clocking``: from the platform to a module with the
    clock domains (see `soc.soc.Hardware`). ``budget``: what the accelerator may take, which is the device less the
    SoC. ``flow``: how it is built by default, one of `FLOWS`.

    On a board with wires: ``crystal``, port and Hz of the clock from outside; ``signals``, the platform's resource
    (name, number) for each of ``life``, ``busy``, ``error`` (LEDs) and ``timestamp`` (a pin for an energy meter);
    ``usb``, its serial port. ``uart``: LiteX's kind of UART; ``baud``: bits a second on its wires after power-up.
    ``programmer``: openFPGALoader's name of the board, None where there is nothing to program.
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
    uart: str = "serial"
    baud: int = 115200
    programmer: str | None = None

    def __post_init__(self) -> None:
        if self.clock_hz <= 0:
            raise ValueError(f"board {self.name}: clock_hz must be positive, not {self.clock_hz}")
        if self.flow not in FLOWS:
            raise ValueError(f"board {self.name}: flow must be one of {', '.join(FLOWS)}, not {self.flow!r}")
        if self.flow != "verilator" and self.crystal is None:
            raise ValueError(f"board {self.name}: a board that is no simulation needs a crystal")

    @property
    def simulated(self) -> bool:
        """Whether Verilator is the board."""
        return self.flow == "verilator"

    def platform(self) -> Any:
        """A new LiteX platform; each SoC needs its own."""
        return self.new_platform()
