"""Folding: as good as trying everything, within every budget, deterministic, and clear when nothing fits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.dataflow.budget import RESOURCES, Budget, Cost
from accel.dataflow.build import Built, build, chain, input_lanes, pipeline
from accel.dataflow.candidates import CHOICES, DRAINS, OUTPUT_LANES, SHALLOW, SMALL, breakpoints, vector
from accel.dataflow.cost import cost_of, weight_bits, widths
from accel.dataflow.folding import FoldingError
from accel.dataflow.pipeline import ArgMaxNode, ArrayNode, Layer, Node, Stream, TableNode
from accel.dataflow.timing import array_cycles, pipeline_cycles
from accel.frontends import load
from accel.graph import Activation, ArgMax, Dense, Graph, GraphError, IntType, Table, Tensor, Threshold
from accel.passes import lower

ISSUE = Budget(lut=30_000, ff=60_000, bram36=60, dsp=230, name="issue")
PLENTY = Budget(lut=10**6, ff=10**6, bram36=1000, dsp=1000, name="plenty")


def network(
    sizes: list[int], *, weight_bits: int = 4, bits: int = 4, table: bool = False, argmax: bool = False
) -> Graph:
    """A chain of dense layers with thresholds between them, of random weights."""
    rng = np.random.default_rng(sum(sizes))
    weight, level = IntType.of(width=weight_bits, signed=True), IntType(0, (1 << bits) - 1)
    operators: list[Table | Dense | Threshold | ArgMax] = []
    name, kind = "x", IntType(-128, 127) if table else level
    source = Tensor("x", (sizes[0],), kind)
    if table:
        values = np.sort(rng.integers(0, level.hi + 1, (1, 256)))
        operators.append(Table("table", (name,), "levels", values, kind, level))
        name = "levels"
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weights = rng.integers(weight.lo, weight.hi + 1, (outputs, inputs))
        operators.append(Dense(f"dense{i}", (name,), f"sums{i}", weights, weight))
        name = f"sums{i}"
        if i < len(sizes) - 2:
            steps = np.sort(rng.integers(-99, 99, (outputs, level.levels - 1)), axis=1)
            operators.append(Threshold(f"steps{i}", (name,), f"y{i}", steps, np.zeros(outputs, bool), level))
            name = f"y{i}"
    if argmax:
        operators.append(ArgMax("argmax", (name,), "class"))
        name = "class"
    return Graph("net", source, name, tuple(operators))


def every_node(
    items: list, streams: list[Stream], ends: tuple[int, int], lanes: int, budget: Budget, *, all_sizes: bool
) -> Iterator[Node]:
    """Every node for a group, written down without any cleverness."""
    first, last = ends
    source, item = replace(streams[first], lanes=lanes), items[first]
    if not isinstance(item, Layer):
        if last == first + 1:
            argmax = isinstance(item, ArgMax)
            kind = ArgMaxNode if argmax else TableNode
            yield kind(item.name, item, source, replace(streams[last], lanes=1 if argmax else lanes))
        return
    if not all(isinstance(item, Layer) for item in items[first:last]):
        return
    layers = tuple(items[first:last])
    inner = last < len(items) and isinstance(items[last], Layer)
    outputs, inputs = [layer.outputs for layer in layers], [layer.inputs for layer in layers]
    small = weight_bits(layers, source.type) * widths(layers, source.type).code <= SMALL or not budget.dsp
    for drain in DRAINS:
        pes = range(drain, max(*outputs, drain) + drain, drain) if all_sizes else breakpoints(outputs, drain)
        simds = range(1, max(inputs) + 1) if all_sizes else breakpoints(inputs, 1)
        sink = replace(streams[last], lanes=min(drain, max(DRAINS) if inner else OUTPUT_LANES))
        for pe, simd, style, memory in itertools.product(pes, simds, CHOICES["multiplier"], CHOICES["memory"]):
            node = ArrayNode("a", layers, source, sink, pe, simd, drain, style, memory)
            if (style == "dsp" or small) and (memory == "bram" or node.steps <= SHALLOW or not budget.bram36):
                yield node


def brute_force(graph: Graph, budget: Budget, *, all_sizes: bool) -> int | None:
    """The least latency of all pipelines that fit, by trying every one of them."""
    items, names = chain(graph)
    tensors = [graph.tensors[name] for name in names]
    streams = [Stream(tensor.size, tensor.type, 1) for tensor in tensors]
    limits = np.array(vector(Cost(0, budget.lut, budget.ff, budget.bram36, budget.dsp), budget)[1:])

    def paths(first: int, lanes: int) -> dict[tuple[int, ...], int]:
        """Resources in units to the least latency, of all ways to build the items from ``first`` on."""
        if first == len(items):
            return {(0, 0, 0, 0): 0}
        found: dict[tuple[int, ...], int] = {}
        for last in range(first + 1, len(items) + 1):
            heads: dict[tuple[int, tuple[int, ...]], int] = {}
            for node in every_node(items, streams, (first, last), lanes, budget, all_sizes=all_sizes):
                cycles, *used = vector(cost_of(node), budget)
                key = (node.sink.lanes, tuple(used))
                heads[key] = min(cycles, heads.get(key, cycles))
            tails = {out: paths(last, out) for out in {out for out, _ in heads}}
            for (out, used), cycles in heads.items():
                for more, rest in tails[out].items():
                    total = tuple(a + b for a, b in zip(used, more, strict=True))
                    if (np.array(total) <= limits).all():
                        found[total] = min(cycles + rest, found.get(total, cycles + rest))
        return found

    lanes = input_lanes(graph.input.type)
    totals = paths(0, lanes).values()
    return min(totals) + -(-graph.input.size // lanes) if totals else None


def check(built: Built, budget: Budget) -> None:
    """What holds of every folding."""
    assert built.total.fits(budget)
    assert built.total.cycles == pipeline_cycles(built.pipeline)
    layers = [layer for node in built.pipeline.nodes if isinstance(node, ArrayNode) for layer in node.layers]
    wanted = [op for op in built.pipeline.graph.operators if isinstance(op, Dense)]
    assert [layer.dense for layer in layers] == wanted
    assert len({node.name for node in built.pipeline.nodes}) == len(built.pipeline.nodes)


@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 7), min_size=3, max_size=3),
    bits=st.integers(4, 8),
    ends=st.tuples(st.booleans(), st.booleans()),
    dsp=st.integers(1, 24),
    bram=st.integers(1, 8),
)
def test_no_size_is_better_under_dsp_and_block_ram(
    sizes: list[int], bits: int, ends: tuple[bool, bool], dsp: int, bram: int
) -> None:
    graph = network(sizes, bits=bits, weight_bits=9, table=ends[0], argmax=ends[1])
    budget = replace(PLENTY, dsp=dsp, bram36=bram / 2)
    compare(graph, budget, brute_force(graph, budget, all_sizes=True))


@settings(deadline=None, max_examples=12, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 7), min_size=4, max_size=4),
    bits=st.integers(2, 8),
    weights=st.integers(2, 6),
    budget=st.builds(
        Budget, lut=st.integers(500, 6000), ff=st.integers(500, 9000), bram36=st.integers(0, 4), dsp=st.integers(0, 16)
    ),
)
def test_no_path_is_better_under_any_budget(sizes: list[int], bits: int, weights: int, budget: Budget) -> None:
    graph = network(sizes, bits=bits, weight_bits=weights)
    compare(graph, budget, brute_force(graph, budget, all_sizes=False))


def compare(graph: Graph, budget: Budget, best: int | None) -> None:
    if best is None:
        with pytest.raises(FoldingError, match=r"does not fit the budget|no folding fits"):
            build(graph, budget=budget)
    else:
        built = build(graph, budget=budget)
        check(built, budget)
        assert built.total.cycles == best


@pytest.mark.parametrize(("model", "must"), [("kws-w3a3", 500), ("ad08", 250), ("tfc-w1a1", 400)])
def test_published_networks_within_the_limits(data: Path, model: str, must: int) -> None:
    graph = lower(load(data / "models" / f"{model}.onnx"))
    built = build(graph, budget=ISSUE)
    check(built, ISSUE)
    assert built.total.cycles <= must


def test_same_result_every_time_and_better_with_more() -> None:
    graph = network([64, 32, 10], weight_bits=3, bits=3)
    budget = Budget(lut=6_000, ff=12_000, bram36=10, dsp=20, name="small")
    built, again = (build(graph, budget=budget) for _ in range(2))
    check(built, budget)
    assert again.pipeline.nodes == built.pipeline.nodes and again.costs == built.costs
    more = build(graph, budget=replace(budget, **{r: 2 * getattr(budget, r) for r in RESOURCES}))
    assert more.total.cycles < built.total.cycles


def test_more_of_the_binding_resource_helps() -> None:
    graph = network([64, 64, 64, 10], weight_bits=8, bits=8)
    tight = Budget(lut=20_000, ff=40_000, bram36=60, dsp=16, name="tight")
    built = build(graph, budget=tight)
    assert built.binding == "dsp"
    assert build(graph, budget=replace(tight, dsp=32)).total.cycles < built.total.cycles
    assert build(network([4, 4], weight_bits=8, bits=8), budget=PLENTY).binding is None


def test_pins_are_obeyed() -> None:
    graph = network([32, 32, 32, 10])
    free = build(graph, budget=PLENTY)
    pins = {
        "dense0": {"pe": 6, "simd": 5, "drain": 3, "array": "front"},
        "dense1": {"array": "front"},
        "dense2": {"multiplier": "lut", "memory": "lut"},
    }
    built = build(graph, budget=PLENTY, pins=pins | {"dense1": pins["dense0"]})
    check(built, PLENTY)
    front, back = built.pipeline.nodes
    assert isinstance(front, ArrayNode) and isinstance(back, ArrayNode)
    assert [layer.dense.name for layer in front.layers] == ["dense0", "dense1"]
    assert (front.pe, front.simd, front.drain) == (6, 5, 3)
    assert (back.multiplier, back.memory) == ("lut", "lut")
    assert built.total.cycles > free.total.cycles
    assert pipeline(graph, budget=PLENTY) == free.pipeline

    wrong = {
        "pins: there is no dense layer 'dense9'; there are dense0, dense1, dense2": {"dense9": {}},
        "pins of dense0: pe must be an integer from 1 to 65535, not 0": {"dense0": {"pe": 0}},
        "pins of dense0: memory must be bram or lut, not 'uram'": {"dense0": {"memory": "uram"}},
        "pins of dense0: unknown key 'speed'; pe, simd, drain, multiplier, memory, array": {"dense0": {"speed": 9}},
        "pins of dense0: pe 6 must be a multiple of drain 4": {"dense0": {"pe": 6, "drain": 4}},
        "net: no folding obeys the pins": {"dense0": {"array": "a", "pe": 1}, "dense1": {"array": "a", "pe": 2}},
    }
    for message, some in wrong.items():
        with pytest.raises(GraphError) as caught:
            build(graph, budget=PLENTY, pins=some)
        assert str(caught.value) == message


def test_what_does_not_fit_is_named() -> None:
    graph = network([300, 300, 10], weight_bits=8, bits=8)
    budget = Budget(lut=20_000, ff=40_000, bram36=10, dsp=100, name="small board")
    with pytest.raises(FoldingError) as caught:
        build(graph, budget=replace(budget, lut=200))
    message = str(caught.value)
    assert message.startswith("net does not fit the budget small board: its smallest folding needs ")
    assert " lut of 200, " in message and message.endswith("; choose a larger device or a smaller model")
    with pytest.raises(FoldingError, match=r"needs \d+(\.5)? bram36 of 10, \d+(\.5)? of them for dense0"):
        build(graph, budget=replace(budget, lut=2000))
    # without block RAM the weights may lie in LUTs, but the thresholds do not
    with pytest.raises(FoldingError, match=r"needs 3 bram36 of 0, 3 of them for dense0, dense1;"):
        build(network([300, 300, 10]), budget=replace(budget, bram36=0, lut=2000))


def test_what_no_node_computes_is_refused() -> None:
    kind = IntType(0, 15)
    x = Tensor("x", (4,), kind)
    dense = Dense("dense", ("x",), "y", np.ones((4, 4), dtype=np.int64), IntType(0, 1))
    loose = Activation("loose", ("x",), "y", (), kind)
    late = replace(dense, name="late", output="z")
    wide = Tensor("x", (4,), IntType(0, 2**17 - 1))
    refused = {
        "loose: no hardware node computes Activation here; lower the graph first": Graph("g", x, "y", (loose,)),
        "dense: nobody takes its output y; remove what has no effect": Graph("g", x, "z", (dense, late)),
        "graph g: has no operators": Graph("g", x, "x", ()),
        "an input of type u17 has 17 bits; the input stream takes at most 16": Graph("g", wide, "y", (dense,)),
    }
    for message, graph in refused.items():
        with pytest.raises(GraphError) as caught:
            build(graph, budget=PLENTY)
        assert str(caught.value) == message
    with pytest.raises(GraphError, match="graph g: the objective must be latency or area, not 'throughput'"):
        build(Graph("g", x, "y", (dense,)), budget=PLENTY, objective="throughput")
    with pytest.raises(ValueError, match="budget b: dsp must not be negative, not -1"):
        Budget(1, 1, 1, -1, name="b")


def test_latency_and_sharing() -> None:
    """One array that layers share beats separate ones, and its latency is the schedule's."""
    graph = network([128, 64, 64, 10], weight_bits=8, bits=8)
    budget = Budget(lut=20_000, ff=40_000, bram36=60, dsp=64)
    built = build(graph, budget=budget)
    (array,) = built.pipeline.nodes
    assert isinstance(array, ArrayNode) and len(array.layers) == 3
    assert built.total.cycles == array_cycles(array)
    apart = build(graph, budget=budget, pins={f"dense{i}": {"array": str(i)} for i in range(3)})
    assert len(apart.pipeline.nodes) == 3 and apart.total.cycles > built.total.cycles
