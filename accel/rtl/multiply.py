"""The multipliers of an array and the adder trees behind them."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.timing import TREE_RADIX, tree_stages
from accel.rtl.images import ArrayPlan, signed_width


class Products(wiring.Component):
    """``totals[p] = sum over i of weight[p, i] * x[i]``, modulo ``2**width`` of the accumulators.

    ``weights`` is a word of the weight memory, ``x`` are ``simd`` input codes; ``totals`` follow
    ``2 + tree_stages(simd)`` cycles later.

    Neurons share DSP48E1s as `Packing` says: with all fields but the highest unsigned, the fields of a product do not
    touch each other. What the codes' offset adds to a sum, ``offset * sum(x)``, is the same for all neurons; it is
    added up once, beside the trees, and leaves each sum in the last stage of its tree.
    """

    def __init__(self, plan: ArrayPlan) -> None:
        self.plan = plan
        node = plan.node
        super().__init__(
            {
                "weights": In(node.pe * node.simd * plan.weight_type.width),
                "x": In(data.ArrayLayout(plan.input_width, node.simd)),
                "totals": Out(data.ArrayLayout(signed(plan.width), node.pe)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, node = self.plan, self.plan.node
        packing = plan.packing
        stages = tree_stages(node.simd)
        x_bound = (1 << plan.input_width) - 1

        x = [Signal(plan.input_width, name=f"x{i}", reset_less=True) for i in range(node.simd)]
        m.d.sync += [x[i].eq(self.x[i]) for i in range(node.simd)]
        products: list[list[Bounded]] = [[] for _ in range(node.pe)]
        for first in range(0, node.pe, packing.share):
            neurons = range(first, min(first + packing.share, node.pe))
            for i in range(node.simd):
                weights = [self.weight(p, i) for p in neurons]
                if node.multiplier == "dsp":
                    fields = self.shared(m, weights, x[i], f"{first}_{i}")
                else:
                    fields = [self.fabric(m, weights[0], x[i], f"{first}_{i}")]
                for p, field, weight in zip(neurons, fields, weights, strict=True):
                    lo, hi = bounds(weight.shape())
                    products[p].append((field, lo * x_bound, hi * x_bound))

        # one stage behind x as the products are two: it meets the trees before their last stage
        correction = Signal(range(node.simd * x_bound + 1), reset_less=True)
        coded = [packing.coded(p, node.pe) and packing.offset != 0 for p in range(node.pe)]
        if any(coded):
            terms: list[Bounded] = [(v, 0, x_bound) for v in x]
            for stage in range(stages):
                terms = add_up(m, terms, f"correction{stage}")
            m.d.comb += correction.eq(terms[0][0])
        for p in range(node.pe):
            values = products[p]
            for stage in range(stages - 1):
                values = add_up(m, values, f"sum{p}_{stage}")
            total: Value = sum((v for v, _, _ in values[1:]), start=values[0][0])
            if coded[p]:
                total = total * 1 if packing.scale == 1 else Cat(Const(0, 1), total)
                total = total - (correction << (packing.offset.bit_length() - 1))
            register = Signal(signed(plan.width), name=f"total{p}", reset_less=True)
            m.d.sync += register.eq(total)
            m.d.comb += self.totals[p].eq(register)
        return m

    def weight(self, neuron: int, i: int) -> Value:
        """The field of the weight word: a code, or two's complement."""
        node, width = self.plan.node, self.plan.weight_type.width
        bits = self.weights.word_select(neuron * node.simd + i, width)
        return bits if self.plan.packing.coded(neuron, node.pe) else bits.as_signed()

    def shared(self, m: Module, weights: list[Value], x: Signal, name: str) -> list[Value]:
        """One DSP48E1: its operand and product registers have no reset and no enable, so that they fit into it."""
        packing = self.plan.packing
        places: list[Value] = [Cat(w, Const(0, packing.field - len(w))) for w in weights[:-1]]
        top = weights[-1] if weights[-1].shape().signed else Cat(weights[-1], Const(0, 1))
        operand = Cat(*places, top).as_signed()
        a = Signal(operand.shape(), name=f"a{name}", reset_less=True)
        product = Signal(signed(len(a) + len(x)), name=f"product{name}", reset_less=True)
        m.d.sync += [a.eq(operand), product.eq(a * x)]
        at = (len(weights) - 1) * packing.field
        lower: list[Value] = [product[i : i + packing.field] for i in range(0, at, packing.field)]
        return [*lower, product[at:].as_signed() if weights[-1].shape().signed else product[at:]]

    def fabric(self, m: Module, weight: Value, x: Signal, name: str) -> Value:
        """A small product in LUTs, added up over the bits of the weight."""
        w = Signal(weight.shape(), name=f"a{name}", reset_less=True)
        m.d.sync += w.eq(weight)
        terms = [Mux(w[i], x, 0) << i for i in range(len(w))]
        value = sum(terms[:-1], start=Const(0, 1))
        value = value - terms[-1] if w.shape().signed else value + terms[-1]
        lo, hi = bounds(w.shape())
        x_bound = (1 << len(x)) - 1
        product = Signal(bounded_shape(lo * x_bound, hi * x_bound), name=f"product{name}", reset_less=True)
        m.d.sync += product.eq(value)
        return product


Bounded = tuple[Value, int, int]
"""A value with the bounds that it keeps."""


def bounds(shape: Shape) -> tuple[int, int]:
    """The least and the greatest value of a shape."""
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def bounded_shape(lo: int, hi: int) -> Shape:
    """The narrowest shape that holds ``lo..hi``."""
    return signed(signed_width(lo, hi)) if lo < 0 else unsigned(max(hi.bit_length(), 1))


def add_up(m: Module, values: list[Bounded], name: str) -> list[Bounded]:
    """One stage of an adder tree: registered sums of ``TREE_RADIX`` values each, of exactly the width they need."""
    sums: list[Bounded] = []
    for start in range(0, len(values), TREE_RADIX):
        part = values[start : start + TREE_RADIX]
        lo, hi = sum(b for _, b, _ in part), sum(b for _, _, b in part)
        register = Signal(bounded_shape(lo, hi), name=f"{name}_{start // TREE_RADIX}", reset_less=True)
        m.d.sync += register.eq(sum((v for v, _, _ in part[1:]), start=part[0][0]))
        sums.append((register, lo, hi))
    return sums
