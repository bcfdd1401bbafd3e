"""From finished sums to a stream: a few at a time through the activation units, into a FIFO that always has room."""

from __future__ import annotations

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.pipeline import Stream
from accel.dataflow.timing import FETCH, unit_latency_alone
from accel.graph import IntType
from accel.rtl.plan import Code, Plan
from accel.rtl.requantize import PlainUnit, RequantizeUnit
from accel.rtl.streams import LendingFIFO, element, flip_sign, line, signature
from accel.rtl.threshold import ParallelThreshold, SearchThreshold, ThresholdUnit


class Drain(wiring.Component):
    """Sums of ``pe`` neurons at a time, a tile, leave ``drain`` a beat.

    ``take`` says that the last step of a tile is issued, which it may when ``free`` is high: places for its beats are
    left, and by the time its sums are there those of the tile before have gone. ``latency`` cycles later they stand in
    ``sums``, until those of the next tile do; ``finished`` is high in the cycle before. The first beat is fetched at
    once, the others follow. ``interval`` is the steps of a tile. ``beats`` are those of a tile and of the last one of a
    pixel, which is ``ending`` when it is taken, and ``finished_ending`` when it is finished.
    """

    def __init__(self, plan: Plan, sink: Stream, *, latency: int, interval: int, beats: tuple[int, int]) -> None:
        self.plan, self.sink, self.latency, self.interval = plan, sink, latency, interval
        self.beats, self.ending_beats = beats
        super().__init__(
            {
                "free": Out(1),
                "take": In(1),
                "ending": In(1),
                "finished": In(1),
                "finished_ending": In(1),
                "sums": In(data.ArrayLayout(signed(plan.width), plan.pe)),
                "output": Out(signature(sink)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, beats, shorter = self.plan, self.beats, self.ending_beats != self.beats
        neurons = plan.neurons[0]
        activation = unit_latency_alone(neurons.activation)
        m.submodules.results = results = LendingFIFO(
            data.ArrayLayout(element(self.sink.type), plan.drain),
            latency=self.latency + FETCH + activation,
            beats=beats,
            interval=self.interval,
            ending_beats=self.ending_beats,
        )
        waiting = Signal()  # the tile before began less than ``beats`` cycles ago
        if beats > self.interval:
            left = Signal(range(beats))
            m.d.comb += waiting.eq(left != 0)
            with m.If(self.take):
                m.d.sync += left.eq(Mux(self.ending, self.ending_beats - 1, beats - 1) if shorter else beats - 1)
            with m.Elif(waiting):
                m.d.sync += left.eq(left - 1)
        m.d.comb += [
            self.free.eq(results.free & ~waiting),
            results.take.eq(self.take),
            results.ending.eq(self.ending),
        ]

        fetch, group, address = Signal(), Signal(range(beats)), Signal(range(plan.groups(neurons)))
        last: Value = Const(beats - 1)
        if shorter:
            ending = Signal()
            with m.If(self.finished):
                m.d.sync += ending.eq(self.finished_ending)
            last = Mux(ending, self.ending_beats - 1, beats - 1)
        m.d.sync += group.eq(0)
        with m.If(self.finished):
            m.d.sync += fetch.eq(1)
        with m.Elif(group == last):
            m.d.sync += fetch.eq(0)
        with m.Elif(fetch):
            m.d.sync += group.eq(group + 1)
        with m.If(fetch):
            m.d.sync += address.eq(address + 1)
            with m.If(address == plan.groups(neurons) - 1):
                m.d.sync += address.eq(0)

        (activate,) = activation_units(m, plan).values()
        m.d.comb += activate.address.eq(address)
        for i in range(plan.drain):
            value = Signal(signed(plan.width), name=f"value{i}", reset_less=True)
            m.d.sync += value.eq(Array(self.sums[i :: plan.drain])[group])
            m.d.comb += activate.x[i].eq(value)
            m.d.comb += results.word[i].eq(as_element(m, f"output{i}", activate.y[i], plan.result, self.sink.type))
        m.d.comb += results.push.eq(line(m, "leaving", fetch, FETCH + activation)[-1])
        wiring.connect(m, results.output, wiring.flipped(self.output))
        return m


def activation_units(
    m: Module, plan: Plan, *, ahead: bool = False
) -> dict[str, ThresholdUnit | RequantizeUnit | PlainUnit]:
    """One activation unit of each kind that the layers of ``plan`` need; ``ahead`` as of `ParallelThreshold`."""
    units: dict[str, ThresholdUnit | RequantizeUnit | PlainUnit] = {}
    if (image := plan.thresholds(search=False)) is not None:
        m.submodules.parallel = units["parallel"] = ParallelThreshold(image, ahead=ahead)
    if (image := plan.thresholds(search=True)) is not None:
        m.submodules.search = units["search"] = SearchThreshold(image)
    if (constants := plan.requantization()) is not None:
        m.submodules.requantize = units["requantize"] = RequantizeUnit(constants, width=plan.width)
    if plan.plain() is not None:
        m.submodules.plain = units["plain"] = PlainUnit(plan)
    return units


def as_element(m: Module, name: str, code: Value, kind: Code, type: IntType) -> Value:
    """What a unit gives, a code of ``kind``, as an element of a stream of ``type``."""
    own = Code.of(type)
    bits = Signal(type.width, name=name)
    m.d.comb += bits.eq(code + (kind.base - own.base) // own.step)
    return flip_sign(bits, type)
