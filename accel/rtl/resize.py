"""Pad and Upsample: images made larger as they pass."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import PadNode, UpsampleNode
from accel.dataflow.timing import FETCH, in_block_ram
from accel.graph import GraphError
from accel.rtl.fifo import wrapped
from accel.rtl.streams import LendingFIFO, constant, converted, element, line, signature


def check_lanes(node: PadNode | UpsampleNode) -> None:
    """Raises GraphError where the lanes change on the way, or a beat has parts of two pixels."""
    if node.source.lanes != node.sink.lanes or node.image.channels % node.source.lanes:
        raise GraphError(f"{node.name}: source and sink must have the same lanes, which divide the channels")


class PadUnit(wiring.Component):
    """Gateware of a PadNode.

    A frame begins in the cycle in which its first beat is offered (and not before, so that a core without work is at
    rest): the border above, then each row between its borders, a beat a cycle. A beat of the image leaves in the cycle
    in which it is taken; nothing is stored.
    """

    def __init__(self, node: PadNode) -> None:
        check_lanes(node)
        self.node = node
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node, sink = self.node, self.node.sink
        top, left, bottom, right = node.pad.pads
        height, width = node.image.height, node.image.width
        each = node.image.channels // sink.lanes
        columns, rows = (left + width + right) * each, top + height + bottom
        column, row = Signal(range(columns)), Signal(range(rows))
        inside, begins = Signal(), Signal()
        m.d.comb += [
            inside.eq((row >= top) & (row < top + height) & (column >= left * each) & (column < (left + width) * each)),
            begins.eq((row == 0) & (column == 0)),
            self.output.valid.eq(self.input.valid | ~(inside | begins)),
            self.input.ready.eq(self.output.ready & inside),
        ]
        border = constant(node.pad.value, sink.type)
        for i in range(sink.lanes):
            value = converted(self.input.payload[i], node.source.type, sink.type)
            m.d.comb += self.output.payload[i].eq(Mux(inside, value, border))
        with m.If(self.output.valid & self.output.ready):
            m.d.sync += column.eq(column + 1)
            with m.If(column == columns - 1):
                m.d.sync += [column.eq(0), row.eq(wrapped(row, rows))]
        return m


class UpsampleUnit(wiring.Component):
    """Gateware of an UpsampleNode: a memory of one row, in block RAM when `in_block_ram` says so.

    Beats are written as they come while there is room. Those of the output are read in order, a beat a cycle, each as
    soon as it has been written: `accel.dataflow.timing.UPSAMPLE` cycles after it was taken it can leave. In the last
    of the rows that are made of one, a beat gives up its place when it is read for the last time, and the next row is
    written behind it. Full rate with rows of two beats or more.
    """

    def __init__(self, node: UpsampleNode) -> None:
        check_lanes(node)
        self.node = node
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node, stream = self.node, self.node.source
        again_rows, again_columns = node.upsample.factors
        each = node.image.channels // stream.lanes
        places = node.image.width * each
        m.submodules.results = results = LendingFIFO(
            data.ArrayLayout(element(stream.type), stream.lanes), latency=FETCH
        )

        # What is held: all beats of the row that have come, less those that were read for the last time.
        level, write = Signal(range(places + 1)), Signal(range(places))
        taken, read, freed = Signal(), Signal(), Signal()
        m.d.comb += [self.input.ready.eq(level != places), taken.eq(self.input.valid & self.input.ready)]
        m.d.sync += level.eq(level + taken - freed)
        with m.If(taken):
            m.d.sync += write.eq(wrapped(write, places))

        # ``pixel`` is the place of the pixel's first beat; ``behind`` the number of held beats before the one to read.
        pixel, beat = Signal(range(places)), Signal(range(each))
        column, row = Signal(range(again_columns)), Signal(range(again_rows))
        beat_last, column_last, row_last = beat == each - 1, column == again_columns - 1, row == again_rows - 1
        behind = Signal(range(places + 1))
        m.d.comb += [
            behind.eq(Mux(row_last, Mux(column_last, 0, beat), pixel + beat)),
            read.eq((level > behind) & results.free),
            freed.eq(read & row_last & column_last),
        ]
        with m.If(read):
            m.d.sync += beat.eq(wrapped(beat, each))
            with m.If(beat_last):
                m.d.sync += column.eq(wrapped(column, again_columns))
                with m.If(column_last):
                    m.d.sync += pixel.eq(pixel + each)
                    with m.If(pixel == places - each):
                        m.d.sync += [pixel.eq(0), row.eq(wrapped(row, again_rows))]

        width = stream.lanes * stream.type.width
        style = "block" if in_block_ram(places, width) else "distributed"
        m.submodules.row = memory = Memory(shape=width, depth=places, init=[], attrs={"ram_style": style})
        write_port, read_port = memory.write_port(), memory.read_port()
        m.d.comb += [
            write_port.addr.eq(write),
            write_port.data.eq(self.input.payload.as_value()),
            write_port.en.eq(taken),
            read_port.addr.eq(pixel + beat),
            results.take.eq(read),
            results.push.eq(line(m, "read", read, FETCH)[-1]),
            results.word.as_value().eq(read_port.data),
        ]
        wiring.connect(m, results.output, wiring.flipped(self.output))
        return m
