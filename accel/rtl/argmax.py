"""ArgMax: the index of a frame's largest element, the first of equals."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import ArgMaxNode
from accel.dataflow.timing import FETCH
from accel.rtl.streams import LendingFIFO, element, line, signature

Candidate = tuple[Value, Value, Value]
"""Whether it counts, its value, its index."""


class ArgMaxUnit(wiring.Component):
    """Gateware of an ArgMaxNode: the best of a beat's lanes, a register after each round, against the best so far."""

    def __init__(self, node: ArgMaxNode) -> None:
        self.node = node
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node = self.node
        lanes, beats = node.source.lanes, node.source.beats
        latency = FETCH + (lanes - 1).bit_length() + 1
        m.submodules.results = results = LendingFIFO(
            data.ArrayLayout(element(node.sink.type), node.sink.lanes), latency=latency
        )
        beat = Signal(range(beats))
        first, last = beat == 0, beat == beats - 1
        taken = self.input.valid & self.input.ready
        m.d.comb += [self.input.ready.eq(~first | results.free), results.take.eq(taken & first)]
        with m.If(taken):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))

        candidates: list[Candidate] = []
        for i in range(lanes):
            absent = node.source.beats * lanes - node.source.elements >= lanes - i
            candidates.append(
                self.registered(m, f"lane{i}", (~last if absent else Const(1), self.input.payload[i], beat * lanes + i))
            )
        rounds = 0
        while len(candidates) > 1:
            pairs = [candidates[i : i + 2] for i in range(0, len(candidates), 2)]
            candidates = [
                self.registered(m, f"round{rounds}_{i}", best(*pair) if len(pair) == 2 else pair[0])
                for i, pair in enumerate(pairs)
            ]
            rounds += 1
        starts = line(m, "starts", taken & first, FETCH + rounds)[-1]
        valid = line(m, "valid", taken, FETCH + rounds)[-1]
        so_far = [
            Signal.like(v, name=f"best_{n}", reset_less=True)
            for n, v in zip(("valid", "value", "index"), candidates[0], strict=True)
        ]
        so_far_or_none = (so_far[0] & ~starts, so_far[1], so_far[2])
        with m.If(valid):
            m.d.sync += [s.eq(v) for s, v in zip(so_far, best(so_far_or_none, candidates[0]), strict=True)]
        m.d.comb += [results.push.eq(line(m, "ends", taken & last, latency)[-1]), results.word[0].eq(so_far[2])]
        wiring.connect(m, results.output, wiring.flipped(self.output))
        return m

    def registered(self, m: Module, name: str, candidate: Candidate) -> Candidate:
        """The candidate one cycle later."""
        later = (
            Signal(name=f"{name}_valid", reset_less=True),
            Signal(candidate[1].shape(), name=f"{name}_value", reset_less=True),
            Signal(range(self.node.source.elements), name=f"{name}_index", reset_less=True),
        )
        m.d.sync += [s.eq(v) for s, v in zip(later, candidate, strict=True)]
        return later


def best(a: Candidate, b: Candidate) -> Candidate:
    """``a``, unless ``b`` is larger; ``a`` has the smaller index."""
    take_b = b[0] & (~a[0] | (b[1] > a[1]))
    return a[0] | b[0], Mux(take_b, b[1], a[1]), Mux(take_b, b[2], a[2])
