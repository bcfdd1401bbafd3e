"""The published networks in gateware, verilated: equal to the graph on every input, in the cycles foretold."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from accel.dataflow.pipeline import ArrayNode, Layer, Pipeline, Stream
from accel.dataflow.timing import pipeline_cycles
from accel.frontends import load
from accel.graph import Dense, Graph, IntType, Requantize, Tensor, Threshold
from accel.passes import lower
from accel.rtl.simulate import SimulationError, Simulator


def one_array(graph: Graph, *, pe: int, simd: int, drain: int, memory: str = "bram") -> Pipeline:
    """All layers of a graph of dense layers on one array."""
    layers = list[Layer]()
    for op in graph.operators:
        if isinstance(op, Dense):
            layers.append(Layer(op, None))
        else:
            assert isinstance(op, Threshold | Requantize)
            layers[-1] = Layer(layers[-1].dense, op)
    out = graph.tensors[graph.output]
    source, sink = Stream(graph.input.size, graph.input.type, 4), Stream(out.size, out.type, 4)
    return Pipeline(graph, (ArrayNode("array0", tuple(layers), source, sink, pe, simd, drain, memory=memory),))


def check(pipeline: Pipeline, x: np.ndarray, out_dir: Path) -> np.ndarray:
    """Runs ``x`` without pauses and part of it with many; returns the cycles of each frame."""
    simulator = Simulator(pipeline, out_dir)
    result = simulator.run(x)
    expected = pipeline.graph.run(x)
    np.testing.assert_array_equal(result.outputs, expected)
    paused = simulator.run(x[:60], seed=5, pauses=(0.3, 0.7), clear=333)
    np.testing.assert_array_equal(paused.outputs, expected[:60])
    assert result.cycles[0] == pipeline_cycles(pipeline)
    return result.cycles


def test_kws_on_220_dsp(data: Path, tmp_path: Path) -> None:
    graph = lower(load(data / "models/kws-w3a3.onnx"))
    folder = data / "datasets/kws01-w3a3"
    lines = [line.split(",") for line in (folder / "y_labels.csv").read_text().split()]
    x = np.stack([np.fromfile(folder / name.strip(), dtype=np.int8) for name, *_ in lines]).astype(np.int64)
    x = np.clip(x, graph.input.type.lo, graph.input.type.hi)
    pipeline = one_array(graph, pe=32, simd=20, drain=8)
    start = time.monotonic()
    cycles = check(pipeline, x, tmp_path)
    assert time.monotonic() - start < 300
    labels = np.array([int(label) for *_, label in lines])
    assert (graph.run(x).argmax(axis=1) == labels).sum() == 825
    assert len(x) == 1000
    assert cycles[0] <= 500


def test_ad08_on_216_dsp(data: Path, tmp_path: Path) -> None:
    graph = lower(load(data / "models/ad08.onnx"))
    x = np.random.default_rng(8).integers(graph.input.type.lo, graph.input.type.hi + 1, (1000, 64))
    cycles = check(one_array(graph, pe=72, simd=3, drain=12), x, tmp_path)
    assert cycles[0] <= 250


def test_a_core_that_gives_nothing_is_an_error(tmp_path: Path) -> None:
    x = Tensor("x", (2,), IntType(-4, 3))
    dense = Dense("d", ("x",), "y", np.array([[1, -1], [2, 1]]), IntType(-2, 2))
    pipeline = one_array(Graph("small", x, "y", (dense,)), pe=1, simd=1, drain=1, memory="lut")
    simulator = Simulator(pipeline, tmp_path)
    with pytest.raises(SimulationError, match=r"^small: no output for 3 cycles$"):
        simulator.run(np.array([[1, 2]]), limit=3)
    before = simulator.program.stat().st_mtime_ns
    again = Simulator(pipeline, tmp_path)  # built before: taken as it is
    assert again.program.stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.run(np.array([[1, 2], [-4, 3]])).outputs, [[-1, 4], [-7, -5]])
