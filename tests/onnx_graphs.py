"""Graphs against the ONNX files that they come from."""

from __future__ import annotations

import numpy as np
from onnx_networks import Network, evaluate, fractions

from accel.graph import Affine, Graph


def real(values: np.ndarray, affine: Affine | None) -> np.ndarray:
    assert affine is not None
    return fractions(values) * np.array(affine.scale) + np.array(affine.offset)


def samples(graph: Graph, seed: int, count: int) -> np.ndarray:
    kind = graph.input.type
    return kind.lo + kind.step * np.random.default_rng(seed).integers(0, kind.levels, (count, *graph.input.shape))


def assert_same(net: Network, output: str, graph: Graph, seed: int = 0, count: int = 4) -> None:
    """The graph's output means exactly what the file computes, for random integers on the wire."""
    q = samples(graph, seed, count)
    model = net.model(output)
    shape = [1 if isinstance(n, str) else n for n in net.shape]
    for wire, result in zip(q, graph.run(q), strict=True):
        x, y = real(wire, graph.input.affine), real(result, graph.output_affine)
        if x.ndim == 3 and not net.channels_last:
            x = np.moveaxis(x, -1, 0)
        if y.ndim == 3:
            y = np.moveaxis(y, -1, 0)
        assert (y.ravel() == evaluate(model, x.reshape(shape)).ravel()).all()
