"""Pieces of streams: payloads of lanes, elements of one type as those of another, a FIFO that lends its space."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Stream
from accel.dataflow.timing import lent_places
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


def number(bits: Value, type: IntType) -> Value:
    """The number that an element is."""
    if type.is_bipolar:
        return (bits << 1) - 1
    return bits.as_signed() if type.signed else bits


def converted(bits: Value, source: IntType, sink: IntType) -> Value:
    """An element of type ``source`` as one of type ``sink``, which holds it."""
    if source.is_bipolar:
        return bits if sink.is_bipolar else Mux(bits, 1, -1)
    if sink.is_bipolar:
        return bits == 1
    return number(bits, source)


def constant(value: int, type: IntType) -> int:
    """The bits of the element ``value``."""
    return (value + 1) // 2 if type.is_bipolar else value & ((1 << type.width) - 1)


class LendingFIFO(wiring.Component):
    """A FIFO behind a pipeline of ``latency`` cycles that cannot stop.

    Work may enter the pipeline (``take``) in cycles in which ``free`` is high; the ``beats`` that come out from
    ``latency`` cycles later on (``push``) then have their places. ``output`` is valid from the cycle after ``push`` on.
    Full rate, which is to take every ``interval`` cycles or every ``beats``, when ``output`` is never made to wait.
    Work that is taken with ``ending`` gives ``ending_beats``, which are no more.
    """

    def __init__(
        self,
        shape: data.ArrayLayout,
        *,
        latency: int,
        beats: int = 1,
        interval: int = 1,
        ending_beats: int | None = None,
    ) -> None:
        self.beats = beats
        self.ending_beats = beats if ending_beats is None else ending_beats
        self.depth = lent_places(latency, beats, interval)
        super().__init__(
            {
                "free": Out(1),
                "take": In(1),
                "ending": In(1),
                "push": In(1),
                "word": In(shape),
                "output": Out(stream.Signature(shape)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = queue = fifo.SyncFIFO(width=len(self.word.as_value()), depth=self.depth)
        # places beyond those that the next work will borrow, so that the sign says whether it may
        spare = Signal(range(-self.beats, self.depth), init=self.depth - self.beats)
        given = self.output.valid & self.output.ready
        borrowed: Value = Const(self.beats)
        if self.ending_beats != self.beats:
            borrowed = Mux(self.ending, self.ending_beats, self.beats)
        m.d.sync += spare.eq(spare - Mux(self.take, borrowed, 0) + given)
        m.d.comb += [
            self.free.eq(spare >= 0),
            queue.w_en.eq(self.push),
            queue.w_data.eq(self.word),
            self.output.valid.eq(queue.r_rdy),
            self.output.payload.eq(queue.r_data),
            queue.r_en.eq(self.output.ready),
        ]
        return m


def line(m: Module, name: str, value: Value, length: int) -> list[Value]:
    """``value`` and what it was 1, 2, … ``length`` cycles before."""
    taps = [value]
    for i in range(length):
        tap = Signal(len(value), name=f"{name}{i}")
        m.d.sync += tap.eq(taps[-1])
        taps.append(tap)
    return taps
