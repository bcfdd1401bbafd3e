"""Operators on images, each against its docstring, element by element; windows; types; errors; files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accel.graph import (
    Add,
    Concat,
    Conv,
    Graph,
    GraphError,
    IntType,
    MaxPool,
    Operator,
    Pad,
    SumPool,
    Tensor,
    TopK,
    Upsample,
    Window,
    load,
    save,
)

I4 = IntType(-8, 7)
SIDES = st.tuples(st.integers(1, 3), st.integers(1, 3))
WINDOWS = st.builds(
    Window, SIDES, SIDES, st.tuples(st.integers(1, 2), st.integers(1, 2)), st.tuples(*[st.integers(0, 2)] * 4)
)


def image(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-8, 8, (2, *shape))


def fits(window: Window, height: int, width: int) -> tuple[int, int]:
    """The output's size, counted by moving the kernel."""
    sizes = []
    for axis, n in enumerate((height, width)):
        extent = (window.kernel[axis] - 1) * window.dilation[axis] + 1
        starts = range(-window.pads[axis], n + window.pads[axis + 2] - extent + 1, window.stride[axis])
        sizes.append(len(starts))
    assume(all(sizes))
    return sizes[0], sizes[1]


def seen(window: Window, x: np.ndarray, i: int, j: int) -> list[np.ndarray | None]:
    """The pixels of one image in the window of output pixel (i, j); None outside."""
    result: list[np.ndarray | None] = []
    for k in range(window.kernel[0]):
        for n in range(window.kernel[1]):
            row = i * window.stride[0] + k * window.dilation[0] - window.pads[0]
            column = j * window.stride[1] + n * window.dilation[1] - window.pads[1]
            inside = 0 <= row < x.shape[0] and 0 <= column < x.shape[1]
            result.append(x[row, column] if inside else None)
    return result


@settings(max_examples=60, deadline=None)
@given(
    window=WINDOWS,
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    groups=st.sampled_from([1, 2, 4]),
    outputs=st.integers(1, 2),
    pad_value=st.integers(-10, 10),
    seed=st.integers(0, 99),
)
def test_conv(*, window: Window, size: tuple[int, int], groups: int, outputs: int, pad_value: int, seed: int) -> None:
    rows, columns = fits(window, *size)
    x = image(seed, *size, 4)
    weights = np.random.default_rng(seed).integers(-5, 6, (groups * outputs, *window.kernel, 4 // groups))
    op = Conv("c", ("x",), "y", weights, IntType(-5, 5), window, groups, pad_value)
    shape = op.infer(Tensor("x", (*size, 4), I4)).shape
    assert shape == (rows, columns, groups * outputs)
    y = op.run(x)
    for b, i, j, m in np.ndindex(y.shape):
        g = m // outputs
        pixels = [np.full(4, pad_value) if p is None else p for p in seen(window, x[b], i, j)]
        expected = sum(
            int(p[g * (4 // groups) + c]) * int(w[c])
            for p, w in zip(pixels, weights[m].reshape(-1, 4 // groups), strict=True)
            for c in range(4 // groups)
        )
        assert y[b, i, j, m] == expected
    kind = op.infer(Tensor("x", (*size, 4), I4)).type
    assert kind.lo <= y.min()
    assert y.max() <= kind.hi
    assert (op.minima(I4) <= y.min(axis=(0, 1, 2))).all()
    assert (y.max(axis=(0, 1, 2)) <= op.maxima(I4)).all()
    if any(window.pads):
        assert op.reads(I4).contains(IntType(pad_value, pad_value))


def test_bounds_of_a_convolution_are_reached() -> None:
    weights = np.array([3, -2, 1, -4]).reshape(1, 2, 1, 2)
    op = Conv("c", ("x",), "y", weights, I4, Window((2, 1)))
    worst, best = (np.where(weights[0] > 0, *ends)[None] for ends in ((-8, 7), (7, -8)))
    assert (op.run(worst).item(), op.run(best).item()) == (op.minima(I4).item(), op.maxima(I4).item()) == (-74, 76)


@settings(max_examples=60, deadline=None)
@given(
    window=WINDOWS,
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    value=st.integers(-9, 9),
    seed=st.integers(0, 99),
)
def test_pools(window: Window, size: tuple[int, int], value: int, seed: int) -> None:
    rows, columns = fits(window, *size)
    x = image(seed, *size, 3)
    places = [(b, i, j) for b in range(2) for i in range(rows) for j in range(columns)]
    inside = {place: [p for p in seen(window, x[place[0]], *place[1:]) if p is not None] for place in places}
    total = SumPool("s", ("x",), "y", window, value)
    assert total.infer(Tensor("x", (*size, 3), I4)).shape == (rows, columns, 3)
    sums = total.run(x)
    for place, pixels in inside.items():
        assert (sums[place] == np.sum(pixels, axis=0) + value * (window.taps - len(pixels))).all()
    kind = total.infer(Tensor("x", (*size, 3), I4)).type
    assert kind.lo <= sums.min()
    assert sums.max() <= kind.hi
    largest = MaxPool("m", ("x",), "y", window)
    assert window.sees_everywhere(*size) == all(inside.values())
    if not all(inside.values()):
        with pytest.raises(GraphError, match=r"^m: pads .* leave windows of \d x \d without a pixel$"):
            largest.infer(Tensor("x", (*size, 3), I4))
        return
    assert largest.infer(Tensor("x", (*size, 3), I4)) == Tensor("y", (rows, columns, 3), I4)
    best = largest.run(x)
    assert all((best[place] == np.max(pixels, axis=0)).all() for place, pixels in inside.items())


def test_what_moves_or_joins() -> None:
    x, y = image(0, 2, 3, 4), image(1, 2, 3, 4)
    assert (Add("a", ("x", "y"), "z", (3, -2)).run(x, y) == 3 * x - 2 * y).all()
    assert Add("a", ("x", "y"), "z", (3, -2)).infer(Tensor("x", (2,), I4), Tensor("y", (2,), IntType(0, 3))) == Tensor(
        "z", (2,), IntType(-30, 21)
    )
    joined = Concat("c", ("x", "y"), "z").run(x, y[..., :1])
    assert (joined[..., :4] == x).all()
    assert (joined[..., 4:] == y[..., :1]).all()
    padded = Pad("p", ("x",), "z", (1, 0, 2, 3), 9).run(x)
    assert padded.shape == (2, 5, 6, 4)
    assert (padded[:, 1:3, :3] == x).all()
    assert (padded == 9).sum() == padded.size - x.size
    larger = Upsample("u", ("x",), "z", (2, 3)).run(x)
    assert all((larger[:, i, j] == x[:, i // 2, j // 3]).all() for i in range(4) for j in range(9))
    best = TopK("t", ("x",), "z", 3).run(np.array([[1, 5, 5, -2], [0, 0, 0, 0]]))
    assert best.tolist() == [[1, 2, 0], [0, 1, 2]]
    assert TopK("t", ("x",), "z", 1).run(x[:, :1, :1]).tolist() == x[:, 0, 0].argmax(axis=1)[:, None].tolist()


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((I4, IntType(0, 9)), IntType(-8, 9)),
        ((IntType.bipolar(), IntType.bipolar()), IntType.bipolar()),
        ((IntType.bipolar(), IntType(0, 1)), IntType(-1, 1)),
    ],
)
def test_types_of_concatenations(kinds: tuple[IntType, ...], expected: IntType) -> None:
    tensors = [Tensor(str(i), (1, 1, 2), kind) for i, kind in enumerate(kinds)]
    assert Concat("c", ("0", "1"), "y").infer(*tensors) == Tensor("y", (1, 1, 4), expected)


WEIGHTS = np.ones((4, 2, 2, 3), dtype=np.int64)
SOME: tuple[Operator, ...] = (
    Conv("conv", ("x",), "conv", WEIGHTS, IntType(1, 1), Window((2, 2), pads=(0, 1, 1, 0)), 1, -2),
    MaxPool("max", ("conv",), "max", Window((2, 1), (2, 1))),
    SumPool("sums", ("conv",), "sums", Window((2, 1), (2, 1))),
    Add("add", ("max", "sums"), "add", (3, -1)),
    Concat("cat", ("add", "max"), "cat"),
    Pad("pad", ("cat",), "pad", (1, 0, 0, 1), 5),
    Upsample("up", ("pad",), "up", (1, 2)),
    SumPool("mean", ("up",), "mean", Window((3, 8))),
    TopK("top", ("mean",), "top", 2),
)


def test_files(tmp_path: Path) -> None:
    """A graph of all of these is the same after it was written and read."""
    graph = Graph("g", Tensor("x", (4, 3, 3), I4), "top", SOME)
    save(graph, tmp_path / "graph.npz")
    again = load(tmp_path / "graph.npz")
    assert again.digest() == graph.digest()
    assert again.tensors == graph.tensors
    x = image(3, 4, 3, 3)
    assert (again.run(x) == graph.run(x)).all()


X = Tensor("x", (4, 3, 3), I4)
VECTOR = Tensor("x", (3,), I4)


@pytest.mark.parametrize(
    ("op", "xs", "message"),
    [
        (SOME[0], (VECTOR,), "conv: Conv needs an image (height, width, channels), not shape (3,)"),
        (
            Conv("c", ("x",), "y", WEIGHTS, I4, Window((3, 2))),
            (X,),
            "c: weights of shape (4, 2, 2, 3) are none of a kernel (3, 2)",
        ),
        (
            Conv("c", ("x",), "y", WEIGHTS, I4, Window((2, 2)), 2),
            (X,),
            "c: Conv weights of shape (4, 2, 2, 3) in 2 groups cannot follow shape (4, 3, 3)",
        ),
        (
            Conv("c", ("x",), "y", WEIGHTS, I4, Window((2, 2), dilation=(1, 3))),
            (X,),
            "c: a kernel of 2 x 4 does not fit an image of 4 x 3 with pads (0, 0, 0, 0)",
        ),
        (
            MaxPool("m", ("x",), "y", Window((2, 2))),
            (VECTOR,),
            "m: pooling needs an image (height, width, channels), not shape (3,)",
        ),
        (Pad("p", ("x",), "y", (0, -1, 0, 0)), (X,), "p: cannot pad a tensor of shape (4, 3, 3) by (0, -1, 0, 0)"),
        (Upsample("u", ("x",), "y", (0, 1)), (X,), "u: the pixels of shape (4, 3, 3) cannot be repeated (0, 1) times"),
        (TopK("t", ("x",), "y", 4), (VECTOR,), "t: the 4 largest cannot be taken of a tensor of shape (3,)"),
        (TopK("t", ("x",), "y", 1), (X,), "t: the 1 largest cannot be taken of a tensor of shape (4, 3, 3)"),
        (Add("a", ("x", "x"), "y"), (X, VECTOR), "a: Add needs two tensors of one shape, not (4, 3, 3) and (3,)"),
        (Concat("c", ("x", "x"), "y"), (X, VECTOR), "c: Concat needs images of one size, not (4, 3, 3), (3,)"),
    ],
)
def test_errors(op: Operator, xs: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        op.infer(*xs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Window((0, 1)), "Window kernel must be 2 integers of at least 1, not (0, 1)"),
        (lambda: Window((1, 1), stride=(1, 0)), "Window stride must be 2 integers of at least 1, not (1, 0)"),
        (lambda: Window((1, 1), pads=(0, 0, -1, 0)), "Window pads must be 4 integers of at least 0, not (0, 0, -1, 0)"),
    ],
)
def test_window_errors(make: Callable[[], Window], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
