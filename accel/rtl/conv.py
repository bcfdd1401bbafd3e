"""Convolutions: a line buffer, multipliers, accumulators, activation units.

`accel.rtl.window` says what happens in which cycle.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import ConvNode, DepthwiseNode
from accel.dataflow.timing import ACCUMULATE, ADDRESS, window_latency
from accel.rtl.accumulate import Step, accumulator
from accel.rtl.drain import Drain
from accel.rtl.images import ConvPlan
from accel.rtl.multiply import Products
from accel.rtl.rom import rom
from accel.rtl.spread import spread
from accel.rtl.streams import line, signature
from accel.rtl.window import LineBuffer


class SlidingUnit(wiring.Component):
    """What convolutions and depthwise ones have in common, which is all but their sizes."""

    def __init__(self, node: ConvNode | DepthwiseNode, *, tiles: int, groups: int) -> None:
        self.node, self.tiles, self.groups = node, tiles, groups
        self.plan = ConvPlan(node)
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node, plan = self.node, self.plan
        _, each = node.folds
        m.submodules.window = window = LineBuffer(
            node.name,
            node.window,
            node.image,
            node.source,
            reads=plan.reads,
            pad=plan.pad,
            taps=node.taps,
            tiles=self.tiles,
            groups=self.groups,
            capacity=node.capacity,
            buffer=node.buffer,
        )
        wiring.connect(m, wiring.flipped(self.input), window.input)

        m.submodules.products = products = Products(plan)
        index = line(m, "index", window.index, ADDRESS)[-1]
        words, width = plan.weights(), plan.pe * plan.fan_in * plan.weight_type.width
        weights: Value = Const(words[0], width)
        if len(words) > 1:
            weights = rom(m, "weights", words, width, index, style="block" if node.memory == "bram" else "logic")
        m.d.comb += [products.weights.eq(weights), products.x.eq(window.x)]

        latency = window_latency(plan.fan_in)
        m.submodules.drain = drain = Drain(plan, node.sink, latency=latency, interval=each, beats=node.beats)
        finishing = window.issue & window.last
        m.d.comb += [window.blocked.eq(~drain.free), drain.take.eq(finishing), drain.ending.eq(window.ending)]
        control = Cat(window.issue, window.first if each > 1 else Const(1, 1), finishing, window.ending)
        before = line(m, "control", control, latency - ACCUMULATE - 1)[-1]
        for p, (valid, first, finished, ending) in enumerate(spread(m, "step", before, plan.pe)):
            step = Step(valid, first if each > 1 else Const(1, 1), finished, Const(0))
            sums = accumulator(m, f"{p}", products.totals[p], step, drain_row=Const(0), rows=1)
            m.d.comb += drain.sums[p].eq(sums)
            if p == 0:
                m.d.comb += [drain.finished.eq(finished), drain.finished_ending.eq(ending)]
        wiring.connect(m, drain.output, wiring.flipped(self.output))
        return m


class ConvUnit(SlidingUnit):
    """Gateware of a ConvNode. ``input`` and ``output`` are streams; frames may follow each other without a pause."""

    def __init__(self, node: ConvNode) -> None:
        super().__init__(node, tiles=node.folds[0], groups=node.conv.groups)
