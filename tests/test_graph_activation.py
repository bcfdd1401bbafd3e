"""Activation: a chain of steps as an operator of the graph."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from accel.graph import Activation, GraphError, IntType, Tensor
from accel.graph.steps import Clip, Linear, Round, rationals

CHAIN = (
    Linear(rationals([Fraction(1, 3), Fraction(-1, 2)]), rationals([1])),
    Round("HALF_UP"),
    Clip(rationals([0]), rationals([3])),
)


def test_run_and_infer() -> None:
    activation = Activation("act", ("x",), "y", CHAIN, IntType(0, 3))
    assert activation.infer(Tensor("x", (5, 2), IntType(-8, 7))) == Tensor("y", (5, 2), IntType(0, 3))
    x = np.array([[[v, v] for v in range(-8, 8)]])
    y = activation.run(x)
    assert y.shape == x.shape
    assert y[0, :, 0].tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert y[0, :, 1].tolist() == [3, 3, 3, 3, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0]
    assert activation.channels == 2
    assert activation.falling.tolist() == [False, True]


def test_errors() -> None:
    activation = Activation("act", ("x",), "y", CHAIN, IntType(0, 2))
    with pytest.raises(GraphError, match=r"^act: steps for 2 channels cannot follow a tensor of shape \(3,\)$"):
        activation.infer(Tensor("x", (3,), IntType(0, 1)))
    with pytest.raises(GraphError, match=r"^act: gives 1\.\.3, outside its type u2\[0\.\.2\]$"):
        activation.run(np.array([[7, 0]]))
