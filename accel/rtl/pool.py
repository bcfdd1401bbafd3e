"""Pools: the largest or the sum of each channel of a window.

Windows that overlap are read from a line buffer, an element of the kernel a step: `accel.rtl.window` has the schedule.

Others need none. A row of running results, one for each output column and channel, takes each beat as it comes: a beat
accepted in cycle ``c`` waits in a register in ``c + 1``, meets the running result of its window, and what comes out is
a register's value in ``c + ROW_POOL``. If it was the window's last pixel, that goes through the activation unit, if
there is one, and enters the result FIFO in ``c + pool_latency``; ``output.valid`` shows it ``FIFO`` later. Such a beat,
and no other, waits for a place in that FIFO, of ``lent_places(pool_latency, 1, 1)``: ``input.ready`` is low in ``c`` if
the next beat ends a window and as many such beats were accepted up to ``c - 1`` beyond those that left up to ``c - 1``.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import PoolNode
from accel.dataflow.timing import ADDRESS, POOL_READ, pool_latency
from accel.graph import GraphError, MaxPool, Tensor
from accel.rtl.activate import Activate, numbers
from accel.rtl.plan import Code
from accel.rtl.streams import LendingFIFO, element, flip_sign, line, number, signature
from accel.rtl.window import LineBuffer


class PoolUnit(wiring.Component):
    """Gateware of a PoolNode. ``input`` and ``output`` are streams; frames may follow each other without a pause.

    The largest is found among codes, which for bits is their OR; numbers are summed up.
    """

    def __init__(self, node: PoolNode) -> None:
        self.node = node
        self.lanes = lanes = node.source.lanes
        if lanes != node.sink.lanes or node.image.channels % lanes:
            raise GraphError(
                f"{node.name}: source and sink need the same lanes, which divide {node.image.channels} channels, "
                f"not {lanes} and {node.sink.lanes}"
            )
        shape = node.image.height, node.image.width, node.image.channels
        self.kind = node.pool.infer(Tensor("", shape, node.source.type)).type
        self.words = node.image.channels // lanes
        self.activate = Activate(node.name, node.activation, kind=self.kind, sink=node.sink.type, lanes=lanes)
        self.largest = isinstance(node.pool, MaxPool)
        self.reads = node.source.type if isinstance(node.pool, MaxPool) else node.pool.reads(node.source.type)
        super().__init__({"input": In(signature(node.source)), "output": Out(signature(node.sink))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.activate = activate = self.activate
        latency, interval = pool_latency(self.node), self.node.window.taps if self.node.overlaps else 1
        m.submodules.results = results = LendingFIFO(
            data.ArrayLayout(element(self.node.sink.type), self.lanes), latency=latency, interval=interval
        )
        values = self.slide(m, results) if self.node.overlaps else self.run_along(m, results)
        for i, value in enumerate(values):
            result = value
            if self.largest:
                result = number(flip_sign(value, self.node.source.type), self.node.source.type)
            m.d.comb += [activate.x[i].eq(result), results.word[i].eq(activate.y[i])]
        m.d.comb += results.push.eq(line(m, "leaving", results.take, latency)[-1])
        wiring.connect(m, results.output, wiring.flipped(self.output))
        return m

    def with_next(self, first: Value, before: Value, code: Value) -> Value:
        """The running result with one more element, whose code is given; only that when it is the first."""
        if self.largest:
            return Mux(first | (code > before), code, before)
        return Mux(first, 0, before) + number(flip_sign(code, self.reads), self.reads)

    def running(self, name: str) -> Signal:
        """A register for running results of a lane."""
        shape = self.node.source.type.width if self.largest else numbers(self.kind)
        return Signal(shape, name=name, reset_less=True)

    def slide(self, m: Module, results: LendingFIFO) -> list[Signal]:
        """Windows that overlap, from a line buffer."""
        node = self.node
        code = Code.of(self.reads)
        pad = code.lo if isinstance(node.pool, MaxPool) else (node.pool.pad_value - code.base) // code.step
        m.submodules.window = window = LineBuffer(
            node.name,
            node.window,
            node.image,
            node.source,
            reads=self.reads,
            pad=pad if any(node.window.pads) else 0,
            taps=1,
            tiles=self.words,
            groups=self.words,
            capacity=node.capacity,
            buffer=node.buffer,
        )
        wiring.connect(m, wiring.flipped(self.input), window.input)
        finishing = window.issue & window.last
        m.d.comb += [window.blocked.eq(~results.free), results.take.eq(finishing)]
        control = Cat(window.issue, window.first, finishing)
        valid, first, last = line(m, "control", control, ADDRESS + POOL_READ)[-1]
        self.count_phases(m, last)
        values = []
        for i in range(self.lanes):
            x = Signal(code.width, name=f"x{i}", reset_less=True)
            value = self.running(f"value{i}")
            m.d.sync += x.eq(window.x[i])
            with m.If(valid):
                m.d.sync += value.eq(self.with_next(first, value, x))
            values.append(value)
        return values

    def count_phases(self, m: Module, last: Value) -> None:
        """Constants of the activation repeat with the channels; they are asked for a cycle before they are used."""
        phase = Signal(range(self.activate.phases))
        m.d.comb += self.activate.phase.eq(phase)
        with m.If(last):
            m.d.sync += phase.eq(Mux(phase == self.activate.phases - 1, 0, phase + 1))

    def run_along(self, m: Module, results: LendingFIFO) -> list[Signal]:
        """Windows that do not overlap: beats meet the running results of their windows, a row of them."""
        node, words = self.node, self.words
        (kh, kw), (sh, sw) = node.window.kernel, node.window.stride
        rows, columns = node.window.output(node.image.height, node.image.width)
        word = Signal(range(words))
        row = Progress("row", size=node.image.height, kernel=kh, stride=sh, outputs=rows)
        column = Progress("column", size=node.image.width, kernel=kw, stride=sw, outputs=columns)
        taken, last = Signal(), Signal()
        m.d.comb += [
            last.eq(row.last & column.last),
            self.input.ready.eq(results.free | ~last),
            taken.eq(self.input.valid & self.input.ready),
            results.take.eq(taken & last),
        ]
        start = Signal(range(columns * words))  # the first word of the window's running results
        with m.If(taken):
            m.d.sync += word.eq(word + 1)
            with m.If(word == words - 1):
                m.d.sync += word.eq(0)
                column.advance(m)
                with m.If(column.next_output):
                    m.d.sync += start.eq(start + words)
                with m.If(column.end):
                    row.advance(m)
                    m.d.sync += start.eq(0)

        place = Signal(range(columns * words), reset_less=True)
        now = Cat(taken & row.inside & column.inside, row.first & column.first, taken & last)
        valid, first, finished = line(m, "control", now, 1)[-1]
        m.d.sync += place.eq(start + word)
        self.count_phases(m, finished)
        values = [self.running(f"value{i}") for i in range(self.lanes)]
        after = [Signal.like(value, name=f"after{i}") for i, value in enumerate(values)]
        before: list[Value] = list(values)
        if columns * words > 1:
            # one memory for all lanes: LUTRAM of few bits is mostly wasted
            width = len(values[0])
            memory = Memory(
                shape=width * self.lanes, depth=columns * words, init=[], attrs={"ram_style": "distributed"}
            )
            m.submodules.running = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            # A register of its own, which is another one by its first value only: where both ports have the same
            # address Yosys takes RAM64X1S, which nextpnr-himbaechel 0.11.1 cannot pack.
            reads_at = Signal.like(place, name="reads_at", init=1)
            m.d.sync += reads_at.eq(start + word)
            m.d.comb += [read.addr.eq(reads_at), write.addr.eq(place), write.en.eq(valid), write.data.eq(Cat(*after))]
            before = [read.data.word_select(i, width) for i in range(self.lanes)]
            if values[0].shape().signed:
                before = [bits.as_signed() for bits in before]
        for i, value in enumerate(values):
            x = Signal(node.source.type.width, name=f"x{i}", reset_less=True)
            m.d.sync += x.eq(flip_sign(self.input.payload[i], node.source.type))
            m.d.comb += after[i].eq(self.with_next(first, before[i], x))
            with m.If(valid):
                m.d.sync += value.eq(after[i])
        return values


class Progress:
    """Where along one axis of an image the next beat's pixel lies: within a window, and within the image."""

    def __init__(self, name: str, *, size: int, kernel: int, stride: int, outputs: int) -> None:
        self.at = Signal(range(size), name=name)
        self.place = Signal(range(stride), name=f"{name}_place")  # within the stride
        self.output = Signal(range(outputs + 1), name=f"{name}_output")
        self.end = self.at == size - 1
        self.next_output = self.place == stride - 1
        self.first = self.place == 0
        self.inside = (self.place < kernel) & (self.output != outputs)
        self.last = (self.place == kernel - 1) & (self.output != outputs)

    def advance(self, m: Module) -> None:
        """To the next pixel, and from the last one to the first."""
        m.d.sync += [self.at.eq(self.at + 1), self.place.eq(self.place + 1)]
        with m.If(self.next_output):
            m.d.sync += [self.place.eq(0), self.output.eq(self.output + 1)]
        with m.If(self.end):
            m.d.sync += [self.at.eq(0), self.place.eq(0), self.output.eq(0)]
