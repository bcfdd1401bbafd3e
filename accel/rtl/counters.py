"""Stall counters: for each stream, cycles with ready and no valid, and cycles with valid and no ready."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.rtl.fifo import wrapped

WIDTH = 32


class StallCounters(wiring.Component):
    """Two exact counters of 32 bits a stream, ``starved`` and ``blocked``, in one memory of LUTs.

    Each cycle one stream is visited, in turn: what its small counters (which count since its last visit) hold is added
    to its words of memory in the cycle after. They need no more bits than there are cycles between two visits.

    Cycles count while ``count`` is high; ``clear`` sets all counters to zero, and wins. ``read`` names a ``stream`` in
    one cycle, whose visit the next cycle is; in the one after that ``starved`` and ``blocked`` hold all that was
    counted before the visit. At most one cycle in two may have a ``read``. Nothing changes in cycles without ``count``,
    ``clear`` and ``read``, but for the three after them.

    Streams lie all over the device, so what they do is registered before it is counted.
    """

    def __init__(self, streams: int) -> None:
        if streams < 1:
            raise ValueError(f"there must be a positive number of streams to count, not {streams}")
        self.streams = streams
        state = data.StructLayout({"valid": 1, "ready": 1})
        super().__init__(
            {
                "monitor": In(data.ArrayLayout(state, streams)),
                "count": In(1),
                "clear": In(1),
                "read": In(1),
                "stream": In(range(streams)),
                "starved": Out(WIDTH),
                "blocked": Out(WIDTH),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count, clear = Signal(), Signal()
        m.d.sync += [count.eq(self.count), clear.eq(self.clear)]
        turn, visited = Signal(range(self.streams)), Signal(range(self.streams))
        with m.If(self.read):
            m.d.sync += visited.eq(self.stream)
        with m.Elif(count):
            m.d.sync += [visited.eq(turn), turn.eq(wrapped(turn, self.streams))]

        old = Signal(self.streams)  # the word in memory is of the time before `clear`
        small: list[list[Signal]] = [[], []]
        for i in range(self.streams):
            visit = visited == i
            with m.If(clear):
                m.d.sync += old[i].eq(1)
            with m.Elif(visit):
                m.d.sync += old[i].eq(0)
            state = self.monitor[i]
            for name, counters, happens in (
                ("starved", small[0], state.ready & ~state.valid),
                ("blocked", small[1], state.valid & ~state.ready),
            ):
                event = Signal(name=f"is_{name}{i}")
                m.d.sync += event.eq(happens)
                # reads may put off a visit until twice as many cycles have gone by
                counter = Signal(range(2 * self.streams + 1), name=f"{name}{i}")
                counters.append(counter)
                with m.If(clear):
                    m.d.sync += counter.eq(0)
                with m.Elif(visit):
                    m.d.sync += counter.eq(count & event)
                with m.Elif(count & event):
                    m.d.sync += counter.eq(counter + 1)

        m.submodules.memory = memory = Memory(
            shape=2 * WIDTH, depth=self.streams, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        held, more = Signal(2 * WIDTH), [Signal.like(small[name][0], name=f"more{name}") for name in (0, 1)]
        added = Signal.like(visited)  # what is added up now, and not in memory yet
        m.d.sync += [
            added.eq(visited),
            held.eq(Mux(Array(old)[visited], 0, Mux(visited == added, write.data, read.data))),
            *(register.eq(Array(counters)[visited]) for register, counters in zip(more, small, strict=True)),
        ]
        m.d.comb += [
            read.addr.eq(visited),
            self.starved.eq(held[:WIDTH] + more[0]),
            self.blocked.eq(held[WIDTH:] + more[1]),
            write.addr.eq(added),
            write.data.eq(Cat(self.starved, self.blocked)),
            write.en.eq(1),
        ]
        return m
