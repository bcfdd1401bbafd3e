"""Steps: the interval arithmetic and the rational arithmetic of a chain agree with its literal definition."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_networks import ROUNDING as LITERAL

from accel.graph.steps import ROUNDING, Clip, FixedPoint, Linear, Round, Sign, Step, enclose, evaluate, rationals

RATIONALS = (
    st.fractions(-8, 8, max_denominator=64)
    | st.floats(-4, 4).map(Fraction)
    | st.sampled_from([Fraction(1, 2), Fraction(2**60 + 1, 2**59), Fraction(1, 10**400), Fraction(10**400)])
)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    numbers = [rationals([draw(RATIONALS) for _ in range(draw(st.sampled_from([1, 3])))]) for _ in range(2)]
    match draw(st.sampled_from(["Linear", "Clip", "Round", "Sign"])):
        case "Linear":
            return Linear(*numbers)
        case "Clip":
            return Clip(*(each if draw(st.booleans()) else None for each in numbers))
        case "Round":
            return Round(draw(st.sampled_from(sorted(ROUNDING))))
    return Sign()


def literal(chain: tuple[Step, ...], x: Fraction, channel: int) -> Fraction:
    for step in chain:
        match step:
            case Linear():
                x = x * step.scale[channel % step.scale.size] + step.offset[channel % step.offset.size]
            case Clip():
                x = x if step.lo is None else max(x, step.lo[channel % step.lo.size])
                x = x if step.hi is None else min(x, step.hi[channel % step.hi.size])
            case Round():
                x = Fraction(LITERAL[step.mode](x))
            case Sign():
                x = Fraction(1 if x >= 0 else -1)
    return x


@settings(max_examples=150, deadline=None)
@given(
    st.lists(steps(), max_size=4),
    st.sampled_from(sorted(ROUNDING)),
    st.lists(st.integers(-40, 40) | st.integers(-(2**62), 2**62), min_size=3, max_size=3),
)
def test_evaluate_is_the_literal_definition(chain: list[Step], mode: str, x: list[int]) -> None:
    bounds = Clip(rationals([-(2**40)]), rationals([2**40]))
    whole = (*chain, bounds, Round(mode))
    expected = [literal(whole, Fraction(v), c) for c, v in enumerate(x)]
    assert evaluate(whole, np.array([x], dtype=np.int64)).tolist() == [expected]
    assert evaluate(whole, rationals([x])).tolist() == [expected]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(-31, 8)), min_size=1, max_size=3),
    st.integers(-300, 300),
    st.lists(st.integers(-(2**22), 2**22), min_size=1, max_size=4),
    st.booleans(),
)
def test_fixed_point(pairs: list[tuple[int, int]], offset: int, x: list[int], huge: bool) -> None:
    """Two roundings: halves upwards, then halves away from zero. Beyond 32 bits rational arithmetic goes on."""
    step = FixedPoint(*(np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True)))
    values = [v << 18 if huge else v for v in x]
    chain = (Linear(rationals([1]), rationals([offset])), step)

    def literal(v: int, multiplier: int, shift: int) -> int:
        high = math.floor(Fraction((v + offset) * multiplier * 2 ** max(shift, 0), 2**31) + Fraction(1, 2))
        return LITERAL["HALF_UP"](Fraction(high, 2 ** max(-shift, 0)))

    expected = [[literal(v, *pair) for pair in pairs] for v in values]
    repeated = np.repeat(np.array(values, dtype=np.int64)[:, None], len(pairs), axis=1)
    assert evaluate(chain, repeated).tolist() == expected
    assert evaluate(chain, rationals(repeated)).tolist() == expected


@pytest.mark.parametrize("mode", sorted(ROUNDING))
def test_rounding_of_ties_and_their_neighbours(mode: str) -> None:
    """Floats next to a tie, where adding a half would round wrongly."""
    ties = np.arange(-8, 9) / 2
    x = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf)])
    assert evaluate((Round(mode),), x).tolist() == [LITERAL[mode](Fraction(v)) for v in x.tolist()]


@given(st.lists(RATIONALS | st.integers(-(2**80), 2**80).map(Fraction), min_size=1, max_size=5))
def test_enclose_holds_the_number_and_is_tight(numbers: list[Fraction]) -> None:
    lo, hi = enclose(rationals(numbers))
    for number, low, high in zip(numbers, lo.tolist(), hi.tolist(), strict=True):
        assert low <= number <= high
        assert high in (low, math.nextafter(low, math.inf))
        assert (low == high) == (abs(number) < 2**1024 and Fraction(float(number)) == number)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"^rounding mode must be one of HALF_EVEN, CEIL, .*, not 'NEAREST'$"):
        Round("NEAREST")
    with pytest.raises(ValueError, match=r"^multiplier must lie within 0..2147483647, not -1..5$"):
        FixedPoint(np.array([-1, 5]), np.array([0]))
    with pytest.raises(ValueError, match=r"^shift must lie within -31..30, not 31..31$"):
        FixedPoint(np.array([5]), np.array([31]))
    half = Linear(rationals([Fraction(1, 2)]), rationals([0]))
    with pytest.raises(ValueError, match=r"^a fixed-point multiplication is of integers only$"):
        evaluate((half, FixedPoint(np.array([2**30]), np.array([0]))), np.array([1, 2]))
    with pytest.raises(ValueError, match=r"^the steps do not end in an integer of 64 bits$"):
        evaluate((half,), np.array([1, 2]))
    with pytest.raises(ValueError, match=r"^the steps do not end in an integer of 64 bits$"):
        evaluate((Linear(rationals([2**63]), rationals([0])),), np.array([1]))
