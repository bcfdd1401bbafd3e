"""The fork: what leaves one node goes to several."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Stream
from accel.rtl.streams import signature


class Fork(wiring.Component):
    """Each beat of ``input`` once at each of ``branches`` outputs (``output0``, …), in the same cycle or later.

    A branch takes its beat when it likes; ``input`` is ready in the cycle in which the last of them does. Nothing is
    delayed, and nothing but one bit a branch is stored.
    """

    def __init__(self, stream: Stream, branches: int) -> None:
        if branches < 2:
            raise ValueError(f"a fork must have at least two branches, not {branches}")
        self.branches = branches
        outputs = {f"output{i}": Out(signature(stream)) for i in range(branches)}
        super().__init__({"input": In(signature(stream))} | outputs)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        had = Signal(self.branches)  # which branches have taken the beat that stands at the input
        takes = Signal(self.branches)
        for i in range(self.branches):
            branch = getattr(self, f"output{i}")
            m.d.comb += [
                branch.payload.eq(self.input.payload),
                branch.valid.eq(self.input.valid & ~had[i]),
                takes[i].eq(branch.ready | had[i]),
            ]
        m.d.comb += self.input.ready.eq(takes.all())
        with m.If(self.input.valid):
            m.d.sync += had.eq(Cat(take & ~self.input.ready for take in takes))
        return m
