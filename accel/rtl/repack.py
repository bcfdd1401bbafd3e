"""Repack: a stream of so many lanes a beat becomes one of another width, elements in the same order."""

from __future__ import annotations

from math import gcd

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out


class Repack(wiring.Component):
    """Frames of ``elements`` values of ``width`` bits: ``lanes_in`` a beat at ``i``, ``lanes_out`` a beat at ``o``.

    The surplus lanes of a frame's last beat are dropped at ``i`` and hold anything at ``o``. Nothing is delayed: a beat
    at ``o`` is valid in the cycle in which its last element is valid at ``i``.
    """

    def __init__(self, *, elements: int, width: int, lanes_in: int, lanes_out: int) -> None:
        for label, value in (("elements", elements), ("width", width), ("lanes", lanes_in), ("lanes", lanes_out)):
            if value < 1:
                raise ValueError(f"Repack {label} must be a positive integer, not {value}")
        self.elements, self.width, self.lanes_in, self.lanes_out = elements, width, lanes_in, lanes_out
        super().__init__(
            {
                "i": In(stream.Signature(ArrayLayout(unsigned(width), lanes_in))),
                "o": Out(stream.Signature(ArrayLayout(unsigned(width), lanes_out))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.lanes_in == self.lanes_out:
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
            return m

        # Elements move in groups, so that they can come to lie in few places. From here on all counts are in groups.
        lanes = gcd(self.lanes_in, self.lanes_out)
        group = lanes * self.width
        taken_beat, given_beat = self.lanes_in // lanes, self.lanes_out // lanes
        takes, gives = -(-self.elements // self.lanes_in), -(-self.elements // self.lanes_out)
        joins, puts, capacity = _positions(taken_beat, given_beat, takes, gives)

        store = Signal(capacity * group)
        level = Signal(range(capacity + 1))
        taken = Signal(range(takes + 1))
        given = Signal(range(gives))
        head = self.i.payload.as_value()
        beat = self.o.payload.as_value()

        stored = Signal()  # the store has a whole beat, or all that is left of the frame
        joined = Signal()  # the store and the head together have
        m.d.comb += [
            stored.eq((level >= given_beat) | (taken == takes)),
            joined.eq((level + taken_beat >= given_beat) | (taken == takes - 1)),
            self.o.valid.eq(stored | (self.i.valid & joined)),
            self.i.ready.eq(~stored & (self.o.ready | ~joined)),
        ]
        took = self.i.valid & self.i.ready
        gave = self.o.valid & self.o.ready

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
        return m


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
