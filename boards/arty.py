"""Digilent Arty A7 with an Artix-7 of 100 or, as VARIANT=a7-35, 35 thousand cells."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from litex.build.generic_platform import IOStandard, Pins, Subsignal
from litex.build.xilinx import Xilinx7SeriesPlatform
from litex.gen import LiteXModule
from litex.soc.cores.clock import S7PLL
from migen import ClockDomain, ClockSignal

from accel.dataflow.budget import Budget
from boards.board import Board, Usb
from boards.devices import XC7A35T, XC7A100T, left_for_accelerator

CLOCK_HZ = 75_000_000
CRYSTAL = ("clk100", 100e6)
LVCMOS33 = IOStandard("LVCMOS33")
PINS = (  # those of litex_boards/platforms/digilent_arty.py that are used here; it comes without a wheel
    ("clk100", 0, Pins("E3"), LVCMOS33),
    ("cpu_reset", 0, Pins("C2"), LVCMOS33),  # low while it is pressed
    ("user_led", 0, Pins("H5"), LVCMOS33),
    ("user_led", 1, Pins("J5"), LVCMOS33),
    ("user_led", 2, Pins("T9"), LVCMOS33),
    ("serial", 0, Subsignal("tx", Pins("D10")), Subsignal("rx", Pins("A9")), LVCMOS33),
    ("timestamp", 0, Pins("G13"), LVCMOS33),  # pin 1 of the connector JA
)
SIGNALS = {"life": ("user_led", 0), "busy": ("user_led", 1), "error": ("user_led", 2), "timestamp": ("timestamp", 0)}


class Clocking(LiteXModule):
    """The PLL makes the system clock of the 100 MHz crystal; the accelerator shares it. RESET is the reset button."""

    def __init__(self, platform: Any) -> None:
        self.cd_sys = ClockDomain()
        self.cd_accelerator = ClockDomain(reset_less=True)
        self.pll = S7PLL(speedgrade=-1)
        self.comb += [
            self.pll.reset.eq(~platform.request("cpu_reset")),
            self.cd_accelerator.clk.eq(ClockSignal("sys")),
        ]
        self.pll.register_clkin(platform.request(CRYSTAL[0]), CRYSTAL[1])
        self.pll.create_clkout(self.cd_sys, CLOCK_HZ)


def arty(name: str, title: str, device: Budget, programmer: str) -> Board:
    """The board with one of its FPGAs."""
    return Board(
        name=name,
        title=title,
        device=device.name,
        clock_hz=CLOCK_HZ,
        new_platform=partial(Xilinx7SeriesPlatform, device.name, PINS, name="arty", toolchain="vivado"),
        clocking=Clocking,
        budget=left_for_accelerator(device),
        flow="open",
        crystal=CRYSTAL,
        signals=SIGNALS,
        usb=Usb(0x0403, 0x6010, interface=1),  # FT2232H: interface 0 is JTAG
        programmer=programmer,
    )


BOARD = arty("arty", "Digilent Arty A7-100", XC7A100T, "arty_a7_100t")
VARIANTS = {
    "a7-100": replace(BOARD, name="arty-a7-100"),
    "a7-35": arty("arty-a7-35", "Digilent Arty A7-35", XC7A35T, "arty_a7_35t"),
}
