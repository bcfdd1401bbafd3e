"""Table and threshold functions of each element that passes, ``lanes`` a cycle."""

from __future__ import annotations

from math import gcd

import numpy as np
from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import TableNode
from accel.dataflow.timing import unit, unit_latency_alone
from accel.graph import GraphError, Table, Threshold
from accel.rtl.array import line
from accel.rtl.images import Code, ThresholdImage, pack, signed_width, upright
from accel.rtl.rom import rom
from accel.rtl.streams import LendingFIFO, element, flip_sign, signature
from accel.rtl.threshold import ParallelThreshold, SearchThreshold, ThresholdUnit


class TableUnit(wiring.Component):
    """Gateware of a TableNode.

    Constants repeat with the channels: beat ``b`` uses those of phase ``b % phases``, in which lane ``i`` has channel
    ``(b * lanes + i) % channels``.
    """

    def __init__(self, node: TableNode) -> None:
        if node.source.lanes != node.sink.lanes or node.source.elements != node.sink.elements:
            raise GraphError(f"{node.name}: source and sink must have the same lanes and elements")
        self.node = node
        function = node.function
        self.channels = len(function.values) if isinstance(function, Table) else len(function.thresholds)
        self.phases = self.channels // gcd(self.channels, node.source.lanes)
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node = self.node
        beat, phase = Signal(range(node.source.beats)), Signal(range(self.phases))
        latency = 1 if isinstance(node.function, Table) else 1 + unit_latency_alone(node.function)
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
        values = self.look_up(m, node.function, phase) if isinstance(node.function, Table) else self.compare(m, phase)
        m.d.comb += [results.word[i].eq(value) for i, value in enumerate(values)]
        wiring.connect(m, results.output, wiring.flipped(self.output))
        return m

    def channel(self) -> np.ndarray:
        """The channel of each phase and lane, shape (phases, lanes)."""
        lanes = self.node.source.lanes
        return (np.arange(self.phases)[:, None] * lanes + np.arange(lanes)) % self.channels

    def look_up(self, m: Module, table: Table, phase: Value) -> list[Value]:
        """A memory a lane, addressed by phase and code."""
        code, out = Code.of(table.source), self.node.sink.type
        values = np.zeros((self.channels, 1 << code.width), dtype=np.int64)
        values[:, code.lo : code.hi + 1] = table.values
        values = (values - Code.of(out).base) // Code.of(out).step if out.is_bipolar else values
        results = []
        for lane, channels in enumerate(self.channel().T):
            words = pack(values[channels].reshape(-1, 1), out.width)
            address = Cat(flip_sign(self.input.payload[lane], table.source), phase)
            results.append(rom(m, f"lane{lane}", words, out.width, address))
        return results

    def compare(self, m: Module, phase: Value) -> list[Value]:
        """A threshold unit on the elements themselves."""
        node, function = self.node, self.node.function
        assert isinstance(function, Threshold)
        type, out = node.source.type, node.sink.type
        lo, hi = type.lo, type.hi + 1
        if function.falling.any():
            lo, hi = min(lo, -hi), max(hi, -lo)
        width = signed_width(lo, hi)
        search = unit(function) == "search"
        steps = max(function.thresholds.shape[1], 1)
        steps = (1 << steps.bit_length()) - 1 if search else steps
        falling = np.asarray(function.falling, dtype=bool)
        bounded = np.clip(function.thresholds, type.lo, type.hi + 1)
        rows = upright(bounded, falling, steps=steps, never=(1 << (width - 1)) - 1)
        image = ThresholdImage(rows[self.channel()], falling[self.channel()], width)
        unit_: ThresholdUnit = SearchThreshold(image) if search else ParallelThreshold(image)
        m.submodules.thresholds = unit_
        m.d.comb += unit_.address.eq(phase)
        results: list[Value] = []
        for i in range(node.source.lanes):
            x = self.input.payload[i]
            held = Signal(x.shape(), name=f"x{i}", reset_less=True)
            m.d.sync += held.eq(x)
            m.d.comb += unit_.x[i].eq((held << 1) - 1 if type.is_bipolar else held)
            offset = (function.out.lo - Code.of(out).base) // Code.of(out).step
            bits = Signal(out.width, name=f"y{i}")
            m.d.comb += bits.eq(unit_.y[i] + Const(offset))
            results.append(flip_sign(bits, out))
        return results
