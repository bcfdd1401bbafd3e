"""The FIFO of a link: any number of beats, in LUTs or in block RAM."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Stream
from accel.dataflow.timing import in_block_ram
from accel.rtl.streams import signature


class StreamFIFO(wiring.Component):
    """A FIFO of ``depth`` beats, at least one.

    ``input.ready`` is high in a cycle before which fewer than ``depth`` beats were held: a full FIFO takes none in the
    cycle in which it gives one. A beat can be taken from the cycle after it was written on; from the second cycle on
    when the memory is block RAM, which `accel.dataflow.timing.in_block_ram` decides. ``level`` is the number of beats
    held.
    """

    def __init__(self, stream: Stream, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"FIFO depth must be a positive integer, not {depth}")
        self.stream, self.depth = stream, depth
        self.width = stream.lanes * stream.type.width
        super().__init__(
            {"input": In(signature(stream)), "output": Out(signature(stream)), "level": Out(range(depth + 1))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth, block = self.depth, in_block_ram(self.depth, self.width)
        write, read = Signal(range(depth)), Signal(range(depth))
        taken, given = self.input.valid & self.input.ready, self.output.valid & self.output.ready
        m.d.comb += self.input.ready.eq(self.level != depth)
        m.d.sync += self.level.eq(self.level + taken - given)
        after = Signal(range(depth))
        m.d.comb += after.eq(Mux(given, wrapped(read, depth), read))
        m.d.sync += read.eq(after)
        with m.If(taken):
            m.d.sync += write.eq(wrapped(write, depth))

        style = "block" if block else "distributed"
        m.submodules.memory = memory = Memory(shape=self.width, depth=depth, init=[], attrs={"ram_style": style})
        port = memory.write_port()
        m.d.comb += [port.addr.eq(write), port.data.eq(self.input.payload.as_value()), port.en.eq(taken)]
        if block:
            # what is written in a cycle cannot be read in it, so it is shown one cycle later
            source = memory.read_port()
            shown = Signal(range(depth + 1))
            m.d.sync += shown.eq(self.level - given)
            m.d.comb += [source.addr.eq(after), self.output.valid.eq(shown != 0)]
        else:
            source = memory.read_port(domain="comb")
            m.d.comb += [source.addr.eq(read), self.output.valid.eq(self.level != 0)]
        m.d.comb += self.output.payload.as_value().eq(source.data)
        return m


def wrapped(index: Signal, count: int) -> Value:
    """The next index of ``count`` places."""
    return Mux(index == count - 1, 0, index + 1)[: len(index)]
