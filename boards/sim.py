"""The simulated board: a clock and a UART whose wires are bytes, for `soc.simulator`."""

from __future__ import annotations

from functools import partial
from typing import Any

from litex.build.generic_platform import GenericPlatform, Pins, Subsignal
from litex.build.io import CRG
from migen import ClockDomain, Signal

from boards.board import Board
from boards.devices import XC7A100T, left_for_accelerator

PINS = (
    ("sys_clk", 0, Pins(1)),
    ("accelerator_clk", 0, Pins(1)),  # rises with sys_clk, but only while accelerator_active is high
    ("accelerator_active", 0, Pins(1)),
    ("timestamp", 0, Pins(1)),
    (
        "serial",
        0,
        *(
            Subsignal(f"{way}_{name}", Pins(8 if name == "data" else 1))
            for way in ("source", "sink")
            for name in ("valid", "ready", "data")
        ),
    ),
)


class Clocking(CRG):
    """Both clocks come from the simulator, which need not evaluate the accelerator while it has nothing to do."""

    def __init__(self, platform: Any) -> None:
        super().__init__(platform.request("sys_clk"))
        self.clock_domains.cd_accelerator = ClockDomain(reset_less=True)
        self.active = Signal()
        self.comb += [
            self.cd_accelerator.clk.eq(platform.request("accelerator_clk")),
            platform.request("accelerator_active").eq(self.active),
        ]


BOARD = Board(
    name="sim",
    title="simulated SoC (Verilator)",
    device=XC7A100T.name,
    clock_hz=100_000_000,
    new_platform=partial(GenericPlatform, XC7A100T.name, list(PINS), name="sim"),
    clocking=Clocking,
    budget=left_for_accelerator(XC7A100T),
    flow="verilator",
    signals={"timestamp": ("timestamp", 0)},
    uart="sim",
)
