"""Dense, Threshold, Requantize, Table and ArgMax: each against its docstring, element by element; types; errors."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.graph import Affine, ArgMax, Dense, Graph, GraphError, IntType, Requantize, Table, Tensor, Threshold
from accel.graph.dense import exact_matmul


def integers(*shape: int, lo: int = -50, hi: int = 50) -> st.SearchStrategy[np.ndarray]:
    seeds = st.integers(0, 2**32 - 1)
    return seeds.map(lambda seed: np.random.default_rng(seed).integers(lo, hi, shape, endpoint=True))


@settings(max_examples=40, deadline=None)
@given(integers(3, 4), integers(2, 4, lo=-8, hi=7))
def test_dense(weights: np.ndarray, x: np.ndarray) -> None:
    op = Dense("d", ("x",), "y", weights, IntType(-50, 50))
    y = op.run(x)
    assert y.tolist() == [[sum(int(w * v) for w, v in zip(r, each, strict=True)) for r in weights] for each in x]
    source = IntType(-8, 7)
    least, most = op.minima(source), op.maxima(source)
    assert (op.run(np.where(weights > 0, -8, 7)).diagonal() == least).all()
    assert (op.run(np.where(weights > 0, 7, -8)).diagonal() == most).all()
    assert op.infer(Tensor("x", (4,), source)) == Tensor("y", (3,), IntType(int(least.min()), int(most.max())))


def test_dense_is_exact_beyond_float64() -> None:
    w = np.array([[2**40 + 1], [-(2**40)]])
    x = np.array([[2**20 + 1, 2**20]])
    assert exact_matmul(x, w).tolist() == [[2**40 + 2**20 + 1]]


@settings(max_examples=60, deadline=None)
@given(integers(3, 3), integers(3, lo=0, hi=1), integers(9, 3), st.sampled_from([IntType(-2, 1), IntType(0, 3)]))
def test_threshold(thresholds: np.ndarray, falling: np.ndarray, x: np.ndarray, out: IntType) -> None:
    thresholds = np.sort(thresholds, axis=1)
    y = Threshold("t", ("x",), "y", thresholds, falling == 1, out).run(x)
    for (_, c), v, result in zip(np.ndindex(x.shape), x.ravel(), y.ravel(), strict=True):
        count = sum(int(t) <= v for t in thresholds[c])
        assert result == (out.hi - count if falling[c] else out.lo + count)


@settings(max_examples=60, deadline=None)
@given(
    m=integers(2), b=integers(2), x=integers(9, 2), shift=st.integers(0, 6),
    ties=st.booleans(), near=st.integers(0, 5), wide=st.booleans(),
)  # fmt: skip
def test_requantize(
    *, m: np.ndarray, b: np.ndarray, x: np.ndarray, shift: int, ties: bool, near: int, wide: bool
) -> None:
    ties, near = ties and shift > 0, near if ties and near < shift else 0
    out = IntType(-20, 20)
    if wide:  # Python's integers, as far from zero as one likes
        m, b, shift, near = m.astype(object) << 60, b.astype(object) << 60, shift + 60, near and near + 60
    op = Requantize("r", ("x",), "y", m, b, shift, out, ties, near=near or None)
    y = op.run(x)
    assert op.infer(Tensor("x", (2,), IntType(-99, 99))).type == out and y.dtype == np.int64
    for (_, c), v, result in zip(np.ndindex(x.shape), x.ravel(), y.ravel(), strict=True):
        quotient, rest = divmod(int(v) * int(m[c]) + int(b[c]), 2**shift)
        if ties and rest < 2**near and quotient % 2:
            quotient -= 1
        assert result == min(max(quotient, out.lo), out.hi)


def test_rounding_half_to_even_is_a_tie_bias() -> None:
    x = np.arange(-64, 64)[:, None]
    op = Requantize("r", ("x",), "y", np.array([1]), np.array([4]), 3, IntType(-9, 9), True)
    assert op.run(x).ravel().tolist() == [round(int(v) / 8) for v in x.ravel()]


def test_table_and_argmax() -> None:
    source = IntType.bipolar()
    x = np.array([[1, -1], [-1, -1]])
    shared = Table("t", ("x",), "y", np.array([[5, 9]]), source, IntType(5, 9))
    several = Table("t", ("x",), "y", np.array([[5, 9], [6, 7]]), source, IntType(5, 9))
    assert shared.run(x).tolist() == [[9, 5], [5, 5]]
    assert several.run(x).tolist() == [[9, 6], [5, 6]]
    argmax = ArgMax("a", ("x",), "y")
    assert argmax.run(np.array([[1, 3, 3], [-5, -5, -9]])).tolist() == [[1], [0]]
    assert argmax.infer(Tensor("x", (3,), IntType(-9, 9))) == Tensor("y", (1,), IntType(0, 2))


@pytest.mark.parametrize(
    ("kind", "text", "width", "levels"),
    [
        (IntType(-128, 127), "i8", 8, 256),
        (IntType(-127, 127), "i8[-127..127]", 8, 255),
        (IntType(0, 6), "u3[0..6]", 3, 7),
        (IntType(0, 0), "u1[0..0]", 1, 1),
        (IntType(-1, 0), "i1", 1, 2),
        (IntType(5, 9), "u4[5..9]", 4, 5),
        (IntType(-300, -2), "i10[-300..-2]", 10, 299),
        (IntType.bipolar(), "bipolar", 1, 2),
        (IntType.of(width=3, signed=True, narrow=True), "i3[-3..3]", 3, 7),
        (IntType.of(width=3, signed=False, narrow=True), "u3[0..6]", 3, 7),
    ],
)
def test_types(kind: IntType, text: str, width: int, levels: int) -> None:
    assert (str(kind), kind.width, kind.levels) == (text, width, levels)
    assert kind.contains(kind)
    assert not kind.contains(IntType(kind.lo, kind.hi + 1))
    assert IntType(-300, 300).contains(kind)


def test_type_errors() -> None:
    with pytest.raises(ValueError, match=r"^IntType bounds must be ordered, not 1 > 0$"):
        IntType(1, 0)
    with pytest.raises(ValueError, match=r"^IntType step must be 1 or 2 and divide the range 0\.\.1, not 2$"):
        IntType(0, 1, 2)
    with pytest.raises(ValueError, match=r"^IntType width must be a positive integer, not 0$"):
        IntType.of(width=0, signed=True)
    assert not IntType.bipolar().contains(IntType(0, 0))
    assert IntType.bipolar().contains(IntType(1, 1))


I4 = IntType(-8, 7)
X = Tensor("x", (3,), I4)
ONES = np.ones((2, 3), dtype=np.int64)


@pytest.mark.parametrize(
    ("op", "x", "message"),
    [
        (
            Dense("d", ("x",), "y", ONES, I4),
            Tensor("x", (4,), I4),
            "d: Dense weights of shape (2, 3) need an input of 3 elements, not of shape (4,)",
        ),
        (
            Threshold("t", ("x",), "y", ONES, np.zeros(2, dtype=bool), IntType(0, 3)),
            X,
            "t: thresholds for 2 channels cannot follow a tensor of shape (3,)",
        ),
        (
            Threshold("t", ("x",), "y", ONES.T, np.zeros(3, dtype=bool), IntType(0, 3)),
            X,
            "t: u2 needs 3 thresholds a channel, not 2",
        ),
        (
            Threshold("t", ("x",), "y", np.array([[1, 0]] * 3), np.zeros(3, dtype=bool), IntType(0, 2)),
            X,
            "t: thresholds must ascend within each channel",
        ),
        (
            Requantize("r", ("x",), "y", ONES[0, :2], ONES[0, :2], 1, I4),
            X,
            "r: constants for 2 channels cannot follow (3,)",
        ),
        (
            Requantize("r", ("x",), "y", ONES[0], ONES[0], 0, I4, True),
            X,
            "r: shift must be non-negative (positive with ties to even), not 0",
        ),
        (
            Requantize("r", ("x",), "y", ONES[0], ONES[0], 4, I4, True, near=4),
            X,
            "r: near must be a number of bits below shift, with ties to even, not 4",
        ),
        (Table("t", ("x",), "y", ONES, I4, I4), X, "t: a table of 3 values for i4 cannot follow i4"),
        (
            Table("t", ("x",), "y", np.zeros((2, 16), dtype=np.int64), I4, I4),
            X,
            "t: tables for 2 channels cannot follow (3,)",
        ),
        (
            ArgMax("a", ("x",), "y"),
            Tensor("x", (2, 3), I4),
            "a: ArgMax needs a vector or an image of one pixel, not shape (2, 3)",
        ),
    ],
)
def test_operator_errors(op: Dense | Threshold | Requantize | Table | ArgMax, x: Tensor, message: str) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        op.infer(x)


def test_graph() -> None:
    dense = Dense("d", ("x",), "y", ONES, I4)
    graph = Graph("g", X, "y", (dense,), output_affine=Affine())
    assert graph.tensors["y"].type == IntType(-24, 21)
    assert graph.run(np.array([[1, 2, 3]], dtype=np.int8)).tolist() == [[6, 6]]
    assert graph.run(np.zeros((0, 3), dtype=np.int64)).shape == (0, 2)
    assert graph.with_operators((dense, ArgMax("a", ("y",), "z")), "z").run(np.array([[1, 2, 3]])).tolist() == [[0]]
    for arguments, message in (
        (("g", X, "z", (dense,)), "graph g: output 'z' is not produced by any node"),
        (("g", X, "y", (ArgMax("a", ("q",), "y"),)), "a: input 'q' is not produced by an earlier node"),
        (("g", X, "y", (dense, dense)), "d: output 'y' is produced twice"),
        (
            ("g", X, "y", (dense,), "best"),
            "graph g: head must be one of softmax, softmax_int8, scores, mse, argmax, not 'best'",
        ),
    ):
        with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
            Graph(*arguments)  # type: ignore[arg-type]
    for x, message in (
        (np.zeros((1, 4), dtype=np.int64), "input x: shape must be (batch, (3,)), not (1, 4)"),
        (np.zeros((1, 3)), "input x: values must be integers, not float64"),
        (np.full((1, 3), 8), "input x: values must lie within i4, not 8..8"),
    ):
        with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
            graph.run(x)
