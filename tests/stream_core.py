"""A tiny stream core for tests: hands its elements on, as wide and as many a beat as asked, now and then pausing."""

from __future__ import annotations

from dataclasses import replace

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Stream
from accel.rtl.repack import Repack


class StreamCore(wiring.Component):
    """Outputs equal inputs. With ``pauses`` it takes its input at random moments only."""

    def __init__(self, *, source: Stream, sink: Stream, pauses: bool = False) -> None:
        self.source, self.sink, self.pauses = source, sink, pauses
        super().__init__(
            {
                "input": In(stream.Signature(ArrayLayout(unsigned(source.type.width), source.lanes))),
                "output": Out(stream.Signature(ArrayLayout(unsigned(sink.type.width), sink.lanes))),
                "clear": In(1),
                "monitor": Out(ArrayLayout(StructLayout({"valid": 1, "ready": 1}), 2)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        source, sink = self.source, self.sink
        repack = Repack(source, replace(source, lanes=sink.lanes))
        fifo = SyncFIFOBuffered(width=source.type.width * sink.lanes, depth=4)
        m.submodules.repack = ResetInserter(self.clear)(repack)
        m.submodules.fifo = ResetInserter(self.clear)(fifo)
        noise, go = Signal(16, init=0xACE1), Signal(init=1)
        if self.pauses:
            with m.If(self.input.valid):  # moves only while there is something to do, as a core at rest must
                m.d.sync += noise.eq(Cat(noise[1:], noise[0] ^ noise[2] ^ noise[3] ^ noise[5]))
            m.d.comb += go.eq(noise[0])
        m.d.comb += [
            repack.input.payload.as_value().eq(self.input.payload.as_value()),
            repack.input.valid.eq(self.input.valid & go),
            self.input.ready.eq(repack.input.ready & go),
            fifo.w_data.eq(repack.output.payload.as_value()),
            fifo.w_en.eq(repack.output.valid),
            repack.output.ready.eq(fifo.w_rdy),
            self.output.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.output.ready),
        ]
        for lane in range(sink.lanes):
            value = fifo.r_data.word_select(lane, source.type.width)
            if sink.type.is_bipolar:
                wide = value
            elif source.type.is_bipolar:
                wide = Mux(value, 1, -1)
            else:
                wide = value.as_signed() if source.type.signed else value
            m.d.comb += self.output.payload[lane].eq(wide)
        for i, port in enumerate((self.input, self.output)):
            m.d.comb += [self.monitor[i].valid.eq(port.valid), self.monitor[i].ready.eq(port.ready)]
        return m
