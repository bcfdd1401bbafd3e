"""Requantizations of the real TFLite models: equal to TFLite's rounding at every step, or for all pairs of operands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accel.frontends import load
from accel.graph import Add, Conv, Dense, Graph, IntType, Operator, Requantize, SumPool, Threshold
from accel.passes import lower

#: Steps of all channels of layers and means; sums of branches.
MODELS = {
    "kws_ref_model": (166_260, 0),
    "ad01_int8": (426_360, 0),
    "pretrainedResnet_quant": (104_550, 3),
    "vww_96_int8": (763_470, 0),
    "str_ww_ref_model": (214_965, 0),
    "pretrainedResnet_large_int8": (257_550, 3),
}
QUICK = ("kws_ref_model", "ad01_int8")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in MODELS])
def test_every_step(data: Path, name: str) -> None:
    graph = load(data / "models" / f"{name}.tflite")
    lowered = lower(graph)
    exact, made = ({op.output: op for op in each.operators} for each in (graph, lowered))
    steps, sums = 0, 0
    for op in lowered.operators:
        if not isinstance(op, Requantize | Threshold):
            continue
        before, original = made[op.inputs[0]], exact[op.output]
        assert original.inputs == op.inputs
        if isinstance(before, Add):
            assert_equal_for_all_pairs(graph, lowered, before, op)
            sums += 1
            continue
        assert isinstance(before, Conv | Dense | SumPool)
        assert isinstance(before, SumPool) or (before.weights == exact[before.output].weights).all()  # type: ignore[attr-defined]
        kind, channels = lowered.tensors[before.inputs[0]].type, lowered.tensors[op.output].shape[-1]
        lo, hi = (np.broadcast_to(ends, channels) for ends in (before.minima(kind), before.maxima(kind)))
        found, expected = (places(function, lo, hi, op.out) for function in (op.run, original.run))
        assert (found == expected).all(), op.name
        steps += found.size
    assert (steps, sums) == MODELS[name]


def places(function: Callable[[np.ndarray], np.ndarray], lo: np.ndarray, hi: np.ndarray, out: IntType) -> np.ndarray:
    """The first sum of ``lo..hi`` at which each channel reaches each level above the least; ``hi + 1`` where none does.

    By bisection: the functions rise. Shape (levels - 1, channels).
    """
    levels = np.arange(out.lo + 1, out.hi + 1)[:, None]
    left, right = (np.repeat(ends[None], len(levels), axis=0) for ends in (lo, hi + 1))
    while (left < right).any():
        middle = left + (right - left) // 2
        reached = (function(np.minimum(middle, hi)) >= levels) | (middle > hi)
        left, right = np.where(reached, left, middle + 1), np.where(reached, middle, right)
    return left


def assert_equal_for_all_pairs(graph: Graph, lowered: Graph, add: Operator, activation: Operator) -> None:
    """The sum and its activation, for all operands that can be."""
    exact = {op.output: op for op in graph.operators}
    wide, channels = exact[add.output], lowered.tensors[add.output].shape[-1]
    widened = [exact[name] for name in wide.inputs]
    assert [each.inputs[0] for each in widened] == list(add.inputs)
    kinds = [lowered.tensors[name].type for name in add.inputs]
    a, b = (grid.reshape(-1, 1) for grid in np.meshgrid(*(np.arange(k.lo, k.hi + 1) for k in kinds)))
    expected = exact[activation.output].run(wide.run(widened[0].run(a), widened[1].run(b)))
    assert (activation.run(np.repeat(add.run(a, b), channels, axis=1)) == expected).all(), add.name
