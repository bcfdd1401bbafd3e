"""The SoC: a VexRiscv, its memories, the accelerator and its DMA memory, a UART and a timer, put together by LiteX."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Protocol

from litex.gen import LiteXModule
from litex.soc.cores.gpio import GPIOOut
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import wishbone
from migen import READ_FIRST, ClockSignal, If, Instance, Memory, ResetSignal, Signal

from accel import manifest
from accel.rtl.face import ADDR_WIDTH

ROM, SRAM = 0x0000_0000, 0x1000_0000  # where they begin; how large they are is the board's to say
BUFFER = manifest.Memory(base=0x8000_0000, size=0x8000)  # what models are compiled for: the DMA's window
ACCELERATOR = manifest.Memory(base=0x9000_0000, size=4 << ADDR_WIDTH)


class Hardware(Protocol):
    """What the SoC wants to know of the board it is for; `boards.Board` is one."""

    @property
    def clock_hz(self) -> int:
        """The system clock."""

    @property
    def crystal(self) -> tuple[str, float] | None:
        """Port and Hz of the clock from outside; None in simulation."""

    @property
    def signals(self) -> Mapping[str, tuple[str, int]]:
        """Resources of the platform, name and number, for ``life``, ``busy``, ``error``, ``timestamp``, where given."""

    @property
    def cpu(self) -> str:
        """LiteX's variant of the VexRiscv."""

    @property
    def rom(self) -> int:
        """Bytes for the firmware."""

    @property
    def sram(self) -> int:
        """Bytes for the firmware's data and stack."""

    @property
    def uart(self) -> str:
        """LiteX's name for the kind of UART: "serial" on a board, "sim" in simulation."""

    @property
    def baud(self) -> int:
        """Bits a second on the UART's wires after power-up; the firmware may change them."""

    def platform(self) -> Any:
        """A new LiteX platform: device, pins, constraints."""

    def clocking(self, platform: Any) -> Any:
        """A Migen module with the clock domains ``sys`` and ``accelerator``, the latter in step with ``sys``.

        Its signal ``active``, if there is one, is driven: the clock ``accelerator`` may stop while it is low.
        """


class HeadraceSoC(SoCCore):
    """See docs/contracts.md, "The SoC". ``rom`` is the firmware; None leaves it to the simulator."""

    def __init__(self, *, board: Hardware, rom: bytes | None = None) -> None:
        platform = board.platform()
        self.crg = board.clocking(platform)
        super().__init__(
            platform,
            board.clock_hz,
            bus_bursting=True,
            bus_timeout=1000,
            cpu_type="vexriscv",
            cpu_variant=board.cpu,
            cpu_reset_address=ROM,
            integrated_rom_size=0,  # below: the region is larger than the memory need be
            integrated_sram_size=board.sram,
            uart_name=board.uart,
            uart_baudrate=board.baud,
            uart_with_dynamic_baudrate=board.uart != "sim",
            timer_uptime=True,
        )
        self._add_rom(board.rom, rom)
        self.buffer = DualPortMemory(BUFFER.size)
        self.bus.add_slave("buffer", self.buffer.cpu, _region(BUFFER, cached=False))
        self.accelerator = Accelerator(self.buffer.dma)
        self.bus.add_slave("accelerator", self.accelerator.bus, _region(ACCELERATOR, cached=False))
        self.irq.add("accelerator")
        if hasattr(self.crg, "active"):
            self.comb += self.crg.active.eq(self.accelerator.active)
        self._add_signals({name: platform.request(*pin) for name, pin in board.signals.items()})

    def _add_rom(self, size: int, firmware: bytes | None) -> None:
        words = None
        depth = size // 4
        if firmware is not None:
            if not 0 < len(firmware) <= size:
                raise ValueError(f"the firmware has {len(firmware)} bytes; the ROM takes 1 to {size}")
            words = [int.from_bytes(firmware[i : i + 4], "little") for i in range(0, len(firmware), 4)]
            depth = 1 << max(len(words) - 1, 1).bit_length()  # block RAMs come in powers of two
        bus = wishbone.Interface(data_width=32, address_width=32, addressing="word", bursting=True)
        self.rom = wishbone.SRAM(Memory(32, depth, init=words, name="rom"), bus=bus, read_only=True)
        self.bus.add_slave("rom", self.rom.bus, _region(manifest.Memory(ROM, size), cached=True, mode="rx"))

    def _add_signals(self, pins: dict[str, Any]) -> None:
        """What a person and an energy meter see: LEDs, and what the firmware sets by CSRs: an LED and a pin."""
        if "life" in pins:
            beat = Signal(max=round(self.sys_clk_freq))  # about a blink a second
            self.sync += beat.eq(beat + 1)
            self.comb += pins["life"].eq(beat[-1])
        if "busy" in pins:
            rest = Signal(max=round(self.sys_clk_freq / 20))  # an inference is too short to be seen
            self.sync += If(self.accelerator.active, rest.eq(2**rest.nbits - 1)).Elif(rest != 0, rest.eq(rest - 1))
            self.comb += pins["busy"].eq(rest != 0)
        if "error" in pins:
            self.error_led = GPIOOut(pins["error"])
        if "timestamp" in pins:
            self.timestamp = GPIOOut(pins["timestamp"])


class DualPortMemory(LiteXModule):
    """``size`` bytes between the CPU and the accelerator: neither ever waits for the other."""

    def __init__(self, size: int) -> None:
        words = Memory(32, size // 4, name="buffer")
        self.cpu = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        self.dma = wishbone.Interface(data_width=32, address_width=32, addressing="word", bursting=True)
        self.cpu_port = wishbone.SRAM(words, bus=self.cpu)
        self.dma_port = wishbone.SRAM(words, bus=self.dma)
        for port in words.ports:
            port.mode = READ_FIRST  # the mode that block RAMs have on both ports without logic around them


class Accelerator(LiteXModule):
    """The module ``headrace`` (docs/contracts.md) with its registers on ``bus`` and its DMA on ``dma``."""

    def __init__(self, dma: wishbone.Interface) -> None:
        self.bus = bus = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        self.ev = SimpleNamespace(irq=Signal())  # where LiteX looks for an interrupt
        self.active = Signal()
        self.specials += Instance(
            "headrace",
            i_clk=ClockSignal("accelerator"),
            i_rst=ResetSignal("sys"),
            o_irq=self.ev.irq,
            o_active=self.active,
            i_bus__adr=bus.adr[:ADDR_WIDTH],
            **{f"i_bus__{name}": getattr(bus, name) for name in ("dat_w", "sel", "cyc", "stb", "we")},
            **{f"o_bus__{name}": getattr(bus, name) for name in ("dat_r", "ack", "err")},
            **{
                f"o_dma__{name}": getattr(dma, name)
                for name in ("adr", "dat_w", "sel", "cyc", "stb", "we", "cti", "bte")
            },
            **{f"i_dma__{name}": getattr(dma, name) for name in ("dat_r", "ack", "err")},
        )


def _region(memory: manifest.Memory, *, cached: bool, mode: str = "rw") -> SoCRegion:
    return SoCRegion(origin=memory.base, size=memory.size, cached=cached, mode=mode)
