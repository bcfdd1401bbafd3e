"""Narrow operands of a requantization: the same results for every number, in fewer DSP48E1 where that can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.dataflow.multipliers import DSP48E1, MULT18X18D
from accel.dataflow.narrow import (
    Constants,
    Narrowed,
    is_shift,
    narrow,
    signed_bits,
    significant_bits,
)
from accel.frontends import load
from accel.graph import Conv, Dense, IntType, Requantize
from accel.passes import lower


def results(narrowed: Narrowed, constants: Constants, s: np.ndarray) -> np.ndarray:
    """What a unit computes of one number for each channel."""
    ends, ties = constants.ends, constants.ties
    if narrowed.kept is not None:
        half = 1 << (narrowed.kept - 1)
        s = np.clip(s - (narrowed.offset << narrowed.grain), -half, half - 1)
    total = s * narrowed.multiplier + np.where(s >= narrowed.turn, narrowed.upper, narrowed.bias)
    assert narrowed.totals[0] <= total.min() and total.max() <= narrowed.totals[1]
    dropped = np.where(narrowed.steep, narrowed.drop, 0)
    shift, near = narrowed.shift - dropped, np.maximum(constants.near - dropped, 0)
    tie = ties & ((total & ((1 << shift) - 1)) >> near == 0)
    quotient = total >> shift
    return np.clip(np.where(tie, quotient & ~1, quotient), *ends)


def numbers(constants: Constants, rng: np.random.Generator, count: int) -> np.ndarray:
    """Numbers of all channels, shape (count, C): drawn, the ends, and those around steps and the window."""
    lo, hi = constants.lo, constants.hi
    drawn = rng.integers(lo, hi + 1, (count, len(lo)))
    middle = -(constants.bias // np.where(constants.multiplier == 0, 1, constants.multiplier))
    near = middle + rng.integers(-(2**19), 2**19, (count, len(lo)))
    at = constants.turn + rng.integers(-2, 3, (count, len(lo)))
    return np.clip(np.concatenate([drawn, near, at, [lo, hi]]), lo, hi)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.integers(12, 44),
    steep=st.integers(0, 6),
    width=st.integers(16, 24),
    turned=st.booleans(),
    ties=st.sampled_from([None, 0, 3, 9]),
    falling=st.booleans(),
)
def test_the_same_for_every_number(
    *, seed: int, bits: int, steep: int, width: int, turned: bool, ties: int | None, falling: bool
) -> None:
    rng = np.random.default_rng(seed)
    channels = 6
    zeros = np.where(np.arange(channels) < 2, steep, 0)
    multiplier = rng.integers(1 << (bits - 2), 1 << (bits - 1), channels) >> zeros << zeros
    shift = bits + 8 - int(rng.integers(0, 4))
    bias = (rng.integers(-(1 << (shift + 6)), 1 << (shift + 6), channels) >> zeros) << zeros
    turn = above = None
    if turned:
        turn = rng.integers(-(1 << (width - 2)), 1 << (width - 2), channels)
        above = rng.integers(-(1 << shift), 1 << shift, channels) >> zeros << zeros
    if bits > 34:  # sums of 64 bits and more
        multiplier, bias, above = (each if each is None else each.astype(object) for each in (multiplier, bias, above))
    rest = IntType(-128, 127), ties is not None, turn, above
    op = Requantize("r", ("x",), "y", multiplier * (-1 if falling else 1), bias, shift, *rest, near=ties or None)
    start = rng.integers(-(1 << (width - 3)), 1 << (width - 3), channels)
    lo, hi = np.sort(rng.integers(-(1 << (width - 1)), 1 << (width - 1), (2, channels)), axis=0)
    constants = Constants.of(op, lo, hi, start=start)
    narrowed = narrow(constants, width=width)
    for s in numbers(constants, rng, 300):
        expected = op.run(s + start)
        assert constants.run(s).tolist() == expected.tolist()
        assert results(narrowed, constants, s).tolist() == expected.tolist()


def test_layers_of_one_unit() -> None:
    """Of two layers the one with the smaller shift is scaled, beyond 64 bits if it has to be, and rounds as before."""
    rng = np.random.default_rng(0)
    out, (lo, hi) = IntType(-128, 127), np.array([[-(1 << 20)] * 2, [1 << 20] * 2])
    small = Requantize("r", ("x",), "y", np.array([5243, 5243]), np.array([1 << 18] * 2), 19, out, True, near=12)
    far = 1 << 62
    large = Requantize("r", ("x",), "y", np.array([far] * 2, dtype=object), np.array([far] * 2, dtype=object), 70, out)
    each = [Constants.of(op, lo, hi) for op in (small, large)]
    both = Constants.joined(each)
    assert (both.multiplier.dtype, both.near.tolist(), both.shift) == (object, [63, 63, 0, 0], 70)
    for s in numbers(each[0], rng, 100):
        expected = np.concatenate([op.run(s) for op in (small, large)])
        assert both.run(np.tile(s, 2)).tolist() == expected.tolist()


def test_sizes_of_the_multiplier() -> None:
    sizes = ((25, 18), (18, 25), (26, 18), (25, 19), (26, 19), (29, 20), (4, 4), (1, 30), (42, 35), (43, 35), (43, 36))
    assert [DSP48E1.parts(*both) for both in sizes] == [1, 1, 2, 2, 4, 4, 0, 0, 4, 6, 9]
    assert [MULT18X18D.parts(*both) for both in sizes] == [2, 2, 2, 4, 4, 4, 1, 0, 6, 6, 6]
    assert [signed_bits(*ends) for ends in ((0, 0), (-1, 0), (0, 1), (-128, 127), (-129, 5), (3, 4))] == [
        1, 1, 2, 8, 9, 4,
    ]  # fmt: skip
    assert is_shift(np.array([8, 8])) and not is_shift(np.array([8, 4])) and not is_shift(np.array([-8, -8]))


def one(multiplier: list[int], bias: list[int], shift: int) -> Requantize:
    return Requantize("r", ("x",), "y", np.array(multiplier), np.array(bias), shift, IntType(-128, 127))


def test_what_is_dropped_and_what_is_kept() -> None:
    far = np.full(2, 1 << 21)
    plain = Constants.of(one([1 << 23, 3 << 21], [0, 0], 32), -far, far)
    narrowed = narrow(plain, width=23)
    assert (narrowed.drop, narrowed.kept, narrowed.grain, narrowed.offset.tolist()) == (0, DSP48E1.narrow, 17, [0, 0])
    narrowed = narrow(Constants.of(one([5 << 23, 3 << 21], [1 << 20, 1], 32), -far, far), width=23)
    assert (narrowed.drop, narrowed.steep.tolist()) == (2, [True, False])
    assert (narrowed.multiplier.tolist(), narrowed.bias.tolist()) == ([5 << 21, 3 << 21], [1 << 18, 1])
    odd = narrow(Constants.of(one([5 << 23, 3 << 21], [1, 1], 32), -far, far), width=23)  # the bias has no zeros
    assert (odd.drop, odd.kept) == (0, DSP48E1.narrow)
    away = narrow(replace(plain, bias=plain.bias - (3 << 41), upper=plain.upper - (3 << 41)), width=23)
    assert (away.kept, away.grain) == (DSP48E1.narrow, 17) and away.offset.tolist() != [0, 0]
    flat = narrow(
        Constants.of(one([1 << 23, 3 << 15], [0, 0], 32), -far, far), width=23
    )  # 2**20 numbers do not saturate
    assert flat.kept is None
    small = narrow(Constants.of(one([100, 101], [0, 0], 12), -far, far), width=23)  # one DSP48E1 as it is
    assert small.kept is None
    shifts = narrow(Constants.of(one([4, 4], [0, 0], 12), -far, far), width=23)  # none
    assert (shifts.kept, shifts.drop) == (None, 0)


@pytest.mark.parametrize(
    ("name", "most", "lone"),
    [
        ("kws_ref_model", 24, 11),
        ("pretrainedResnet_quant", 25, 8),
        ("ad01_int8", 22, 10),
        ("vww_96_int8", 26, 24),
        ("str_ww_ref_model", 24, 8),
    ],
)
def test_the_references_of_mlperf_tiny(data: Path, name: str, most: int, lone: int) -> None:
    """TFLite's 31 bits become ``most`` at most; so many requantizations take one DSP48E1."""
    graph = lower(load(data / "models" / f"{name}.tflite"))
    makers = {op.output: op for op in graph.operators}
    rng = np.random.default_rng(0)
    found = widest = 0
    for op in graph.operators:
        if not isinstance(op, Requantize):
            continue
        maker, kind = makers[op.inputs[0]], graph.tensors[op.inputs[0]].type
        lo, hi, start = (np.full(len(op.bias), v) for v in (kind.lo, kind.hi, 0))
        if isinstance(maker, Conv | Dense):
            source = graph.tensors[maker.inputs[0]].type
            start = min(source.lo, 0) * maker.weights.reshape(len(maker.weights), -1).sum(axis=1)
            lo, hi = maker.minima(source) - start, maker.maxima(source) - start
        constants = Constants.of(op, lo, hi, start=start)
        width = signed_bits(int(lo.min()), int(hi.max()))
        narrowed = narrow(constants, width=width)
        for s in numbers(constants, rng, 20):
            assert results(narrowed, constants, s).tolist() == op.run(s + start).tolist()
        bits = signed_bits(int(narrowed.multiplier.min()), int(narrowed.multiplier.max()))
        found += DSP48E1.parts(bits, narrowed.kept or width) == 1
        widest = max(widest, significant_bits(op))
    assert (widest, found) == (most, lone)
