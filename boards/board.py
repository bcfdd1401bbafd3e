"""What a board is: data that everything above reads, and the two LiteX objects that the SoC is built around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litex.build.generic_platform import GenericPlatform

from accel.dataflow.budget import Budget


class BoardError(ValueError):
    """A board that does not exist; the message lists those that do."""


@dataclass(frozen=True)
class Board:
    """One board; a file of this folder each, as `BOARD`.

    ``name``: what BOARD= says. ``title``: what its maker calls it. ``device``: the part, as tools spell it; in
    simulation the one whose size is kept to. ``clock_hz``: the system clock. ``pins``: LiteX's list of I/O.
    ``clocking``: from the platform to a module with the clock domains (see `soc.soc.Hardware`). ``budget``: what the
    accelerator may take, which is the device less the SoC. ``flow``: how it is built by default. ``uart``: LiteX's kind
    of UART; ``baud``: bits a second where it has wires. ``programmer``: openFPGALoader's name of the board, None
    where there is nothing to program.
    """

    name: str
    title: str
    device: str
    clock_hz: int
    pins: tuple[Any, ...]
    clocking: Callable[[Any], Any]
    budget: Budget
    flow: str
    uart: str = "serial"
    baud: int = 115200
    programmer: str | None = None
    platform_class: Callable[..., Any] = GenericPlatform

    def __post_init__(self) -> None:
        if self.clock_hz <= 0:
            raise ValueError(f"board {self.name}: clock_hz must be positive, not {self.clock_hz}")

    def platform(self) -> Any:
        """A new LiteX platform; each SoC needs its own."""
        return self.platform_class(self.device, list(self.pins), name=self.name)
