"""Sums where branches meet: least multipliers, equal for every pair of operands."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.graph import Activation, Add, Graph, IntType, Requantize, Table, Tensor, Threshold
from accel.graph.steps import Clip, FixedPoint, Linear, Round, rationals
from accel.passes import lower
from accel.passes.residual import Meeting, approximations, digits, simplest

U4, I4, I5, U8, I8 = (IntType.of(width=w, signed=s) for w, s in ((4, 0), (4, 1), (5, 1), (8, 0), (8, 1)))


def quantizer(scale: object, offset: object, out: IntType, mode: str = "HALF_EVEN") -> tuple[Linear, Round, Clip]:
    return Linear(rationals(scale), rationals(offset)), Round(mode), Clip(rationals([out.lo]), rationals([out.hi]))


def branches(
    kinds: tuple[IntType, IntType],
    multipliers: tuple[int, int],
    activation: tuple[Linear, Round, Clip],
    out: IntType,
    channels: int = 1,
) -> Graph:
    """Both operands are made of the input of one pixel, so that a batch can hold all pairs of them."""
    wire = IntType(0, kinds[0].levels * kinds[1].levels - 1)
    x = np.arange(wire.levels)
    tables = [
        Table(name, ("x",), name, (kind.lo + kind.step * index)[None], wire, kind)
        for name, kind, index in zip("ab", kinds, (x // kinds[1].levels, x % kinds[1].levels), strict=True)
    ]
    add = Add("sum", ("a", "b"), "sum", multipliers)
    return Graph(
        "g", Tensor("x", (1, 1, channels), wire), "y", (*tables, add, Activation("y", ("sum",), "y", activation, out))
    )


def all_pairs(graph: Graph) -> np.ndarray:
    return np.repeat(np.arange(graph.input.type.levels)[:, None, None, None], graph.input.shape[-1], axis=3)


def meeting(graph: Graph) -> Meeting:
    producers = {op.output: op for op in graph.operators}
    add, activation = producers["sum"], producers["y"]
    assert isinstance(add, Add)
    assert isinstance(activation, Activation)
    found = Meeting.of(graph, add, activation, producers)
    assert found is not None
    return found


SCALES = st.floats(0.015625, 1.0, width=32).map(Fraction)


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.tuples(*[st.sampled_from([U4, I4, I5, IntType(-3, 9), IntType.bipolar()])] * 2),
    scales=st.tuples(SCALES, SCALES | SCALES.map(lambda s: -s)),
    slopes=st.lists(st.fractions(-1, 1, max_denominator=20).filter(bool), min_size=1, max_size=3),
    out=st.sampled_from([IntType(0, 3), IntType(-8, 7), IntType(0, 40)]),
    mode=st.sampled_from(["HALF_EVEN", "FLOOR", "HALF_UP"]),
)
def test_random_sums(
    kinds: tuple[IntType, IntType],
    scales: tuple[Fraction, Fraction],
    slopes: list[Fraction],
    out: IntType,
    mode: str,
) -> None:
    """Equal for all pairs, and no pair of multipliers that is smaller in both keeps them apart."""
    ratio = scales[0] / scales[1]
    multipliers = (ratio.numerator, ratio.denominator)
    step = Fraction(1, 2**23 * 10)
    graph = branches(
        kinds, multipliers, quantizer([s * step for s in slopes], [3] * len(slopes), out, mode), out, len(slopes)
    )
    lowered = lower(graph)
    x = all_pairs(graph)
    assert (graph.run(x) == lowered.run(x)).all()
    together = meeting(graph)
    (narrow, _), *_ = itertools.islice(together.sums(), 1)
    p, q = map(abs, narrow.multipliers)
    assert together.judge(p, q) == 0
    smaller = [
        (a, b) for a, b in itertools.product(range(1, min(p, 9) + 1), range(1, min(q, 9) + 1)) if (a, b) != (p, q)
    ]
    assert all(together.judge(a, b) != 0 for a, b in smaller)


def test_scales_of_24_bits_become_small() -> None:
    graph = branches((U8, I8), (12582911, 9395241), quantizer([Fraction(1, 2**24)], [3], U8), U8)
    lowered = lower(graph)
    add, activation = lowered.operators[-2:]
    assert isinstance(add, Add)
    assert isinstance(activation, Requantize)
    assert sum(map(digits, add.multipliers)) <= 10
    assert lowered.tensors["sum"].type.width <= 22
    assert (graph.run(all_pairs(graph)) == lowered.run(all_pairs(graph))).all()


def test_one_scale_needs_no_multiplier() -> None:
    graph = branches((U8, U8), (1, 1), quantizer([Fraction(1, 2)], [0], U8), U8)
    add, activation = lower(graph).operators[-2:]
    assert isinstance(add, Add)
    assert isinstance(activation, Requantize)
    assert (add.multipliers, set(activation.multiplier), activation.shift, activation.ties_to_even) == (
        (1, 1),
        {1},
        1,
        True,
    )


def test_operands_that_are_only_widened_are_read_directly() -> None:
    """As TFLite adds: each operand in 20 more bits, rounded, and their sum rounded again."""
    wide = IntType(-(2**28), 2**28)
    widen = [
        (Linear(rationals([2**20]), rationals([3 << 20])), FixedPoint(np.array([m]), np.array([0])))
        for m in (1073741824, 1518500250)
    ]
    base = branches((I8, I8), (1, 1), quantizer([1], [0], I8), I8)
    tables = base.operators[:2]
    terms = [
        Activation(f"wide_{t.output}", (t.output,), f"wide_{t.output}", steps, wide)
        for t, steps in zip(tables, widen, strict=True)
    ]
    last = Activation(
        "y", ("sum",), "y", (FixedPoint(np.array([1600000000]), np.array([-20])), *quantizer([1], [-7], I8)), I8
    )
    graph = base.with_operators((*tables, *terms, Add("sum", ("wide_a", "wide_b"), "sum"), last))
    lowered = lower(graph)
    assert [type(op) for op in lowered.operators] == [Table, Table, Add, Requantize]
    assert lowered.tensors["sum"].type.width <= 32
    assert (graph.run(all_pairs(graph)) == lowered.run(all_pairs(graph))).all()


def test_sums_that_others_read_stay() -> None:
    base = branches((I4, I4), (3000, 2000), quantizer([Fraction(1, 1000)], [0], I4), I4)
    other = Activation("z", ("sum",), "z", quantizer([Fraction(1, 100)], [0], I4), I4)
    graph = base.with_operators((*base.operators, other, Add("out", ("y", "z"), "out")), "out")
    lowered = lower(graph)
    assert lowered.operators[2] == graph.operators[2]
    assert (graph.run(all_pairs(graph)) == lowered.run(all_pairs(graph))).all()


def test_too_many_pairs_stay_exact() -> None:
    """Operands of 10 bits each are more pairs than are tried; the sum is exact all the same."""
    wide = IntType(0, 1023)
    add = Add("sum", ("a", "a"), "sum", (3001, -2000))
    table = Table("a", ("x",), "a", np.arange(1024)[None], wide, wide)
    activation = Activation("y", ("sum",), "y", quantizer([Fraction(1, 90000)], [0], I5, "FLOOR"), I5)
    graph = Graph("g", Tensor("x", (1,), wide), "y", (table, add, activation))
    lowered = lower(graph)
    assert lowered.operators[1] == add
    x = np.arange(1024)[:, None]
    assert (graph.run(x) == lowered.run(x)).all()


@settings(max_examples=100, deadline=None)
@given(st.fractions(Fraction(1, 60), 60, max_denominator=5000), st.fractions(0, Fraction(1, 4), max_denominator=5000))
def test_simplest_ratio_of_an_interval(low: Fraction, size: Fraction) -> None:
    high = low + size

    def judge(p: int, q: int) -> int:
        return 1 if Fraction(p, q) < low else -1 if Fraction(p, q) > high else 0

    found = simplest(judge)
    assert found is not None
    assert low <= Fraction(*found) <= high
    assert all(judge(p, q) for q in range(1, min(found[1], 20)) for p in range(1, min(found[0], 20) + 1))


def test_simplest_gives_up() -> None:
    assert simplest(lambda p, q: 1) is None
    assert simplest(lambda p, q: None) is None
    third = Fraction(1, 3)
    assert simplest(lambda p, q: 1 if Fraction(p, q) <= third else -1) is None
    assert list(approximations(Fraction(2, 5))) == [(1, 1), (1, 2), (1, 3), (2, 5)]


@pytest.mark.parametrize(("factor", "count"), [(0, 0), (1, 1), (7, 2), (-7, 2), (0b1011, 3), (255, 2), (0b10101, 3)])
def test_digits(factor: int, count: int) -> None:
    assert digits(factor) == count


def test_threshold_outputs() -> None:
    graph = branches(
        (I4, U4),
        (10**6 + 1, -(10**6) + 7),
        quantizer([Fraction(1, 4 * 10**6)], [Fraction(1, 8)], IntType(-1, 2)),
        IntType(-1, 2),
    )
    lowered = lower(graph)
    assert isinstance(lowered.operators[-1], Threshold)
    assert isinstance(lowered.operators[-2], Add)
    assert lowered.operators[-2].multipliers == (1, -1)
    assert (graph.run(all_pairs(graph)) == lowered.run(all_pairs(graph))).all()
