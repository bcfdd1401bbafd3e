"""The heads against real arithmetic, and their promises: argmax kept, no overflow, the same constants on both sides."""

from __future__ import annotations

from dataclasses import replace
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_manifest import EXAMPLE

from accel.graph import Affine, ArgMax, Dense, Graph, GraphError, IntType, Tensor
from accel.graph.head import LOG2_E, ROOTS, Head, Port, exp2, results

BYTE = Port(4, IntType(-128, 127), (1.0,), (0.0,))


def softmax_head(scale: tuple[float, ...], offset: tuple[float, ...] = (0.0,), classes: int = 12) -> Head:
    return Head("softmax", BYTE, Port(classes, IntType(-9000, 9000), scale, offset))


def test_constants() -> None:
    exact = Context(prec=60)
    power = Decimal("0.5")
    for root in ROOTS:
        power = power.sqrt(exact)
        assert root == int((power * 2**32).to_integral_value())
    assert abs(LOG2_E - Fraction("1.4426950408889634073599246810018921374266459541529859")) < Fraction(1, 10**49)


def test_powers_of_two() -> None:
    shift = 40
    assert exp2(0, shift) == 2**31
    assert exp2(5 << shift, shift) == 2**26
    assert [exp2(31 << shift, shift), exp2(32 << shift, shift), exp2(2**62, shift)] == [1, 0, 0]
    for d in np.random.default_rng(1).integers(0, 8 << shift, 300):
        exact = 2**31 * 2.0 ** -(int(d) / 2**shift)
        assert -25 < exp2(int(d), shift) - exact < exact * 2**-24


def test_softmax_is_softmax_and_keeps_the_argmax() -> None:
    rng = np.random.default_rng(2)
    for scale in (0.0222, 1e-4, 0.5, 3.0, 1e3):
        head = softmax_head((scale,))
        for spread in (3, 60, 9000):
            for _ in range(40):
                q = rng.integers(-spread, spread + 1, 12)
                printed = np.array([float(text) for text in results(head, np.zeros(4, int), q)])
                e = np.exp(scale * (q - q.max()))
                error = np.abs(printed - e / e.sum())
                assert error[np.argmax(q)] <= 0.0015 + 1e-6
                assert np.delete(error, np.argmax(q)).max() <= 0.0005 + 1e-6
                assert np.argmax(printed) == np.argmax(q)
                assert (printed == printed.max()).sum() == 1


def test_softmax_with_a_scale_a_channel() -> None:
    scale, offset = (0.5, 0.25, 2.0), (0.0, 1.0, -3.0)
    head = softmax_head(scale, offset, classes=3)
    q = np.array([2, 4, 2])  # 1, 2, 1
    e = np.exp([1.0, 2.0, 1.0])
    assert results(head, np.zeros(4, int), q) == [f"{v:.3f}" for v in e / e.sum()]


def test_scores_are_never_negative() -> None:
    head = Head("scores", BYTE, Port(3, IntType(-100, 100), (0.5,), (1.0,)))
    assert results(head, np.zeros(4), np.array([0, 1, 20])) == ["1.000", "1.500", "11.000"]
    assert results(head, np.zeros(4), np.array([-6, 1, 20])) == ["0.000", "3.500", "13.000"]
    assert results(head, np.zeros(4), np.array([7, -7, 7])) == ["7.001", "0.000", "7.000"]  # the first of equals wins
    fine = Head("scores", BYTE, Port(3, IntType(0, 100), (1e-6,), (0.0,)))
    assert results(fine, np.zeros(4), np.array([5, 99, 98])) == ["0.000", "0.001", "0.000"]
    coarse = Head("scores", BYTE, Port(2, IntType(-(2**31), 2**31 - 1), (1.0,), (0.0,)))
    assert results(coarse, np.zeros(4), np.array([-(2**31), 2**31 - 1])) == ["0.000", "4294967295.000"]
    alone = Head("scores", BYTE, Port(1, IntType(-9, 9), (0.3337,), (0.0,)))
    assert [results(alone, np.zeros(4), np.array([v])) for v in (3, -3)] == [["1.001"], ["0.000"]]


def test_argmax_is_one_hot() -> None:
    head = Head("argmax", BYTE, Port(1, IntType(0, 3), (1.0,), (0.0,)))
    assert head.classes == 4
    assert results(head, np.zeros(4), np.array([2])) == ["0.000", "0.000", "1.000", "0.000"]


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 64),
    scales=st.tuples(*[st.floats(1e-4, 4, allow_subnormal=False)] * 2),
    offset=st.floats(-8, 8),
)
def test_mse_is_the_mean_of_squares(seed: int, size: int, scales: tuple[float, float], offset: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-128, 128, size), rng.integers(-300, 301, size)
    head = Head(
        "mse",
        Port(size, IntType(-128, 127), (scales[0],), (offset,)),
        Port(size, IntType(-300, 300), (scales[1],), (0.0,)),
    )
    errors = [
        Fraction(scales[1]) * int(b) - Fraction(scales[0]) * int(a) - Fraction(offset)
        for a, b in zip(x, y, strict=True)
    ]
    exact = sum(e * e for e in errors) / size
    largest = max(abs(e) for e in errors)
    (text,) = results(head, x, y)
    assert abs(Fraction(text) - exact) <= Fraction(1, 2000) + 2 * largest / 2**head.error_bits + Fraction(1, 10**6)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 4, allow_subnormal=False), spread=st.floats(0.1, 40))
def test_mse_of_float32_numbers_takes_them_as_they_are(seed: int, scale: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    port = Port(50, IntType(-128, 127), (scale,), (0.0,))
    head = Head("mse", port, port, reals=True)
    x = (rng.normal(0, 128 * scale * spread, 50)).astype(np.float32)
    y = rng.integers(-128, 128, 50)
    reach = 2.0 ** int(np.floor(np.log2(int(16 * 128 * scale)) + 1)) if 16 * 128 * scale >= 1 else 1.0
    assert head.reach == reach
    errors = np.clip(x.astype(np.float64), -reach, reach) - scale * y
    (text,) = results(head, x, y)
    slack = 2 * np.abs(errors).max() / 2**head.error_bits
    assert abs(float(text) - (errors**2).mean()) <= 0.0005 + slack + 1e-9 * (errors**2).mean()


@given(
    kind=st.sampled_from(("softmax", "scores", "mse")),
    width=st.integers(1, 32),
    scale=st.floats(1e-9, 1e3),
    offset=st.floats(-1e4, 1e4),
)
def test_nothing_overflows_64_bits(kind: str, width: int, scale: float, offset: float) -> None:
    port = Port(9, IntType(-(2 ** (width - 1)), 2 ** (width - 1) - 1), (scale,), (offset,))
    try:
        head = Head(kind, port, port)
        _ = head.error_bits if kind == "mse" else 0
    except GraphError:
        assert head_bound(kind, port) >= 2 ** (21 if kind == "mse" else 37) / 2
        return
    ends = head.fixed([port.type.lo, port.type.hi])
    multiplier, bias = abs(head.fixed.multiplier[0]), abs(head.fixed.bias[0])
    assert multiplier * max(abs(port.type.lo), abs(port.type.hi)) + bias < 2**62
    shift = head.fixed.shift
    assert 24 <= shift <= 52
    if kind == "scores":
        spread = max(ends) - min(0, *ends)
        assert (spread >> shift) * 1000 + 1000 < 2**64
        assert (2**shift - 1) * 1000 + 2 ** (shift - 1) < 2**64
    if kind == "mse":
        lo, hi = head.input_fixed([port.type.lo]), ends
        largest = (max(abs(v - w) for v in hi for w in (*lo, *hi)) >> (shift - head.error_bits)) + 1
        total, scale_ = 9 * largest**2, 9 << (2 * head.error_bits)
        assert total < 2**63
        assert scale_ * 1000 + scale_ // 2 < 2**64


def head_bound(kind: str, port: Port) -> Fraction:
    return port.bound(LOG2_E if kind == "softmax" else Fraction(1))


def test_graph_and_manifest_agree() -> None:
    weights = np.random.default_rng(4).integers(-3, 4, (12, 490))
    dense = Dense("dense0", ("x",), "y", weights, IntType(-4, 3))
    affine = Affine((Fraction(1, 45),), (Fraction(0),))
    graph = Graph(
        "kws", Tensor("x", (490,), IntType(-128, 127), Affine((Fraction(1, 3),))), "y", (dense,), "softmax", affine
    )
    of_graph = Head.of(graph)
    of_manifest = Head("softmax", Port(490, IntType(-128, 127), (float(Fraction(1, 3)),), (0.0,)), of_graph.output)
    assert of_graph == of_manifest
    assert of_graph.output.scale == (1 / 45,)
    head = Head.of(EXAMPLE)
    assert (head.classes, head.output.scale, head.input.scale) == (12, (0.0222,), (0.33674246,))
    y = np.arange(12) * 100
    assert results(EXAMPLE, np.zeros(490, int), y) == results(head, np.zeros(490, int), y)
    index = graph.with_operators((dense, ArgMax("argmax0", ("y",), "index")), "index")
    assert results(replace(index, head="argmax"), np.zeros(490), np.array([11]))[11] == "1.000"


def test_errors() -> None:
    with pytest.raises(GraphError) as caught:
        Head("mse", BYTE, Port(5, IntType(0, 1), (1.0,), (0.0,)))
    assert str(caught.value) == "head mse needs as many outputs as inputs, not 5 for 4"
    with pytest.raises(GraphError) as caught:
        Head("argmax", BYTE, Port(2, IntType(0, 3), (1.0,), (0.0,)))
    assert str(caught.value) == "head argmax needs one non-negative index, not 2 of u2"
    with pytest.raises(GraphError) as caught:
        softmax_head((1e9,))
    assert str(caught.value) == "head softmax: values reach 1.3e+13; at most 2**37 can be printed"
    with pytest.raises(GraphError) as caught:
        _ = Head("mse", BYTE, Port(4, IntType(-(2**31), 2**31 - 1), (1.0,), (0.0,))).error_bits
    assert str(caught.value) == "head mse: squared errors reach 1.84e+19; at most 2**63 can be summed"
    with pytest.raises(GraphError) as caught:
        results(softmax_head((1.0,)), np.zeros(4), np.zeros(11))
    assert str(caught.value) == "head softmax: 11 outputs, expected 12"
    mse = Head("mse", BYTE, Port(4, IntType(0, 1), (1.0,), (0.0,)))
    with pytest.raises(GraphError) as caught:
        results(mse, np.zeros(3), np.zeros(4))
    assert str(caught.value) == "head mse: 3 inputs, expected 4"
