"""The multipliers of an array and the adder trees behind them."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from accel.dataflow.multipliers import BLOCKS, MULT18X18D
from accel.dataflow.narrow import signed_bits
from accel.dataflow.timing import TREE_RADIX, tree_stages
from accel.rtl.plan import Plan
from accel.rtl.spread import spread


class Products(wiring.Component):
    """``totals[p] = sum over i of weight[p, i] * x[i]``, modulo ``2**width`` of the accumulators.

    ``weights`` is a word of the weight memory; ``x`` are ``fan_in`` input codes for all ``pe`` neurons or, where each
    has inputs of its own, ``fan_in`` times ``pe`` of them, neurons innermost. ``totals`` follow
    ``2 + tree_stages(fan_in)`` cycles later. Weights of a single step are constants that never change, and wait in no
    register, so that synthesis makes of each product what its weight needs.

    Neurons share multipliers as `Packing` says: with all fields but the highest unsigned, those of a product do not
    touch each other, nor do those of as many products' sum as the fields have room for. What the codes' offset adds to
    a sum, ``offset * sum(x)``, is the same for all neurons; it is added up once, beside the trees, and leaves each sum
    in the last stage of its tree.

    Bipolar weights that meet bipolar inputs are compared, and `agreements` counts how many are equal.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        inputs = plan.fan_in * (plan.pe if plan.own else 1)
        super().__init__(
            {
                "weights": In(plan.pe * plan.fan_in * plan.weight_type.width),
                "x": In(data.ArrayLayout(plan.input_width, inputs)),
                "totals": Out(data.ArrayLayout(signed(plan.width), plan.pe)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self.plan
        x = self.heard(m)
        totals = self.counted(m, x) if plan.counts else self.multiplied(m, x)
        for p, total in enumerate(totals):
            register = Signal(signed(plan.width), name=f"total{p}", reset_less=True)
            m.d.sync += register.eq(total)
            m.d.comb += self.totals[p].eq(register)
        return m

    def heard(self, m: Module) -> list[list[Value]]:
        """The inputs of each neuron, in registers: the same for all, but for neurons that have inputs of their own.

        A MULT18X18D takes an operand 3.5 ns before the clock; so that it need not come from afar, too, it is registered
        for each multiplier by itself. A DSP48E1 has a register inside for that.
        """
        plan, width = self.plan, self.plan.input_width
        if BLOCKS.get(plan.multiplier) is MULT18X18D and not plan.own:
            share = plan.packing.share
            words = spread(m, "x", self.x.as_value(), -(-plan.pe // share), each=1)
            return [[words[p // share].word_select(i, width) for i in range(plan.fan_in)] for p in range(plan.pe)]
        x = [Signal(width, name=f"x{i}", reset_less=True) for i in range(len(self.x))]
        m.d.sync += [x[i].eq(self.x[i]) for i in range(len(x))]
        return [x[p :: plan.pe] if plan.own else x for p in range(plan.pe)]

    def counted(self, m: Module, x: list[list[Value]]) -> list[Value]:
        """Agreements of each neuron's weights and inputs, but for the last register."""
        size = self.plan.fan_in
        return [
            agreements(
                m,
                self.operand(m, self.weights[p * size : (p + 1) * size], f"{p}"),
                Cat(*x[p]),
                f"{p}",
            )
            for p in range(self.plan.pe)
        ]

    def multiplied(self, m: Module, x: list[list[Value]]) -> list[Value]:
        """Sums of each neuron's products, but for the last register."""
        plan = self.plan
        packing, stages = plan.packing, tree_stages(plan.fan_in)
        x_bound = (1 << plan.input_width) - 1
        products: list[list[Bounded]] = [[] for _ in range(plan.pe)]
        for first in range(0, plan.pe, packing.share):
            neurons = range(first, min(first + packing.share, plan.pe))
            inputs = x[first]
            for start in range(0, plan.fan_in, packing.chain):
                chained = range(start, min(start + packing.chain, plan.fan_in))
                weights = [[self.weight(p, i) for p in neurons] for i in chained]
                if plan.multiplier not in BLOCKS:
                    products[first] += self.fabric(m, weights[0][0], inputs[start], f"{first}_{start}")
                    continue
                fields = self.shared(m, weights, [inputs[i] for i in chained], f"{first}_{start}")
                for p, field, weight in zip(neurons, fields, weights[0], strict=True):
                    lo, hi = bounds(weight.shape())
                    products[p].append((field, lo * x_bound * len(chained), hi * x_bound * len(chained)))

        # one stage behind x as the products are two: it meets the trees before their last stage
        correction = Signal(range(plan.fan_in * x_bound + 1), reset_less=True)
        coded = [self.coded(p) and packing.offset != 0 for p in range(plan.pe)]
        if any(coded):
            terms: list[Bounded] = [(v, 0, x_bound) for v in x[0]]
            for stage in range(stages):
                terms = add_up(m, terms, f"correction{stage}")
            m.d.comb += correction.eq(terms[0][0])
        totals = []
        for p in range(plan.pe):
            values = products[p]
            for stage in range(stages - 1):
                radix = TREE_RADIX if stage else TREE_RADIX // packing.chain
                values = add_up(m, values, f"sum{p}_{stage}", radix)
            total: Value = sum((v for v, _, _ in values[1:]), start=values[0][0])
            if coded[p]:
                total = total * 1 if packing.scale == 1 else Cat(Const(0, 1), total)
                total = total - (correction << (packing.offset.bit_length() - 1))
            totals.append(total)
        return totals

    def coded(self, neuron: int) -> bool:
        """Whether a neuron's weights are multiplied as codes, so that its sum needs a correction.

        Neurons with inputs of their own would each need one of their own; their bipolar weights are decoded instead.
        """
        return self.plan.packing.coded(neuron, self.plan.pe) and not self.plan.own

    def weight(self, neuron: int, i: int) -> Value:
        """The field of the weight word: a code, or two's complement."""
        plan, width = self.plan, self.plan.weight_type.width
        bits = self.weights.word_select(neuron * plan.fan_in + i, width)
        if plan.counts or self.coded(neuron):
            return bits
        if plan.weight_type.is_bipolar:
            return Cat(Const(1, 1), ~bits).as_signed()
        return bits.as_signed() if plan.weight_type.signed else bits

    def operand(self, m: Module, value: Value, name: str) -> Value:
        """A weight, or weights side by side, in a register, which a constant does not need."""
        if self.plan.steps == 1:
            return value
        operand = Signal(value.shape(), name=f"a{name}", reset_less=True)
        m.d.sync += operand.eq(value)
        return operand

    def shared(self, m: Module, weights: list[list[Value]], x: list[Value], name: str) -> list[Value]:
        """A multiplier for the weights that meet each input; a DSP48E1's adder sums up what the others give.

        Operand and product registers have no reset and no enable, so that they fit into it.
        """
        packing, top_signed = self.plan.packing, weights[0][-1].shape().signed
        products = []
        for i, (row, value) in enumerate(zip(weights, x, strict=True)):
            places: list[Value] = [Cat(w, Const(0, packing.field - len(w))) for w in row[:-1]]
            top = row[-1] if top_signed else Cat(row[-1], Const(0, 1))
            a = self.operand(m, Cat(*places, top).as_signed(), f"{name}_{i}")
            product = Signal(signed(len(a) + len(value)), name=f"product{name}_{i}", reset_less=True)
            m.d.sync += product.eq(a * value)
            products.append(product)
        total = sum(products[1:], start=products[0])
        at = (len(weights[0]) - 1) * packing.field
        lower: list[Value] = [total[i : i + packing.field] for i in range(0, at, packing.field)]
        return [*lower, total[at:].as_signed() if top_signed else total[at:]]

    def fabric(self, m: Module, weight: Value, x: Value, name: str) -> list[Bounded]:
        """A small product in LUTs, added up over the bits of the weight; of a wide weight in two parts, for the tree.

        As many terms as the tree adds up between two registers; a part more where that takes the tree no stage more.
        """
        w = self.operand(m, weight, name)
        stages = tree_stages(self.plan.fan_in)
        cut = len(w) // 2 if len(w) > TREE_RADIX and tree_stages(2 * self.plan.fan_in) == stages else 0
        parts = [(w[:cut], 0), (w[cut:].as_signed() if w.shape().signed else w[cut:], cut)] if cut else [(w, 0)]
        products: list[Bounded] = []
        for part, shift in parts:
            terms = [Mux(part[i], x, 0) << i for i in range(len(part))]
            value = sum(terms[:-1], start=Const(0, 1))
            value = value - terms[-1] if part.shape().signed else value + terms[-1]
            lo, hi = (bound * ((1 << len(x)) - 1) for bound in bounds(part.shape()))
            product = Signal(
                bounded_shape(lo, hi), name=f"product{name}" + (f"_{shift}" if cut else ""), reset_less=True
            )
            m.d.sync += product.eq(value)
            products.append((product << shift, lo << shift, hi << shift))
        return products


def agreements(m: Module, a: Value, b: Value, name: str) -> Value:
    """How many bits of ``a`` and ``b`` are equal: ``1 + tree_stages`` stages, the last of them without its register.

    A LUT6 takes three pairs to a bit of their number; from 17 pairs on three LUT6 turn six bits of one weight into
    their number too, before adders take over. Both remove a bit a LUT, as a carry chain does.
    """
    stages = tree_stages(len(a))
    equal = Signal(len(a), name=f"equal{name}")
    m.d.comb += equal.eq(~(a ^ b))
    ones, twos = registered(m, f"pairs{name}", count(parts(equal, 3)))
    if len(a) <= TREE_RADIX**2:
        numbers: list[Bounded] = [(Cat(one, two), 0, 3) for one, two in zip(ones, twos, strict=True)]
    else:
        stages -= 1
        columns = []
        for place, column in enumerate((ones, twos)):
            counted = registered(m, f"sixes{name}_{place}", count(parts(column, 6)))
            columns.append([(Cat(Const(0, place), *bits), 0, 6 << place) for bits in zip(*counted, strict=True)])
        # numbers of either weight in turn, so that those that overlap are added first
        numbers = [number for pair in zip(*columns, strict=True) for number in pair]
    for stage in range(stages - 1):
        numbers = add_up(m, numbers, f"sum{name}_{stage}")
    return sum((v for v, _, _ in numbers[1:]), start=numbers[0][0])


def parts(bits: Value, count: int) -> list[Value]:
    """``count`` parts of equal length, filled up with zeros."""
    size = -(-len(bits) // count)
    filled = Cat(bits, Const(0, size * count - len(bits)))
    return [filled[i * size : (i + 1) * size] for i in range(count)]


def registered(m: Module, name: str, values: list[Value]) -> list[Signal]:
    """Each value in a register."""
    registers = [Signal(len(value), name=f"{name}_{i}", reset_less=True) for i, value in enumerate(values)]
    m.d.sync += [register.eq(value) for register, value in zip(registers, values, strict=True)]
    return registers


def count(bits: list[Value]) -> list[Value]:
    """How many of three or six bits are high, for each place of equally long values: the number's bits, lowest first.

    Written as logic of those bits, of which each becomes a LUT6; adders would become carry chains.
    """
    a, b, c = bits[:3]
    low, high = a ^ b ^ c, a & b | c & (a ^ b)
    if len(bits) == 3:
        return [low, high]
    low_, high_ = count(bits[3:])
    carry = low & low_
    return [low ^ low_, high ^ high_ ^ carry, high & high_ | carry & (high ^ high_)]


Bounded = tuple[Value, int, int]
"""A value with the bounds that it keeps."""


def bounds(shape: Shape) -> tuple[int, int]:
    """The least and the greatest value of a shape."""
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def bounded_shape(lo: int, hi: int) -> Shape:
    """The narrowest shape that holds ``lo..hi``."""
    return signed(signed_bits(lo, hi)) if lo < 0 else unsigned(max(hi.bit_length(), 1))


def add_up(m: Module, values: list[Bounded], name: str, radix: int = TREE_RADIX) -> list[Bounded]:
    """One stage of an adder tree: registered sums of ``radix`` values each, of exactly the width they need."""
    sums: list[Bounded] = []
    for start in range(0, len(values), radix):
        part = values[start : start + radix]
        lo, hi = sum(b for _, b, _ in part), sum(b for _, _, b in part)
        register = Signal(bounded_shape(lo, hi), name=f"{name}_{start // radix}", reset_less=True)
        m.d.sync += register.eq(sum((v for v, _, _ in part[1:]), start=part[0][0]))
        sums.append((register, lo, hi))
    return sums
