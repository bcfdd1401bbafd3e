"""Radiona ULX3S with a Lattice LFE5U-85F: built by open tools that come as Python packages, on any machine."""

from __future__ import annotations

from functools import partial
from typing import Any

from litex.build.generic_platform import IOStandard, Misc, Pins, Subsignal
from litex.build.lattice import LatticeECP5Platform
from litex.gen import LiteXModule
from litex.soc.cores.clock import ECP5PLL
from migen import ClockDomain, ClockSignal

from boards.board import Board, Usb
from boards.devices import LFE5U_85F, left_on_ecp5

CLOCK_HZ = 60_000_000
CRYSTAL = ("clk25", 25e6)
LVCMOS33 = IOStandard("LVCMOS33")
PINS = (  # those of litex_boards/platforms/radiona_ulx3s.py that are used here; it comes without a wheel
    ("clk25", 0, Pins("G2"), LVCMOS33),
    ("reset", 0, Pins("R1"), LVCMOS33, Misc("PULLMODE=DOWN")),  # the button F1, high while it is pressed
    ("user_led", 0, Pins("B2"), LVCMOS33),
    ("user_led", 1, Pins("C2"), LVCMOS33),
    ("user_led", 2, Pins("C1"), LVCMOS33),
    ("serial", 0, Subsignal("tx", Pins("L4")), Subsignal("rx", Pins("M1")), LVCMOS33),
    ("timestamp", 0, Pins("B11"), LVCMOS33),  # GP0 of the connector J1
    # By the maker's ulx3s_v20.lpf, for boards 2.x and 3.0.x; on 3.1.x F1 is the ESP32's GPIO0, and L2 its GPIO22.
    ("wifi_gpio0", 0, Pins("L2"), LVCMOS33),
    ("wifi_en", 0, Pins("F1"), LVCMOS33),
)
SIGNALS = {"life": ("user_led", 0), "busy": ("user_led", 1), "error": ("user_led", 2), "timestamp": ("timestamp", 0)}


class Clocking(LiteXModule):
    """The PLL makes the system clock of the 25 MHz crystal; the accelerator shares it. F1 is the reset button."""

    def __init__(self, platform: Any) -> None:
        self.cd_sys = ClockDomain()
        self.cd_accelerator = ClockDomain(reset_less=True)
        self.pll = ECP5PLL()
        self.comb += [
            self.pll.reset.eq(platform.request("reset")),
            self.cd_accelerator.clk.eq(ClockSignal("sys")),
            # The ESP32, as delivered, configures the FPGA anew when its GPIO0 has been low for a few seconds. Its
            # enable, which need not be driven, is high for the sake of boards 3.1.x, where that pin is GPIO0.
            platform.request("wifi_gpio0").eq(1),
            platform.request("wifi_en").eq(1),
        ]
        self.pll.register_clkin(platform.request(CRYSTAL[0]), CRYSTAL[1])
        self.pll.create_clkout(self.cd_sys, CLOCK_HZ)


BOARD = Board(
    name="ulx3s",
    title="Radiona ULX3S 85F",
    device=LFE5U_85F.name,
    clock_hz=CLOCK_HZ,
    new_platform=partial(LatticeECP5Platform, LFE5U_85F.name, PINS, name="ulx3s", toolchain="trellis"),
    clocking=Clocking,
    budget=left_on_ecp5(LFE5U_85F),
    flow="open",
    crystal=CRYSTAL,
    signals=SIGNALS,
    usb=Usb(0x0403, 0x6015),  # FT231X
    programmer="ulx3s",
)
