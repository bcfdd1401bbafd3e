"""TopK: the indices of a frame's largest elements."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import TopKNode
from accel.dataflow.timing import TOPK
from accel.graph import GraphError
from accel.rtl.fifo import wrapped
from accel.rtl.streams import line, number, signature


class TopKUnit(wiring.Component):
    """Gateware of a TopKNode: each element is compared with the best so far, all at once, and put between them.

    An element a cycle; `accel.dataflow.timing.TOPK` cycles after the frame's last one the first index can leave, then
    one a cycle. The last element of the next frame waits until all indices have left.
    """

    def __init__(self, node: TopKNode) -> None:
        if (node.source.lanes, node.sink.lanes) != (1, 1):
            raise GraphError(f"{node.name}: source and sink must have one lane")
        self.node = node
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        source, k = self.node.source, self.node.topk.k
        index = Signal(range(source.elements))
        taken, busy, done = Signal(), Signal(), Signal()
        last = index == source.elements - 1
        m.d.comb += [self.input.ready.eq(~(last & busy)), taken.eq(self.input.valid & self.input.ready)]
        with m.If(taken):
            m.d.sync += index.eq(wrapped(index, source.elements))

        x = number(self.input.payload[0], source.type)
        value, at = Signal(x.shape(), reset_less=True), Signal.like(index, reset_less=True)
        begins = Signal(reset_less=True)
        m.d.sync += [value.eq(x), at.eq(index), begins.eq(index == 0)]
        held = line(m, "held", taken, 1)[-1]
        values = [Signal(x.shape(), name=f"value{i}", reset_less=True) for i in range(k)]
        indices = [Signal.like(index, name=f"index{i}", reset_less=True) for i in range(k)]
        present = Signal(k)
        # those that stay before the new one; where one does, so do all before it
        stays = Signal(k)
        m.d.comb += [stays[i].eq(present[i] & ~begins & (values[i] >= value)) for i in range(k)]
        with m.If(held):
            m.d.sync += present.eq(Mux(begins, 1, Cat(Const(1, 1), present)[:k]))
            for i in range(k):
                with m.If(~stays[i]):
                    comes = stays[i - 1] if i else Const(1)
                    m.d.sync += [
                        values[i].eq(Mux(comes, value, values[i - 1] if i else value)),
                        indices[i].eq(Mux(comes, at, indices[i - 1] if i else at)),
                    ]

        # Out: copied, then shifted.
        copied = line(m, "copied", taken & last, TOPK - 1)[-1]
        left = Signal(range(k + 1))
        leaving = [Signal.like(index, name=f"leaving{i}", reset_less=True) for i in range(k)]
        given = self.output.valid & self.output.ready
        m.d.comb += [
            self.output.valid.eq(left != 0),
            self.output.payload[0].eq(leaving[0]),
            done.eq(given & (left == 1)),
        ]
        with m.If(copied):
            m.d.sync += [left.eq(k), *(to.eq(of) for to, of in zip(leaving, indices, strict=True))]
        with m.Elif(given):
            m.d.sync += [left.eq(left - 1), *(to.eq(of) for to, of in pairwise(leaving))]
        m.d.sync += busy.eq((busy & ~done) | (taken & last))
        return m
