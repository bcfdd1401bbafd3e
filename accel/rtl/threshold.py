"""Threshold units: the number of thresholds that a value has reached, for several lanes at once.

A unit takes ``address`` of a group of constants in one cycle and the group's values ``x`` in the next, and gives the
level numbers ``y`` `accel.dataflow.timing.unit_latency` cycles after ``x``. It accepts a group every cycle.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.rom import rom_block_bits
from accel.rtl.constants import ThresholdImage
from accel.rtl.rom import rom


class ThresholdUnit(wiring.Component):
    """What both kinds have in common: their ports."""

    def __init__(self, image: ThresholdImage, *, ahead: bool = False) -> None:
        self.image = image
        groups, self.lanes, steps = image.thresholds.shape
        self.bits = steps.bit_length()
        ports: dict[str, wiring.Member] = {
            "address": In(range(groups)),
            "x": In(data.ArrayLayout(signed(image.width), self.lanes)),
            "y": Out(data.ArrayLayout(self.bits, self.lanes)),
        }
        super().__init__(ports | ({"ahead": In(range(groups))} if ahead else {}))


class ParallelThreshold(ThresholdUnit):
    """Compares with all thresholds at once: comparisons registered, then their number.

    Who knows the address of the next cycle gives it in ``ahead``, where the unit asks for it: block RAM gives its words
    late in the cycle, on the ECP5 5.6 ns after the clock, and read ahead they wait in registers for what they meet.
    """

    def __init__(self, image: ThresholdImage, *, ahead: bool = False) -> None:
        groups, lanes, steps = image.thresholds.shape
        self.total = lanes * (steps * image.width + image.inverts)
        super().__init__(image, ahead=ahead and rom_block_bits(self.total, groups) > 0)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, steps = self.image.width, self.image.steps
        if hasattr(self, "ahead"):
            early = rom(m, "thresholds", self.image.parallel(), self.total, self.ahead)
            word: Value = Signal(self.total, name="word", reset_less=True)
            m.d.sync += word.eq(early)
        else:
            word = rom(m, "thresholds", self.image.parallel(), self.total, self.address)
        for lane in range(self.lanes):
            x: Value = self.x[lane]
            if self.image.inverts:
                x = Mux(word[self.lanes * steps * width + lane], ~x, x)
            reached = Signal(steps, name=f"reached{lane}", reset_less=True)
            count = Signal(self.bits, name=f"count{lane}", reset_less=True)
            for i in range(steps):
                m.d.sync += reached[i].eq(x >= word.word_select(lane * steps + i, width).as_signed())
            m.d.sync += count.eq(ones_below(list(reached)))
            m.d.comb += self.y[lane].eq(count)
        return m


def ones_below(bits: list[Value]) -> Value:
    """How many of ``bits`` are high when all high ones stand below all low ones: a binary search by multiplexers."""
    middle = (1 << (len(bits).bit_length() - 1)) - 1
    if middle == 0:
        return bits[0] if bits else Const(0, 0)
    above = bits[middle + 1 :]
    lower = ones_below(bits[:middle])
    upper = ones_below(above + [Const(0)] * (middle - len(above)))
    return Cat(Mux(bits[middle], upper, lower), bits[middle])


class SearchThreshold(ThresholdUnit):
    """Finds the level number bit by bit, the highest first: a small memory and one comparator a bit."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.image.width
        addresses = [self.address]
        for depth in range(1, self.bits):
            delayed = Signal.like(self.address, name=f"address{depth}", reset_less=True)
            m.d.sync += delayed.eq(addresses[-1])
            addresses.append(delayed)
        for lane in range(self.lanes):
            x: Value = self.x[lane]
            found: Value = Const(0, 0)
            kept: Value = Const(0, 0)
            for depth in range(self.bits):
                # the bit just found is part of the next address: it reaches that memory in the cycle that finds it
                words = self.image.level(lane, depth)
                inverts = depth == 0 and self.image.inverts
                word = rom(m, f"level{lane}_{depth}", words, width + inverts, Cat(found, addresses[depth]))
                if inverts:
                    x = Mux(word[width], ~x, x)
                found = Cat(x >= word[:width].as_signed(), kept)
                kept = Signal(depth + 1, name=f"found{lane}_{depth}", reset_less=True)
                waiting = Signal(signed(width), name=f"x{lane}_{depth}", reset_less=True)
                m.d.sync += [kept.eq(found), waiting.eq(x)]
                x = waiting
            m.d.comb += self.y[lane].eq(kept)
        return m
