"""Requantize units: multiply, add, shift and saturate, for several lanes at once; and the plain way out of an array.

They are used as threshold units are: ``address`` in one cycle, ``x`` in the next, ``y`` (the code of the result)
`accel.dataflow.timing.unit_latency` cycles later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.narrow import scaled_near
from accel.graph import IntType, Requantize
from accel.rtl.constants import RequantizeImage
from accel.rtl.plan import Code, Plan
from accel.rtl.rom import rom


@dataclass(frozen=True)
class Function:
    """What becomes of a sum: a type to clip to, and whether ties go to even, for which ``near`` bits do not count."""

    out: IntType
    ties_to_even: bool
    near: int

    @classmethod
    def of(cls, op: Requantize, shift: int) -> Function:
        """That of ``op`` where its sums have come to be shifted by ``shift``."""
        return cls(op.out, op.ties_to_even, op.near or 0).dropped(op.shift - shift)

    def dropped(self, bits: int) -> Function:
        """The same of sums with so many lowest bits less, or more."""
        return replace(self, near=int(scaled_near(np.array(self.near), -bits)))

    def result(self, total: Signal, shift: int) -> Value:
        """The code of the clipped quotient."""
        quotient: Value = total >> shift
        if self.ties_to_even:
            tie = total[min(self.near, len(total) - 1) : min(shift, len(total))] == 0
            quotient = Cat(quotient[0] & ~tie, quotient[1:]).as_signed()
        return clip_code(quotient, self.out)


class RequantizeUnit(wiring.Component):
    """Operands, product, sum and result are registered, so that the multiplier and the adder fit a DSP48E1.

    ``layer`` goes with ``address``: layers may differ in their bounds and in how they round ties.
    """

    def __init__(self, image: RequantizeImage, *, width: int) -> None:
        self.image = image
        groups, self.lanes = image.multipliers.shape
        self.bits = max(a.out.width for a in image.layers if a is not None)
        super().__init__(
            {
                "address": In(range(groups)),
                "layer": In(range(len(image.layers))),
                "x": In(data.ArrayLayout(signed(width), self.lanes)),
                "y": Out(data.ArrayLayout(self.bits, self.lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        image = self.image
        factor, fields = image.constant, image.fields
        word = rom(m, "constants", image.words(), self.lanes * sum(w for _, w in fields.values()), self.address)
        places, at = {}, 0
        for name, (_, bits) in fields.items():
            places[name], at = at, at + self.lanes * bits

        def constant(name: str, lane: int) -> Value:
            return word[places[name] :].word_select(lane, fields[name][1]).as_signed()

        # functions that differ between layers are all computed and one is chosen: there are hardly ever two
        of_layers = [None if a is None else Function.of(a, image.shift) for a in image.layers]
        functions = list(dict.fromkeys(f for f in of_layers if f is not None))
        which: Value = Array(0 if f is None else functions.index(f) for f in of_layers)[self.layer]
        if len(functions) > 1:
            which = late(m, "which", which, 4)

        for lane in range(self.lanes):
            given = self.x[lane]
            if image.offsets is not None:
                given = Cat(
                    given[: image.grain], given[image.grain :].as_signed() - constant("offset", lane)
                ).as_signed()
            if image.kept is not None:
                given = clamp(given, image.kept)
            x = Signal.like(given, name=f"x{lane}", reset_less=True)
            bias0 = Signal(signed(image.bias_width), name=f"bias0_{lane}", reset_less=True)
            bias1 = Signal(signed(image.bias_width), name=f"bias1_{lane}", reset_less=True)
            total = Signal(signed(image.width), name=f"total{lane}", reset_less=True)
            m.d.sync += [x.eq(given), bias0.eq(constant("bias", lane))]
            bias: Value = bias0
            if image.turns is not None:
                turn = Signal(signed(image.turn_width), name=f"turn{lane}", reset_less=True)
                upper = Signal(signed(image.bias_width), name=f"upper{lane}", reset_less=True)
                m.d.sync += [turn.eq(constant("turn", lane)), upper.eq(constant("upper", lane))]
                bias = Mux(x >= turn, upper, bias0)
            m.d.sync += bias1.eq(bias)
            if factor is None:
                multiplier = Signal(signed(image.multiplier_width), name=f"multiplier{lane}", reset_less=True)
                product = Signal(signed(len(x) + image.multiplier_width), name=f"product{lane}", reset_less=True)
                m.d.sync += [multiplier.eq(constant("multiplier", lane)), product.eq(x * multiplier)]
            else:
                shift = factor.bit_length() - 1
                product = Signal(signed(len(x) + shift), name=f"product{lane}", reset_less=True)
                m.d.sync += product.eq(x << shift)
            m.d.sync += total.eq(product + bias1)
            results = [function.result(total, image.shift) for function in functions]
            if image.steep is not None:
                steep = late(m, f"steep{lane}", constant("steep", lane)[0], 3)
                smaller = [
                    function.dropped(image.drop).result(total, image.shift - image.drop) for function in functions
                ]
                results = [Mux(steep, small, large) for small, large in zip(smaller, results, strict=True)]
            y = Signal(self.bits, name=f"y{lane}", reset_less=True)
            m.d.sync += y.eq(results[0] if len(results) == 1 else Array(results)[which])
            m.d.comb += self.y[lane].eq(y)
        return m


def late(m: Module, name: str, value: Value, cycles: int) -> Value:
    """``value`` some cycles later."""
    for stage in range(cycles):
        delayed = Signal(Value.cast(value).shape(), name=f"{name}_{stage}", reset_less=True)
        m.d.sync += delayed.eq(value)
        value = delayed
    return value


def clamp(value: Value, kept: int) -> Value:
    """Signed ``value`` clipped to ``kept`` bits, of which it has more or as many."""
    negative, above = value[-1], value[kept - 1 : -1]
    beyond = Mux(negative, ~above.all(), above.any())
    return Cat(Mux(beyond, (~negative).replicate(kept - 1), value[: kept - 1]), negative).as_signed()


def clip_code(value: Value, out: IntType) -> Value:
    """The code of signed ``value`` clipped to ``out``: told by its topmost bits, and comparisons as wide as ``out``."""
    code = Code.of(out)
    kept = out.width
    negative = value[-1]
    value = Cat(value, negative.replicate(max(kept + 1 - len(value), 0)))
    # two's complement values keep their sign bit among the bits that are left
    beyond = value[kept - 1 : -1] if out.signed else value[kept:-1]
    above = ~negative & beyond.any()
    below = negative & ~beyond.all() if out.signed else negative
    bits = Cat(value[: kept - 1], ~value[kept - 1]) if out.signed else value[:kept]
    if code.lo > 0:
        below = below | (~above & (bits < code.lo))
    if code.hi < (1 << kept) - 1:
        above = above | (~below & (bits > code.hi))
    return Mux(above, code.hi, Mux(below, code.lo, bits))


class PlainUnit(wiring.Component):
    """Layers without activation: ``y = step * x + constant``, registered once; ``step`` is 2 after bipolar inputs."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.words = plan.plain() or []
        super().__init__(
            {
                "address": In(range(len(self.words))),
                "layer": In(range(len(plan.neurons))),
                "x": In(data.ArrayLayout(signed(plan.width), plan.drain)),
                "y": Out(data.ArrayLayout(plan.plain_width, plan.drain)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, lanes = self.plan.plain_width, self.plan.drain
        word = rom(m, "constants", self.words, lanes * width, self.address)
        steps = [n.code.step for n in self.plan.neurons]
        doubled: Value = Const(steps[0] == 2)
        if len(set(steps)) > 1:
            doubled = Signal()
            m.d.sync += doubled.eq(Array(step == 2 for step in steps)[self.layer])
        for lane in range(lanes):
            x: Value = self.x[lane]
            y = Signal(width, name=f"y{lane}", reset_less=True)
            m.d.sync += y.eq(Mux(doubled, x << 1, x) + word.word_select(lane, width))
            m.d.comb += self.y[lane].eq(y)
        return m
