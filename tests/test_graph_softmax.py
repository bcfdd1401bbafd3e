"""TFLite's int8 softmax: near the real one, in its limits; it equals TFLite's own in test_frontends_tflite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.graph import Conv, Graph, GraphError, IntType, Tensor, Window
from accel.graph.graph import Affine
from accel.graph.head import Head, results
from accel.graph.softmax import ONE, Softmax, exponential, reciprocal


@given(st.floats(2**-10, 2, width=32), st.lists(st.integers(-128, 127), min_size=1, max_size=30))
def test_is_near_the_real_one(scale: float, scores: list[int]) -> None:
    real = np.exp(scale * (np.array(scores) - max(scores)))
    real /= real.sum()
    found = np.array(Softmax.of(scale)(scores))
    assert np.abs((found + 128) / 256 - real).max() <= 1.5 / 256
    assert found.min() >= -128
    assert found.max() <= 127
    assert found[int(np.argmax(scores))] == found.max()


def test_functions() -> None:
    x = np.linspace(0, 2**31 - 1, 999).astype(int)
    assert max(abs(exponential(-int(v)) / 2**31 - np.exp(-int(v) / 2**26)) for v in x) < 1e-6
    assert max(abs(reciprocal(int(v)) / 2**31 - 1 / (1 + int(v) / 2**31)) for v in x) < 1e-6
    assert exponential(0) == ONE


def test_head() -> None:
    conv = Conv("c", ("x",), "y", np.ones((3, 1, 1, 2), dtype=np.int64), IntType(-1, 1), Window((1, 1)))
    graph = Graph("g", Tensor("x", (1, 1, 2), IntType(0, 7)), "y", (conv,), "softmax_int8", Affine())
    assert results(graph, np.zeros(2), np.array([3, 3, 3])) == ["0.332", "0.332", "0.332"]  # 85 of 256
    assert results(graph, np.zeros(2), np.array([9, 0, 0])) == ["0.996", "0.000", "0.000"]
    with pytest.raises(GraphError, match=r"^head softmax_int8 needs fewer than 4096 outputs of 8 bits and one scale, "):
        Head.of(Graph("g", graph.input, "y", (conv,), "softmax_int8", Affine(scale=(1, 2, 3))))  # type: ignore[arg-type]
    with pytest.raises(
        GraphError, match=r"^head softmax_int8: an int8 softmax needs a scale above 2\*\*-26, not 1e-09$"
    ):
        Head.of(Graph("g", graph.input, "y", (conv,), "softmax_int8", Affine(scale=(1e-9,))))  # type: ignore[arg-type]
