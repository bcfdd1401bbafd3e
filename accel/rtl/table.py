"""Tables, thresholds and requantizations of each element that passes, ``lanes`` a cycle."""

from __future__ import annotations

from math import gcd

import numpy as np
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import TableNode
from accel.dataflow.timing import FETCH
from accel.graph import GraphError, Table
from accel.rtl.activate import Activate, channel_of
from accel.rtl.constants import pack
from accel.rtl.plan import Code
from accel.rtl.rom import rom
from accel.rtl.streams import LendingFIFO, element, flip_sign, line, number, signature


class TableUnit(wiring.Component):
    """Gateware of a TableNode; a beat a cycle, `accel.dataflow.timing.table_beats` after it came.

    Constants repeat with the channels: beat ``b`` uses those of phase ``b % phases``, in which lane ``i`` has channel
    ``(b * lanes + i) % channels``.
    """

    def __init__(self, node: TableNode) -> None:
        if node.source.lanes != node.sink.lanes or node.source.elements != node.sink.elements:
            raise GraphError(f"{node.name}: source and sink must have the same lanes and elements")
        self.node = node
        function, lanes = node.function, node.source.lanes
        self.activate: Activate | None = None
        if isinstance(function, Table):
            self.phases = phases_of(function, lanes)
        else:
            self.activate = Activate(node.name, function, kind=node.source.type, sink=node.sink.type, lanes=lanes)
            self.phases = self.activate.phases
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node = self.node
        beat, phase = Signal(range(node.source.beats)), Signal(range(self.phases))
        latency = FETCH + (self.activate.latency if self.activate else 0)
        m.submodules.results = results = LendingFIFO(
            data.ArrayLayout(element(node.sink.type), node.sink.lanes), latency=latency
        )
        taken = self.input.valid & self.input.ready
        m.d.comb += [
            self.input.ready.eq(results.free),
            results.take.eq(taken),
            results.push.eq(line(m, "valid", taken, latency)[-1]),
        ]
        with m.If(taken):
            m.d.sync += [beat.eq(beat + 1), phase.eq(phase + 1)]
            with m.If(phase == self.phases - 1):
                m.d.sync += phase.eq(0)
            with m.If(beat == node.source.beats - 1):
                m.d.sync += [beat.eq(0), phase.eq(0)]
        if isinstance(node.function, Table):
            values = self.look_up(m, node.function, phase)
        else:
            assert self.activate is not None
            m.submodules.activate = self.activate
            m.d.comb += self.activate.phase.eq(phase)
            for i in range(node.source.lanes):
                held = Signal(node.source.type.width, name=f"x{i}", reset_less=True)
                m.d.sync += held.eq(self.input.payload[i])
                m.d.comb += self.activate.x[i].eq(number(held, node.source.type))
            values = [self.activate.y[i] for i in range(node.source.lanes)]
        m.d.comb += [results.word[i].eq(value) for i, value in enumerate(values)]
        wiring.connect(m, results.output, wiring.flipped(self.output))
        return m

    def look_up(self, m: Module, table: Table, phase: Value) -> list[Value]:
        """A memory a lane, addressed by phase and code."""
        results = []
        for lane in range(self.node.source.lanes):
            address = Cat(flip_sign(self.input.payload[lane], table.source), phase)
            results.append(rom(m, f"lane{lane}", words(self.node, lane), self.node.sink.type.width, address))
        return results


def phases_of(table: Table, lanes: int) -> int:
    """Beats after which the constants repeat."""
    return len(table.values) // gcd(len(table.values), lanes)


def words(node: TableNode, lane: int) -> list[int]:
    """The memory of a lane: the result for each code, phase after phase."""
    table, lanes, out = node.function, node.source.lanes, node.sink.type
    assert isinstance(table, Table)
    code, to = Code.of(table.source), Code.of(out)
    values = np.zeros((len(table.values), 1 << code.width), dtype=np.int64)
    values[:, code.lo : code.hi + 1] = table.values
    values = (values - to.base) // to.step if out.is_bipolar else values
    channels = channel_of(phases_of(table, lanes), lanes, len(values))[:, lane]
    return pack(values[channels].reshape(-1, 1), out.width)
