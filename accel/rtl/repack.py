"""Repack: a stream of so many lanes a beat becomes one of another width, elements in the same order."""

from __future__ import annotations

from math import gcd

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Stream
from accel.graph import GraphError
from accel.rtl.streams import signature


class Repack(wiring.Component):
    """Gateware of a RepackNode: frames of ``source`` leave as frames of ``sink``, other lanes, the same elements.

    The surplus lanes of a frame's last beat are dropped at ``input`` and hold anything at ``output``. Nothing is
    delayed: a beat at ``output`` is valid in the cycle in which its last element is valid at ``input``, and of the two
    streams the one of more beats moves a beat a cycle. A beat at ``input`` that ends several at ``output`` is followed
    by the next one in the cycle after the last of them, or in the very next where those are kept in registers (when
    neither of the two lanes is a multiple of the other).
    """

    def __init__(self, source: Stream, sink: Stream) -> None:
        if source.elements != sink.elements or source.type.width != sink.type.width:
            raise GraphError(f"a repack changes lanes only, so it cannot make {sink} of {source}")
        self.source, self.sink = source, sink
        super().__init__({"input": In(signature(source)), "output": Out(signature(sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        source, sink = self.source, self.sink
        if source.lanes == sink.lanes:
            m.d.comb += [
                self.output.payload.as_value().eq(self.input.payload.as_value()),
                self.output.valid.eq(self.input.valid),
                self.input.ready.eq(self.output.ready),
            ]
        elif source.lanes % sink.lanes == 0:
            self.narrow(m)
        elif sink.lanes % source.lanes == 0 and sink.elements % sink.lanes == 0:
            self.widen(m)
        else:
            self.store(m)
        return m

    def narrow(self, m: Module) -> None:
        """Each beat stands until its parts have been given, one after another."""
        source, sink = self.source, self.sink
        parts = source.lanes // sink.lanes
        part, given = Signal(range(parts)), Signal(range(sink.beats))
        last, ends = Signal(), Signal()  # of the frame, of the beat at the input
        whole = sink.beats == parts * source.beats
        words = self.input.payload.as_value()
        size = sink.lanes * sink.type.width
        m.d.comb += [
            self.output.payload.as_value().eq(Array(words.word_select(i, size) for i in range(parts))[part]),
            self.output.valid.eq(self.input.valid),
            last.eq(0 if whole else given == sink.beats - 1),
            ends.eq(last | (part == parts - 1)),
            self.input.ready.eq(self.output.ready & ends),
        ]
        with m.If(self.input.valid & self.output.ready):
            m.d.sync += [part.eq(part + 1), given.eq(0 if whole else given + 1)]
            with m.If(ends):
                m.d.sync += part.eq(0)
            with m.If(last):
                m.d.sync += given.eq(0)

    def widen(self, m: Module) -> None:
        """All but the last part of a beat wait in a shift register, which needs no choice of places."""
        parts = self.sink.lanes // self.source.lanes
        part, last = Signal(range(parts)), Signal()
        head = self.input.payload.as_value()
        held = Signal((parts - 1) * len(head), reset_less=True)
        m.d.comb += [
            last.eq(part == parts - 1),
            self.output.payload.as_value().eq(Cat(held, head)),
            self.output.valid.eq(self.input.valid & last),
            self.input.ready.eq(self.output.ready | ~last),
        ]
        with m.If(self.input.valid & self.input.ready):
            m.d.sync += [part.eq(Mux(last, 0, part + 1)), held.eq(Cat(held, head)[len(head) :])]

    def store(self, m: Module) -> None:
        """Elements that no beat could take yet wait in registers; what completes a beat passes by them."""
        # Elements move in groups, so that they can come to lie in few places. From here on all counts are in groups.
        lanes = gcd(self.source.lanes, self.sink.lanes)
        group = lanes * self.source.type.width
        taken_beat, given_beat = self.source.lanes // lanes, self.sink.lanes // lanes
        takes, gives = self.source.beats, self.sink.beats
        joins, puts, capacity = _positions(taken_beat, given_beat, takes, gives)

        store = Signal(capacity * group)
        level = Signal(range(capacity + 1))
        taken = Signal(range(takes + 1))
        given = Signal(range(gives))
        head = self.input.payload.as_value()
        beat = self.output.payload.as_value()

        stored = Signal()  # the store has a whole beat, or all that is left of the frame
        joined = Signal()  # the store and the head together have
        m.d.comb += [
            stored.eq((level >= given_beat) | (taken == takes)),
            joined.eq((level + taken_beat >= given_beat) | (taken == takes - 1)),
            self.output.valid.eq(stored | (self.input.valid & joined)),
            self.input.ready.eq(~stored & (self.output.ready | ~joined)),
        ]
        took = self.input.valid & self.input.ready
        gave = self.output.valid & self.output.ready

        with m.If(stored):
            m.d.comb += beat.eq(store)
            with m.If(gave):
                m.d.sync += [store.eq(store >> given_beat * group), level.eq(level - given_beat)]
        with m.Else(), m.Switch(level):
            for n in sorted(joins | puts):
                with m.Case(n):
                    m.d.comb += beat.eq(Cat(store[: n * group], head))
                    if n in joins:
                        with m.If(took & joined):
                            m.d.sync += store.eq(head >> (given_beat - n) * group)
                            m.d.sync += level.eq(max(n + taken_beat - given_beat, 0))
                    if n in puts:
                        with m.If(took & ~joined):
                            m.d.sync += store[n * group : (n + taken_beat) * group].eq(head)
                            m.d.sync += level.eq(n + taken_beat)

        with m.If(took):
            m.d.sync += taken.eq(taken + 1)
        with m.If(gave):
            m.d.sync += given.eq(given + 1)
            with m.If(given == gives - 1):
                m.d.sync += [taken.eq(0), given.eq(0), level.eq(0)]


def _positions(taken_beat: int, given_beat: int, takes: int, gives: int) -> tuple[set[int], set[int], int]:
    """Walk a frame: the levels at which a head completes a beat, at which it is put away, and the highest level."""
    joins: set[int] = set()
    puts: set[int] = set()
    level = taken = given = capacity = 0
    while given < gives:
        if level >= given_beat or taken == takes:
            level, given = max(level - given_beat, 0), given + 1
        elif level + taken_beat >= given_beat or taken == takes - 1:
            joins.add(level)
            level, taken, given = max(level + taken_beat - given_beat, 0), taken + 1, given + 1
        else:
            puts.add(level)
            level, taken = level + taken_beat, taken + 1
        capacity = max(capacity, level)
    return joins, puts, capacity
