"""Multiply and shift: constants with given breakpoints, against search by brute force."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.graph import Activation, IntType, Requantize
from accel.graph.steps import Clip, FixedPoint, Linear, Round, rationals
from accel.passes.breakpoints import Breakpoints, breakpoints
from accel.passes.multiply_shift import multiply_shift, nearly_even, turned


def outputs(steps: Breakpoints, x: np.ndarray) -> np.ndarray:
    """The functions themselves; x of shape (n,), result (n, C)."""
    taken = (x[:, None, None] >= steps.points).sum(axis=2)
    return np.where(steps.falling, steps.out.hi - taken, steps.out.lo + taken)


def single(points: list[int], lo: int, hi: int, out: IntType, falling: bool = False) -> Breakpoints:
    return Breakpoints(np.array([points]), np.array([lo]), np.array([hi]), np.array([falling]), out)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(-9, 9), min_size=3, max_size=3).map(sorted),
    st.booleans(),
    st.integers(-3, 2),
)
def test_finds_constants_exactly_where_there_are_some(points: list[int], falling: bool, lowest: int) -> None:
    """All multipliers of 4 bits and shifts below 4, with every bias, for functions of 17 inputs and 4 levels."""
    lo, hi = -8, 8
    out = IntType(lowest, lowest + 3)
    steps = single(np.clip(points, lo, hi + 1).tolist(), lo, hi, out, falling)
    x = np.arange(lo, hi + 1)
    expected = outputs(steps, x)[:, 0]

    def works(m: int, biases: np.ndarray, shift: int, ties: bool) -> bool:
        op = Requantize("r", ("x",), "y", np.full(biases.shape, m), biases, shift, out, ties)
        return bool((op.run(np.repeat(x[:, None], len(biases), axis=1)) == expected[:, None]).all(axis=0).any())

    def exists(most_shift: int, most: int) -> bool:
        return any(
            works(m, np.arange(-8 * most - (4 << shift), 8 * most + (4 << shift) + 1), shift, ties)
            for ties, shift in itertools.product((False, True), range(most_shift + 1))
            if shift or not ties
            for m in range(-most, most + 1)
        )

    found = multiply_shift(steps, most_bits=4)
    if found is None:
        assert not exists(2, 7)
    else:
        m, b = int(found.multiplier[0]), int(found.bias[0])
        assert works(m, np.array([b]), found.shift, found.ties_to_even)
        assert abs(m) < 2**3
        assert found.width <= 2 or not exists(1, 2 ** (found.width - 2) - 1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.fractions(-2, 2, max_denominator=999), st.fractions(-50, 50)), min_size=1, max_size=6),
    st.integers(3, 8),
    st.booleans(),
    st.sampled_from(["HALF_EVEN", "FLOOR", "HALF_UP"]),
)
def test_real_requantizers_are_met(lines: list[tuple[Fraction, Fraction]], bits: int, signed: bool, mode: str) -> None:
    """A clipped straight line of any slope has constants, and they give its breakpoints on every input."""
    out = IntType.of(width=bits, signed=signed)
    scale, offset = (rationals(each) for each in zip(*lines, strict=True))
    clip = Clip(rationals([out.lo]), rationals([out.hi]))
    line = Activation("a", ("x",), "y", (Linear(scale, offset), Round(mode), clip), out)
    lo, hi = np.full(len(lines), -700), np.full(len(lines), 900)
    steps = breakpoints(line, lo, hi)
    x = np.arange(-700, 901)
    original = line.run(np.repeat(x[:, None], len(lines), axis=1))
    assert (outputs(steps, x) == original).all()
    found = multiply_shift(steps)
    if mode == "FLOOR":
        assert found is not None
    if found is not None:
        op = Requantize("r", ("x",), "y", found.multiplier, found.bias, found.shift, out, found.ties_to_even)
        assert (op.run(np.repeat(x[:, None], len(lines), axis=1)) == original).all()


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(2, 400), st.integers(1, 9), st.integers(-40, 40)), min_size=1, max_size=3),
    st.integers(9, 12),
    st.booleans(),
)
def test_ties_are_nearly_met(lines: list[tuple[int, int, int]], bits: int, falling: bool) -> None:
    """Half is rounded to even with any ratio, by an exact multiplier or by one that is near enough."""
    out = IntType.of(width=bits, signed=True)
    scale = rationals([Fraction(-q if falling else q, p) for p, q, _ in lines])
    steps = Linear(scale, rationals([Fraction(offset, 4) for *_, offset in lines])), Round("HALF_EVEN")
    line = Activation("a", ("x",), "y", (*steps, Clip(rationals([out.lo]), rationals([out.hi]))), out)
    lo, hi = np.full(len(lines), -3000), np.full(len(lines), 2800)
    points = breakpoints(line, lo, hi)
    found = multiply_shift(points, most_bits=48, wide=True) or nearly_even(points, most_bits=48)
    assert found is not None
    rounding = found.ties_to_even, None, None, found.near
    op = Requantize("r", ("x",), "y", found.multiplier, found.bias, found.shift, out, *rounding)
    x = np.repeat(np.arange(-3000, 2801)[:, None], len(lines), axis=1)
    assert (op.run(x) == line.run(x)).all()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(2**30, 2**31 - 1), st.integers(-9, -3), st.integers(-900, 900)), min_size=1, max_size=5
    ),
    st.integers(-128, 127),
)
def test_turned(channels: list[tuple[int, int, int]], zero_point: int) -> None:
    """Rounded twice and symmetrically, as TFLite does it: one multiplier and two biases are the same on every input."""
    multiplier, shift, offset = zip(*channels, strict=True)
    steps = (
        Linear(rationals([1]), rationals(offset)),
        FixedPoint(np.array(multiplier), np.array(shift)),
        Linear(rationals([1]), rationals([zero_point])),
        Clip(rationals([-128]), rationals([127])),
    )
    out = IntType(-128, 127)
    rounded = Activation("a", ("x",), "y", steps, out)
    assert rounded.turn is not None
    assert rounded.turn.tolist() == [-v for v in offset]
    lo, hi = np.full(len(channels), -3000), np.full(len(channels), 2800)
    found = turned(breakpoints(rounded, lo, hi), rounded.turn)
    assert found is not None
    op = Requantize(
        "r", ("x",), "y", found.multiplier, found.bias, found.shift, out, found.ties_to_even, found.turn, found.above
    )
    x = np.repeat(np.arange(-3000, 2801)[:, None], len(channels), axis=1)
    assert (op.run(x) == rounded.run(x)).all()


def test_a_turn_is_needed_where_both_sides_are_seen() -> None:
    """Four accumulators a level: on one line the levels below zero would come an accumulator late."""
    steps = (FixedPoint(np.array([3 << 29]), np.array([-2])), Clip(rationals([-100]), rationals([100])))
    rounded = Activation("a", ("x",), "y", steps, IntType(-100, 100))
    found = breakpoints(rounded, np.array([-400]), np.array([400]))
    assert multiply_shift(found) is None
    assert turned(found, np.array([0])) is not None
    assert turned(found, np.array([9])) is None  # between other levels it does not help
    falling = Breakpoints(found.points, found.lo, found.hi, np.array([True]), found.out)
    assert turned(falling, np.array([0])) is None


def test_division_by_a_power_of_two_needs_no_multiplier() -> None:
    """As in AD08: rounding half to even is what makes the multiplier 1."""
    out = IntType(0, 63)
    half_even = Activation(
        "a",
        ("x",),
        "y",
        (
            Linear(rationals([Fraction(1, 32)]), rationals([Fraction(5, 32)])),
            Round(),
            Clip(rationals([0]), rationals([63])),
        ),
        out,
    )
    found = multiply_shift(breakpoints(half_even, np.array([-4000]), np.array([4000])))
    assert found is not None
    assert (found.multiplier.tolist(), found.bias.tolist(), found.shift, found.ties_to_even) == ([1], [21], 5, True)


def test_what_is_no_line_has_no_constants() -> None:
    out = IntType(0, 3)
    assert multiply_shift(single([0, 1, 50], -100, 100, out)) is None
    assert multiply_shift(single([0, 10, 20], -100, 100, out)) is not None
    assert multiply_shift(single([0], -100, 100, IntType.bipolar())) is None  # levels two apart
    wide = single([0, 10, 20], -(2**40), 2**40, out)
    assert multiply_shift(wide) is None  # sums would not fit 64 bits
    found = multiply_shift(wide, wide=True)
    assert found is not None and found.width < 9 and found.multiplier.dtype == np.int64  # but these do
