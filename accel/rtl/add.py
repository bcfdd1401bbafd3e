"""The weighted sum of two streams, and the activation behind it."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import AddNode
from accel.dataflow.timing import add_stages, signed_digits
from accel.graph import GraphError
from accel.rtl.activate import Activate
from accel.rtl.multiply import Bounded, add_up
from accel.rtl.streams import LendingFIFO, element, line, number, signature


class AddUnit(wiring.Component):
    """Gateware of an AddNode, with streams ``input0``, ``input1`` and ``output``.

    A beat of each input is taken in the same cycle, when both are there and the FIFO behind has room for what becomes
    of them; `accel.dataflow.timing.add_latency` cycles later the output beat is there. A beat a cycle. A factor is a
    sum of shifts, so the weighted sum is one adder tree over all of them, registered as those of an array are.
    """

    def __init__(self, node: AddNode) -> None:
        if len({(s.lanes, s.elements) for s in (*node.sources, node.sink)}) != 1:
            raise GraphError(f"{node.name}: all its streams must have the same lanes and elements")
        self.node = node
        kind = node.add.bounds(node.first.type, node.second.type)
        self.activate = Activate(node.name, node.activation, kind=kind, sink=node.sink.type, lanes=node.sink.lanes)
        inputs = {f"input{i}": In(signature(source)) for i, source in enumerate(node.sources)}
        super().__init__(inputs | {"output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node, lanes, stages = self.node, self.node.sink.lanes, add_stages(self.node.add)
        inputs = (self.input0, self.input1)
        m.submodules.activate = activate = self.activate
        latency = stages + activate.latency
        m.submodules.results = results = LendingFIFO(data.ArrayLayout(element(node.sink.type), lanes), latency=latency)
        beat, phase = Signal(range(node.sink.beats)), Signal(range(activate.phases))
        taken = Signal()
        m.d.comb += [
            taken.eq(inputs[0].valid & inputs[1].valid & results.free),
            *(port.ready.eq(taken) for port in inputs),
            results.take.eq(taken),
            results.push.eq(line(m, "valid", taken, latency)[-1]),
        ]
        with m.If(taken):
            m.d.sync += [beat.eq(beat + 1), phase.eq(Mux(phase == activate.phases - 1, 0, phase + 1))]
            with m.If(beat == node.sink.beats - 1):
                m.d.sync += [beat.eq(0), phase.eq(0)]
        delayed = phase
        for stage in range(stages - 1):
            later = Signal.like(phase, name=f"phase{stage}", reset_less=True)
            m.d.sync += later.eq(delayed)
            delayed = later
        m.d.comb += activate.phase.eq(delayed)

        for i in range(lanes):
            terms: list[Bounded] = []
            for port, source, factor in zip(inputs, node.sources, node.add.multipliers, strict=True):
                x, kind = number(port.payload[i], source.type), source.type
                for sign, shift in signed_digits(factor):
                    lo, hi = sorted((sign * kind.lo << shift, sign * kind.hi << shift))
                    terms.append(((x if sign > 0 else -x) << shift, lo, hi))
            terms = terms or [(Const(0), 0, 0)]
            for stage in range(stages):
                terms = add_up(m, terms, f"sum{i}_{stage}")
            m.d.comb += activate.x[i].eq(terms[0][0])
        m.d.comb += results.word.eq(activate.y)
        wiring.connect(m, results.output, wiring.flipped(self.output))
        return m
