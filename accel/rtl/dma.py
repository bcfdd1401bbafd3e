"""The DMA: words of a Wishbone memory to a stream, and a stream's words to memory, over one bus."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from accel.rtl import wishbone

FIFO_DEPTH = 4  # words; a burst goes on while the core keeps pace, so more would buy nothing


class Dma(wiring.Component):
    """Reads ``read_words`` words from ``source`` into ``o``; writes ``write_words`` words of ``i`` to ``destination``.

    Both are word addresses. The first word is requested in the cycle after ``start``. Bursts are incrementing and
    linear, of no fixed length: a word is announced as followed by another (``cti`` = 2) only when nothing can stop that
    other one, so the master never inserts wait states. Bursts follow each other without a pause; reading goes first.
    ``done`` is high from the cycle on in which the last word written is acknowledged. ``read_error`` and
    ``write_error`` are high in the cycle of a bus error, which ends the request; reset the component then (and to
    abort), the cycle after at the latest.
    """

    def __init__(self, *, read_words: int, write_words: int) -> None:
        for label, words in (("read", read_words), ("write", write_words)):
            if words < 1:
                raise ValueError(f"DMA must {label} a positive number of words, not {words}")
        self.read_words, self.write_words = read_words, write_words
        super().__init__(
            {
                "bus": Out(wishbone.Signature(addr_width=30, burst=True)),
                "o": Out(stream.Signature(32)),
                "i": In(stream.Signature(32)),
                "source": In(30),
                "destination": In(30),
                "start": In(1),
                "done": Out(1),
                "read_error": Out(1),
                "write_error": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        m.submodules.read_fifo = read_fifo = SyncFIFO(width=32, depth=FIFO_DEPTH)
        m.submodules.write_fifo = write_fifo = SyncFIFO(width=32, depth=FIFO_DEPTH)

        acked = bus.cyc & bus.ack & ~bus.err
        was_read, was_written = acked & ~bus.we, acked & bus.we
        m.d.comb += [
            bus.stb.eq(bus.cyc),
            bus.sel.eq(0b1111),
            self.read_error.eq(bus.cyc & bus.err & ~bus.we),
            self.write_error.eq(bus.cyc & bus.err & bus.we),
            read_fifo.w_data.eq(bus.dat_r),
            read_fifo.w_en.eq(was_read),
            self.o.payload.eq(read_fifo.r_data),
            self.o.valid.eq(read_fifo.r_rdy),
            read_fifo.r_en.eq(self.o.ready),
            write_fifo.w_data.eq(self.i.payload),
            write_fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(write_fifo.w_rdy),
        ]

        # Addresses point at the word on the bus, or at the next one.
        read_at, write_at = Signal(30), Signal(30)
        unread = Signal(range(self.read_words + 1))  # words not requested yet
        unwritten = Signal(range(self.write_words + 1))  # words not acknowledged yet
        left = Signal.like(unwritten)
        m.d.comb += [
            bus.adr.eq(Mux(bus.we, write_at, read_at)),
            left.eq(unwritten - was_written),
            self.done.eq(left == 0),
        ]
        with m.If(was_read):
            m.d.sync += read_at.eq(read_at + 1)
        with m.If(was_written):
            m.d.sync += [write_at.eq(write_at + 1), unwritten.eq(left)]

        # The next word: the one that was announced, or reading when there is room, or writing when there is something.
        filled = Signal(range(FIFO_DEPTH + 2))
        m.d.comb += filled.eq(read_fifo.level + was_read)
        announced = bus.cyc & (bus.cti == wishbone.CycleType.INCREMENTING)
        reads = Mux(announced, ~bus.we, (unread != 0) & (filled < FIFO_DEPTH))
        with m.If(~bus.cyc | acked):
            m.d.sync += bus.cyc.eq(0)
            with m.If(reads):
                follows = (unread > 1) & (filled < FIFO_DEPTH - 1)
                m.d.sync += [bus.cyc.eq(1), bus.we.eq(0), bus.cti.eq(_cti(follows)), unread.eq(unread - 1)]
            with m.Elif(write_fifo.r_rdy & ~self.done):
                follows = (write_fifo.level > 1) & (left > 1)
                m.d.comb += write_fifo.r_en.eq(1)
                m.d.sync += [bus.cyc.eq(1), bus.we.eq(1), bus.cti.eq(_cti(follows)), bus.dat_w.eq(write_fifo.r_data)]

        with m.If(self.read_error | self.write_error):
            m.d.sync += bus.cyc.eq(0)
        with m.If(self.start):
            m.d.sync += [
                read_at.eq(self.source),
                write_at.eq(self.destination),
                unread.eq(self.read_words - 1),
                unwritten.eq(self.write_words),
                bus.cyc.eq(1),
                bus.we.eq(0),
                bus.cti.eq(_cti(self.read_words > 1)),
            ]
        return m


def _cti(follows: object) -> Mux:
    return Mux(follows, wishbone.CycleType.INCREMENTING, wishbone.CycleType.END)
