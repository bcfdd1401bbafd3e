"""The accelerator alone in an FPGA, for the clock that it reaches: three pins, and flip-flops at all its ports."""

from __future__ import annotations

from pathlib import Path

from litex.gen import LiteXModule
from litex.soc.interconnect import wishbone
from migen import Cat, ClockDomain, If, ResetSignal, Signal

from soc.constraints import FORMATS, constraints
from soc.generate import gateware, unsigned
from soc.soc import Accelerator, Hardware

TOP = "alone"


class Alone(LiteXModule):
    """The module ``headrace`` between two shift registers, on the pins of the board's serial port and of its crystal.

    What shifts in is on all inputs, the reset among them; all outputs are taken over whenever the last input is high,
    and shifted out. Nothing can be left out as unused, and no path leads through a pad.
    """

    def __init__(self, board: Hardware) -> None:
        if board.crystal is None:
            raise ValueError("the simulated board has no place and route; choose one with an FPGA")
        self.platform = board.platform()
        serial = self.platform.request("serial")
        self.cd_sys = ClockDomain()
        self.cd_accelerator = ClockDomain(reset_less=True)
        clock = self.platform.request(board.crystal[0])
        self.comb += [self.cd_sys.clk.eq(clock), self.cd_accelerator.clk.eq(clock)]
        dma = wishbone.Interface(data_width=32, address_width=32, addressing="word", bursting=True)
        self.accelerator = Accelerator(dma)
        bus = self.accelerator.bus
        inputs = [bus.adr, bus.dat_w, bus.sel, bus.cyc, bus.stb, bus.we, dma.dat_r, dma.ack, dma.err]
        outputs = [bus.dat_r, bus.ack, bus.err, self.accelerator.ev.irq, self.accelerator.active]
        outputs += [dma.adr, dma.dat_w, dma.sel, dma.cyc, dma.stb, dma.we, dma.cti, dma.bte]
        shifted = Signal(sum(map(len, inputs)) + 1)
        seen, held = Signal(sum(map(len, outputs))), Signal(sum(map(len, outputs)))
        self.comb += [Cat(*inputs).eq(shifted), ResetSignal("sys").eq(shifted[-1])]
        self.sync.accelerator += [
            shifted.eq(Cat(serial.rx, shifted)),
            seen.eq(Cat(*outputs)),
            If(shifted[-2], held.eq(seen)).Else(held.eq(held[1:])),
            serial.tx.eq(held[0]),
        ]


def generate_alone(out_dir: Path, *, board: Hardware, accelerator: Path, clock_hz: float) -> Path:
    """Write ``out_dir / "alone.v"``, which is returned, and its constraints, alone.xdc or alone.lpf.

    ``accelerator`` is the Verilog file of the module ``headrace``; ``clock_hz`` is required of the clock. Raises
    ValueError for a board without wires.
    """
    design = Alone(board)
    design.finalize()
    assert board.crystal is not None
    family = design.platform.device_family
    verilog = design.platform.get_verilog(design, name=TOP)
    pins = constraints(design.platform, verilog.ns, crystal=(board.crystal[0], clock_hz))
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / f"{TOP}.{FORMATS[family]}").write_text(unsigned(pins))
    path = out_dir / f"{TOP}.v"
    path.write_text(unsigned("\n".join([verilog.main_source, gateware(accelerator, family)])))
    return path
