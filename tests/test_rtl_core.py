"""Random small networks: the gateware gives what the graph gives, in as many cycles as the schedule says."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator as PySimulator
from amaranth.sim import SimulatorContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel.dataflow.pipeline import Activation, ArgMaxNode, ArrayNode, Layer, Node, Pipeline, Stream, TableNode
from accel.dataflow.timing import pipeline_cycles
from accel.graph import (
    ArgMax,
    Dense,
    Graph,
    GraphError,
    IntType,
    Operator,
    Requantize,
    Table,
    Tensor,
    Threshold,
)
from accel.rtl.core import Core
from accel.rtl.images import ArrayPlan, images
from accel.rtl.plan import RequantizeImage
from accel.rtl.simulate import from_beats, to_beats
from accel.rtl.verilog import to_verilog

Draw = Callable[[st.SearchStrategy], int]


@st.composite
def int_types(draw: Draw, max_width: int) -> IntType:
    """Full, narrow, odd and bipolar types."""
    kind = draw(st.sampled_from(["plain", "plain", "plain", "bipolar", "any"]))
    if kind == "bipolar":
        return IntType.bipolar()
    width = draw(st.integers(1, max_width))
    if kind == "plain":
        signed = draw(st.booleans())
        return IntType.of(width=width, signed=signed, narrow=bool(width > 1 and draw(st.booleans())))
    bound = 1 << (width - 1)
    lo = draw(st.integers(-bound, bound))
    return IntType(lo, draw(st.integers(lo, bound)))


def values_of(type: IntType, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random values, the bounds more often than others."""
    values = type.lo + type.step * rng.integers(0, type.levels, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([type.lo, type.hi], shape), values)


def random_threshold(name: str, x: Tensor, out: IntType, rng: np.random.Generator, channels: int) -> Threshold:
    """Thresholds around the reachable values and beyond, with equal neighbours; some channels fall."""
    span = max(x.type.hi - x.type.lo, 1)
    shape = (channels, out.levels - 1)
    steps = np.rint(x.type.lo + span * rng.uniform(-0.2, 1.2, shape)).astype(np.int64)
    steps = np.where(rng.random(shape) < 0.05, rng.choice([-(1 << 50), 1 << 50, x.type.lo, x.type.hi], shape), steps)
    falling = rng.random(channels) < rng.choice([0.0, 0.5])
    return Threshold(name, (x.name,), f"{name}.y", np.sort(steps, axis=1), falling, out)


def random_requantize(name: str, x: Tensor, out: IntType, rng: np.random.Generator) -> Requantize:
    """Multipliers of either sign, sometimes one power of two for all."""
    channels, shift = x.shape[-1], int(rng.integers(1, 12))
    bits = int(rng.integers(0, 10))
    multiplier = rng.integers(-(1 << bits), (1 << bits) + 1, channels)
    if rng.random() < 0.3:
        multiplier = np.full(channels, 1 << int(rng.integers(0, 3)), dtype=np.int64)
    bias = rng.integers(-(1 << 14), 1 << 14, channels)
    return Requantize(name, (x.name,), f"{name}.y", multiplier, bias, shift, out, bool(rng.integers(2)))


@st.composite
def pipelines(draw: Draw) -> Pipeline:
    """One to three arrays of one to three layers, tables and thresholds between them, at times ArgMax at the end."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    size, lane = st.integers(1, 14), st.sampled_from([1, 2, 4, 4, 3])
    x = Tensor("x", (draw(size),), draw(int_types(8)))
    start, operators, nodes = x, list[Operator](), list[Node]()
    source = Stream(x.size, x.type, draw(lane))

    for n in range(draw(st.integers(1, 2))):
        layers = list[Layer]()
        weight_type = draw(int_types(12))
        for i in range(draw(st.integers(1, 3))):
            name = f"n{n}l{i}"
            if draw(st.booleans()):
                weight_type = draw(int_types(12))
            dense = Dense(
                f"{name}d", (x.name,), f"{name}a", values_of(weight_type, rng, (draw(size), x.size)), weight_type
            )
            operators.append(dense)
            x = dense.infer(x)
            kind = draw(st.sampled_from(["threshold", "threshold", "search", "requantize", "none"]))
            activation: Activation | None = None
            if kind == "threshold":
                activation = random_threshold(f"{name}t", x, draw(int_types(4)), rng, x.size)
            elif kind == "search":
                lo = draw(st.integers(-40, 40))
                out = IntType(lo, lo + draw(st.integers(16, 70)))
                activation = random_threshold(f"{name}t", x, out, rng, x.size)
            elif kind == "requantize":
                out = draw(int_types(8).filter(lambda t: t.step == 1))
                activation = random_requantize(f"{name}r", x, out, rng)
            if activation is not None:
                operators.append(activation)
                x = activation.infer(x)
            layers.append(Layer(dense, activation))
        drain = draw(st.integers(1, 4))
        sink = Stream(x.size, x.type, draw(lane))
        nodes.append(
            ArrayNode(
                f"array{n}",
                tuple(layers),
                source,
                sink,
                pe=drain * draw(st.integers(1, 4)),
                simd=draw(st.integers(1, 7)),
                drain=drain,
                multiplier=draw(st.sampled_from(["dsp", "lut"])),
                memory=draw(st.sampled_from(["bram", "lut"])),
            )
        )
        source = sink
        kind = draw(st.sampled_from(["none", "table", "threshold"]))
        function: Table | Threshold
        if kind == "table" and x.type.levels <= 64:
            out = draw(int_types(6))
            rows = draw(st.sampled_from([1, x.size]))
            values = values_of(out, rng, (rows, x.type.levels))
            function = Table(f"n{n}f", (x.name,), f"n{n}y", values, x.type, out)
        elif kind == "threshold":
            function = random_threshold(f"n{n}f", x, draw(int_types(5)), rng, x.size)
        else:
            continue
        operators.append(function)
        x = function.infer(x)
        source = Stream(x.size, x.type, source.lanes)
        nodes.append(TableNode(f"table{n}", function, sink, source))

    if draw(st.booleans()):
        argmax = ArgMax("argmax", (x.name,), "index")
        operators.append(argmax)
        x = argmax.infer(x)
        nodes.append(ArgMaxNode("argmax", argmax, source, Stream(1, x.type, draw(st.sampled_from([1, 4])))))
    return Pipeline(Graph("random", start, x.name, tuple(operators)), tuple(nodes))


def simulate(
    pipeline: Pipeline, x: np.ndarray, *, seed: int = 0, pauses: tuple[float, float] = (0, 0), clear: int = 0
) -> tuple[np.ndarray, list[int]]:
    """Outputs of the core and the cycle of each output beat, in Amaranth's simulator, its first input beat in cycle 0.

    Checks that a payload stands until it is taken. With ``clear`` the core is cleared in that cycle, all is sent anew.
    """
    core = Core(pipeline)
    source, sink = pipeline.source, pipeline.sink
    words, _ = to_beats(x, source)
    payloads = [int.from_bytes(word.tobytes(), "little") for word in words]
    rng = random.Random(seed)
    outputs, times = list[int](), list[int]()

    async def bench(ctx: SimulatorContext) -> None:
        sent, cycle, offered, standing = 0, 0, False, None
        while len(outputs) < len(x) * sink.beats:
            assert cycle < 20_000, "the core has stopped"
            offered = sent < len(payloads) and (offered or rng.random() >= pauses[0])
            ctx.set(core.input.valid, offered)
            if offered:
                ctx.set(core.input.payload.as_value(), payloads[sent])
            take = rng.random() >= pauses[1]
            ctx.set(core.output.ready, take)
            ctx.set(core.clear, clear != 0 and cycle == clear)
            given_ = ctx.get(core.output.payload.as_value()) if ctx.get(core.output.valid) else None
            if standing is not None:
                assert given_ == standing
            standing = None if take else given_
            assert [ctx.get(core.monitor[0].valid), ctx.get(core.monitor[-1].ready)] == [offered, take]
            if offered and ctx.get(core.input.ready):
                sent, offered = sent + 1, False
            if take and given_ is not None:
                outputs.append(given_)
                times.append(cycle)
            if clear and cycle == clear:
                sent, offered, standing = 0, False, None
                outputs.clear()
                times.clear()
            cycle += 1
            await ctx.tick()

    simulator = PySimulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    width = sink.lanes * sink.type.width
    raw = b"".join(value.to_bytes(4 * -(-width // 32), "little") for value in outputs)
    return from_beats(np.frombuffer(raw, dtype="<u4").reshape(len(x), sink.beats, -1), sink), times


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(pipelines(), st.integers(0, 1 << 30), st.sampled_from([(0, 0), (0.5, 0), (0, 0.5), (0.3, 0.8)]))
def test_random_networks_give_what_the_graph_gives(pipeline: Pipeline, seed: int, pauses: tuple[float, float]) -> None:
    x = values_of(pipeline.source.type, np.random.default_rng(seed), (3, pipeline.source.elements))
    outputs, times = simulate(pipeline, x, seed=seed, pauses=pauses, clear=seed % 3 * (seed % 37))
    np.testing.assert_array_equal(outputs, pipeline.graph.run(x))
    if pauses == (0, 0) and seed % 3 * (seed % 37) == 0:
        assert times[pipeline.sink.beats - 1] + 1 == pipeline_cycles(pipeline)


def small(**changes: object) -> ArrayNode:
    """An array of one layer, with some fields changed."""
    dense = Dense("d", ("x",), "y", np.array([[1, -1, 2], [2, 1, 0]]), IntType(-2, 2))
    out = dense.infer(Tensor("x", (3,), IntType(-4, 3)))
    node = ArrayNode("fc", (Layer(dense, None),), Stream(3, IntType(-4, 3), 1), Stream(2, out.type, 1), 4, 2, 2)
    return replace(node, **changes)  # type: ignore[arg-type]


def test_arrays_that_cannot_be_built_say_why() -> None:
    with pytest.raises(GraphError, match=r"^fc: drain must divide pe, but 3 does not divide 4$"):
        ArrayPlan(small(drain=3))
    with pytest.raises(GraphError, match=r"^fc: its last layer gives i5\[-15..13\], but its sink takes u1$"):
        ArrayPlan(small(sink=Stream(2, IntType(0, 1), 1)))


@pytest.mark.parametrize(
    ("multipliers", "constant"), [([4, 4], 4), ([4, 0], None), ([4, 2], None), ([-4, -4], None), ([3, 3], None)]
)
def test_a_multiplier_is_left_out_only_where_all_channels_have_the_same_power_of_two(
    multipliers: list[int], constant: int | None
) -> None:
    image = RequantizeImage(np.array([multipliers]), np.array([[0, 1]]), 3, 12, [None])
    assert image.constant == constant


def test_the_same_pipeline_gives_the_same_verilog_and_images() -> None:
    node = small()
    graph = Graph("g", Tensor("x", (3,), IntType(-4, 3)), "y", (node.layers[0].dense,))
    first, second = (to_verilog(Core(Pipeline(graph, (node,))), "core") for _ in range(2))
    assert first == second
    assert "module core(" in first
    # two input tiles of two, one neuron tile of four; weights of three bits, those of shared multipliers with an offset
    plan = ArrayPlan(node)
    assert (plan.packing.share, plan.packing.field, plan.packing.offset) == (4, 6, 4)
    rows = [[1, -1], [2, 1], [0, 0], [0, 0]], [[2, 0], [0, 0], [0, 0], [0, 0]]
    codes = [[(w + (4 if p < 3 else 0)) & 7 for p, row in enumerate(tile) for w in row] for tile in rows]
    assert images(node)["weights"] == [sum(code << 3 * i for i, code in enumerate(word)) for word in codes]
