"""Concat: streams side by side along their channels."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import ConcatNode
from accel.graph import GraphError
from accel.rtl.streams import converted, signature


class ConcatUnit(wiring.Component):
    """Gateware of a ConcatNode, with streams ``input0``, ``input1``, … and ``output``.

    Of each pixel the inputs' channels pass in turn. Nothing is delayed and nothing is stored: a beat leaves in the
    cycle in which it is taken from the input whose turn it is.
    """

    def __init__(self, node: ConcatNode) -> None:
        lanes = node.sink.lanes
        if any(s.lanes != lanes for s in node.sources) or any(c % lanes for c in node.channels):
            raise GraphError(f"{node.name}: all its streams must have the same lanes, which divide their channels")
        self.node = node
        inputs = {f"input{i}": In(signature(source)) for i, source in enumerate(node.sources)}
        super().__init__(inputs | {"output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node, sink = self.node, self.node.sink
        beats = [channels // sink.lanes for channels in node.channels]
        turn, beat = Signal(range(len(beats))), Signal(range(max(beats)))
        last = Signal()
        with m.Switch(turn):
            for i, (source, count) in enumerate(zip(node.sources, beats, strict=True)):
                port = getattr(self, f"input{i}")
                with m.Case(i):
                    m.d.comb += [
                        *(
                            self.output.payload[k].eq(converted(port.payload[k], source.type, sink.type))
                            for k in range(sink.lanes)
                        ),
                        self.output.valid.eq(port.valid),
                        port.ready.eq(self.output.ready),
                        last.eq(beat == count - 1),
                    ]
        with m.If(self.output.valid & self.output.ready):
            m.d.sync += beat.eq(beat + 1)
            with m.If(last):
                m.d.sync += [beat.eq(0), turn.eq(Mux(turn == len(beats) - 1, 0, turn + 1))]
        return m
