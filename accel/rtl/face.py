"""The face of the accelerator: registers and DMA around a stream core (docs/contracts.md, "The module `headrace`")."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, ResetSignal, Signal, Value
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Stream
from accel.graph import IntType
from accel.manifest import input_bytes, output_bytes
from accel.rtl import wishbone
from accel.rtl.counters import StallCounters
from accel.rtl.dma import Dma
from accel.rtl.repack import Repack

MAGIC = 0x31445248  # "HRD1"
ADDR_WIDTH = 10  # the registers take 4 KiB of the bus
LINGER = 31  # cycles that `active` outlasts the last activity, for a core that tidies up


class Error(enum.IntEnum):
    """What the register ERROR says."""

    NONE = 0
    BUSY = 1
    HASH = 2
    SOURCE = 3
    DESTINATION = 4
    READ = 5
    WRITE = 6


class Register(enum.IntEnum):
    """Word addresses; from COUNTERS on there are two a stream: STARVED and BLOCKED."""

    MAGIC = 0
    HASH = 1
    START = 2
    STATUS = 3
    ERROR = 4
    CLEAR = 5
    SOURCE = 6
    DESTINATION = 7
    IRQ_ENABLE = 8
    CYCLES = 9
    CORE_CYCLES = 10
    SOURCE_BYTES = 11
    DESTINATION_BYTES = 12
    STREAMS = 13
    COUNTERS = 16


class StreamCore(Protocol):
    """What Face wants of a core; `accel.rtl.core.Core` says what it means."""

    input: Any
    output: Any
    clear: Any
    monitor: Any


class Face(wiring.Component):
    """Registers (``bus``, a classic slave) and DMA (``dma``, a master of bursts) around ``core``.

    ``source`` and ``sink`` are the core's streams. DMA is allowed in the ``memory_size`` bytes from ``memory_base``.
    ``irq`` is a level. While ``active`` is low, nothing but a request on ``bus`` changes a register, so the clock may
    be stopped; ``active`` is combinational in ``bus.cyc`` and the reset.
    Raises ValueError for what does not fit memory, words or registers.
    """

    def __init__(
        self, core: StreamCore, *, source: Stream, sink: Stream, hash_value: int, memory_base: int, memory_size: int
    ) -> None:
        self.core, self.source, self.sink = core, source, sink
        self.hash_value, self.memory_base, self.memory_size = hash_value, memory_base, memory_size
        self.element_bytes = input_bytes(source.type)
        self.result_bytes = output_bytes(sink.type)
        self.source_bytes = source.elements * self.element_bytes
        self.sink_bytes = sink.elements * self.result_bytes
        self.streams = len(core.monitor)
        if not 0 <= hash_value < 1 << 32:
            raise ValueError(f"the model's hash must have 32 bits, not {hash_value:#x}")
        if memory_base % 4 or memory_size % 4 or not 0 <= memory_base < memory_base + memory_size <= 1 << 32:
            raise ValueError(f"DMA memory must be 32-bit words, not {memory_size} bytes at {memory_base:#x}")
        for label, size in (("input", self.source_bytes), ("output", self.sink_bytes)):
            if size > memory_size:
                raise ValueError(f"an {label} of {size} bytes does not fit the DMA memory of {memory_size} bytes")
        if sink.type.width > 32:
            raise ValueError(f"an output of type {sink.type} does not fit a 32-bit word")
        if Register.COUNTERS + 2 * self.streams > 1 << ADDR_WIDTH:
            raise ValueError(
                f"at most {((1 << ADDR_WIDTH) - Register.COUNTERS) // 2} streams can be counted, not {self.streams}"
            )
        super().__init__(
            {
                "bus": In(wishbone.Signature(addr_width=ADDR_WIDTH)),
                "dma": Out(wishbone.Signature(addr_width=30, burst=True)),
                "irq": Out(1),
                "active": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        source, sink, core, bus = self.source, self.sink, self.core, self.bus

        # Memory to core to memory. All of it starts afresh after an abort or a bus error.
        m.submodules.core = core
        path = Module()
        path.submodules.dma = dma = Dma(read_words=-(-self.source_bytes // 4), write_words=-(-self.sink_bytes // 4))
        path.submodules.unpack = unpack = Repack(replace(source, lanes=4 // self.element_bytes), source)
        path.submodules.pack = pack = Repack(sink, replace(sink, lanes=4 // self.result_bytes))
        path.d.comb += [
            unpack.input.payload.as_value().eq(_elements(dma.o.payload, source.type, self.element_bytes)),
            unpack.input.valid.eq(dma.o.valid),
            dma.o.ready.eq(unpack.input.ready),
            core.input.payload.as_value().eq(unpack.output.payload.as_value()),
            core.input.valid.eq(unpack.output.valid),
            unpack.output.ready.eq(core.input.ready),
            pack.input.payload.as_value().eq(core.output.payload.as_value()),
            pack.input.valid.eq(core.output.valid),
            core.output.ready.eq(pack.input.ready),
            dma.i.payload.eq(Cat(_result(lane, sink.type, self.result_bytes) for lane in pack.output.payload)),
            dma.i.valid.eq(pack.output.valid),
            pack.output.ready.eq(dma.i.ready),
        ]
        # Registered, as it goes everywhere: what comes from the bus is late already.
        flush, flushing = Signal(), Signal()
        m.d.sync += flushing.eq(flush)
        m.submodules.path = ResetInserter(flushing)(path)
        m.d.comb += core.clear.eq(flushing)
        wiring.connect(m, dma.bus, wiring.flipped(self.dma))

        # Registers
        busy, done, irq_enable = Signal(), Signal(), Signal()
        error = Signal(Error)
        source_at, destination_at = Signal(32), Signal(32)
        cycles, core_cycles = Signal(32), Signal(32)
        readable: dict[int, Value | int] = {
            Register.MAGIC: MAGIC,
            Register.HASH: self.hash_value,
            Register.STATUS: Cat(busy, done, error != Error.NONE),
            Register.ERROR: error,
            Register.SOURCE: source_at,
            Register.DESTINATION: destination_at,
            Register.IRQ_ENABLE: irq_enable,
            Register.CYCLES: cycles,
            Register.CORE_CYCLES: core_cycles,
            Register.SOURCE_BYTES: self.source_bytes,
            Register.DESTINATION_BYTES: self.sink_bytes,
            Register.STREAMS: self.streams,
        }
        m.submodules.counters = counters = StallCounters(self.streams)
        strobe, counter, visited, looked_up = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            strobe.eq(bus.cyc & bus.stb & ~bus.ack & ~visited & ~looked_up),
            counter.eq((bus.adr >= Register.COUNTERS) & (bus.adr < Register.COUNTERS + 2 * self.streams)),
            counters.read.eq(strobe & counter),
            counters.stream.eq((bus.adr - Register.COUNTERS)[1:]),
        ]
        # counters are looked up first, which takes two cycles
        m.d.sync += [visited.eq(strobe & counter), looked_up.eq(visited), bus.ack.eq((strobe & ~counter) | looked_up)]
        with m.If(looked_up):
            m.d.sync += bus.dat_r.eq(Mux(bus.adr[0], counters.blocked, counters.starved))
        with m.If(strobe):
            m.d.sync += bus.dat_r.eq(0)
            with m.Switch(bus.adr):
                for address, value in readable.items():
                    with m.Case(address):
                        m.d.sync += bus.dat_r.eq(value)

        # A start is taken up in the cycle after its write, when the hash has been compared: it goes far, too.
        start, asked, meant, clear = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [start.eq(asked), meant.eq(bus.dat_w == self.hash_value)]
        with m.If(strobe & bus.we), m.Switch(bus.adr):
            with m.Case(Register.START):
                m.d.comb += asked.eq(1)
            with m.Case(Register.CLEAR):
                m.d.comb += clear.eq(bus.dat_w[0] | bus.dat_w[1])
                m.d.comb += flush.eq(bus.dat_w[1])
            with m.Case(Register.SOURCE):
                m.d.sync += source_at.eq(bus.dat_w)
            with m.Case(Register.DESTINATION):
                m.d.sync += destination_at.eq(bus.dat_w)
            with m.Case(Register.IRQ_ENABLE):
                m.d.sync += irq_enable.eq(bus.dat_w[0])

        m.d.comb += self.irq.eq(irq_enable & ~busy & ~start & (done | (error != Error.NONE)))

        # An address is checked in the cycle after its register was written, which is before the next strobe can come.
        source_good, destination_good = Signal(), Signal()
        m.d.sync += source_good.eq(self._inside(source_at, self.source_bytes))
        m.d.sync += destination_good.eq(self._inside(destination_at, self.sink_bytes))

        # Start and end. Of two things in one cycle the later in this list wins: an end is not lost to a clear.
        untaken = Signal(range(source.beats + 1))  # beats that the core has not taken yet
        took, gave = core.input.valid & core.input.ready, core.output.valid & core.output.ready
        m.d.comb += [dma.source.eq(source_at[2:]), dma.destination.eq(destination_at[2:])]
        with m.If(busy):
            m.d.sync += cycles.eq(cycles + 1)
        with m.If(took & (untaken != 0)):
            m.d.sync += untaken.eq(untaken - 1)
        with m.If(clear):
            m.d.sync += [done.eq(0), error.eq(Error.NONE)]
        with m.If(start & busy):
            m.d.sync += error.eq(Mux(error == Error.NONE, Error.BUSY, error))
        with m.Elif(start):
            m.d.sync += [done.eq(0), error.eq(Error.NONE)]
            with m.If(~meant):
                m.d.sync += error.eq(Error.HASH)
            with m.Elif(~source_good):
                m.d.sync += error.eq(Error.SOURCE)
            with m.Elif(~destination_good):
                m.d.sync += error.eq(Error.DESTINATION)
            with m.Else():
                m.d.comb += dma.start.eq(1)
                m.d.sync += [busy.eq(1), untaken.eq(source.beats)]
                m.d.sync += cycles.eq(2)  # that of the write, and this one
        with m.If(busy & dma.done & (untaken == 0)):
            m.d.sync += [busy.eq(0), done.eq(1)]
        with m.If(dma.read_error | dma.write_error):
            m.d.comb += flush.eq(1)
            cause = Mux(dma.read_error, Error.READ, Error.WRITE)
            m.d.sync += error.eq(Mux(error == Error.NONE, cause, error))
        with m.If(flushing):
            m.d.sync += [busy.eq(0), done.eq(0)]

        core_time, core_runs = Signal(32), Signal()  # since the cycle after the first input beat
        with m.If(busy):
            m.d.sync += [core_runs.eq(core_runs | took), core_time.eq(core_time + core_runs)]
            with m.If(gave):
                m.d.sync += core_cycles.eq(core_time + 2)
        with m.If(dma.start):
            m.d.sync += [signal.eq(0) for signal in (core_runs, core_time, core_cycles)]
        m.d.comb += [
            counters.monitor.eq(core.monitor),
            counters.count.eq(busy),
            counters.clear.eq(dma.start),
        ]

        linger = Signal(range(LINGER + 1))
        m.d.comb += self.active.eq(ResetSignal() | bus.cyc | bus.ack | busy | (linger != 0))
        with m.If(busy | flush | flushing):
            m.d.sync += linger.eq(LINGER)
        with m.Elif(linger != 0):
            m.d.sync += linger.eq(linger - 1)
        return m

    def _inside(self, address: Value, size: int) -> Value:
        """Whether the words of ``size`` bytes at ``address`` are aligned and all inside the memory of the DMA."""
        offset = (address - self.memory_base)[:32]
        return (address[:2] == 0) & (offset <= self.memory_size - (-(-size // 4) * 4))


def _elements(word: Value, kind: IntType, element_bytes: int) -> Value:
    """The elements in a word of memory, each as wide as a lane."""
    parts = [word.word_select(i, 8 * element_bytes) for i in range(4 // element_bytes)]
    return Cat(~part[-1] if kind.is_bipolar else part[: kind.width] for part in parts)


def _result(lane: Value, kind: IntType, result_bytes: int) -> Value:
    """The byte or the word in memory for one output element."""
    bits = 8 * result_bytes
    if kind.is_bipolar:
        return Cat(Const(1, 1), (~lane[0]).replicate(bits - 1))
    sign = lane[-1] if kind.signed else Const(0)
    return Cat(lane, sign.replicate(bits - len(lane)))
