"""Pieces of streams: payloads of lanes, a FIFO that lends its space beforehand, and a change of width."""

from __future__ import annotations

from math import gcd

from amaranth.hdl import Array, Cat, Module, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Stream
from accel.graph import IntType


def element(type: IntType) -> Shape:
    """The wires of one element: two's complement or unsigned, one wire for bipolar (0 is -1)."""
    return signed(type.width) if type.signed and not type.is_bipolar else unsigned(type.width)


def signature(of: Stream) -> stream.Signature:
    """The signature of a stream of the pipeline: a payload of ``lanes`` elements."""
    return stream.Signature(data.ArrayLayout(element(of.type), of.lanes))


def flip_sign(bits: Value, type: IntType) -> Value:
    """An element of a stream as the code of `accel.rtl.images.Code.of`, and the code as the element."""
    if not type.signed or type.is_bipolar:
        return bits
    return Cat(bits[:-1], ~bits[-1])


class LendingFIFO(wiring.Component):
    """A FIFO behind a pipeline of ``latency`` cycles that cannot stop.

    Work may enter the pipeline (``take``) in cycles in which ``free`` is high; what comes out ``latency`` cycles later
    (``push``) then has its place. ``output`` is valid from the cycle after ``push`` on. Full rate when ``output`` is
    never made to wait.
    """

    def __init__(self, shape: data.ArrayLayout, *, latency: int) -> None:
        self.depth = latency + 2  # a place is lent anew two cycles after what held it came out
        super().__init__(
            {
                "free": Out(1),
                "take": In(1),
                "push": In(1),
                "word": In(shape),
                "output": Out(stream.Signature(shape)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = queue = fifo.SyncFIFO(width=len(self.word.as_value()), depth=self.depth)
        free = Signal(range(self.depth + 1), init=self.depth)
        m.d.sync += free.eq(free - self.take + (self.output.valid & self.output.ready))
        m.d.comb += [
            self.free.eq(free != 0),
            queue.w_en.eq(self.push),
            queue.w_data.eq(self.word),
            self.output.valid.eq(queue.r_rdy),
            self.output.payload.eq(queue.r_data),
            queue.r_en.eq(self.output.ready),
        ]
        return m


class Gearbox(wiring.Component):
    """Words of ``width`` elements in, beats of ``sink.lanes`` out; both start anew with each frame.

    Elements move ``gcd(width, lanes)`` a cycle, without delay when that is ``lanes``, else a cycle later.
    """

    def __init__(self, width: int, sink: Stream) -> None:
        self.width = width
        self.sink = sink
        shape = element(sink.type)
        super().__init__(
            {"input": In(stream.Signature(data.ArrayLayout(shape, width))), "output": Out(signature(sink))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self.sink.lanes
        size = gcd(self.width, lanes)
        chunks = -(-self.sink.elements // size)
        lanes_in = [self.input.payload[i] for i in range(self.width)]
        words = [lanes_in[i : i + size] for i in range(0, self.width, size)]
        index = Signal(range(len(words)))
        count = Signal(range(chunks))
        last, move = Signal(), Signal()
        word_last = Signal()
        m.d.comb += [last.eq(count == chunks - 1), word_last.eq(last | (index == len(words) - 1))]
        with m.If(move):
            m.d.sync += [count.eq(count + 1), index.eq(index + 1)]
            with m.If(word_last):
                m.d.sync += index.eq(0)
            with m.If(last):
                m.d.sync += count.eq(0)
        chunk = [Array(word[i] for word in words)[index] for i in range(size)]
        m.d.comb += self.input.ready.eq(move & word_last)
        if size == lanes:
            m.d.comb += [
                *(self.output.payload[i].eq(chunk[i]) for i in range(lanes)),
                self.output.valid.eq(self.input.valid),
                move.eq(self.input.valid & self.output.ready),
            ]
            return m

        places = lanes // size
        place = Signal(range(places))
        m.d.comb += move.eq(self.input.valid & (~self.output.valid | self.output.ready))
        with m.If(self.output.ready):
            m.d.sync += self.output.valid.eq(0)
        with m.If(move):
            for p in range(places):
                with m.If(place == p):
                    m.d.sync += [self.output.payload[p * size + i].eq(chunk[i]) for i in range(size)]
            m.d.sync += place.eq(place + 1)
            with m.If(last | (place == places - 1)):
                m.d.sync += [place.eq(0), self.output.valid.eq(1)]
        return m
