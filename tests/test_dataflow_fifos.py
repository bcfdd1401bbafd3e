"""FIFO depths: no slower than unbounded ones, none too many; pins by file; pipelines that stop are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from image_networks import Writer
from test_dataflow_folding import network

from accel.dataflow.budget import Budget
from accel.dataflow.build import build
from accel.dataflow.fifos import RATE, size
from accel.dataflow.pins import Pinned, read, write
from accel.dataflow.pipeline import ConvNode, Link, Pipeline
from accel.dataflow.tokens import UNBOUNDED, DeadlockError, TooSlowError, measure
from accel.frontends import load
from accel.graph import Add, Graph, GraphError, IntType, Tensor
from accel.passes import lower
from accel.rtl.simulate import Simulator

ROOM = Budget(12_000, 24_000, 30, 40, name="room")


def residual() -> Graph:
    """One block with a skip branch."""
    net = Writer(Tensor("x", (10, 10, 4), IntType(0, 15)), IntType(0, 15), IntType(-7, 7))
    x = net.conv("x", "first", 4, 3)
    y = net.conv(net.conv(x, "a", 8, 3), "b", 4, 3)
    x = net.activate(net.add(Add("add", (x, y), "add.y")), "add.act")
    return net.graph("residual", net.dense(x, "dense", 10, active=False))


def skip_of(pipeline: Pipeline) -> Link:
    """The link of the skip branch, which is the deepest."""
    return max(pipeline.links, key=lambda link: link.depth)


def test_sized_fifos_are_enough_and_none_is_too_large() -> None:
    built = build(residual(), budget=ROOM)
    sized = built.pipeline
    unbounded = measure(sized.with_depths(dict.fromkeys(sized.links, UNBOUNDED)))
    found = measure(sized)
    assert (built.latency, built.interval) == (found.latency, found.interval)
    limits = int(unbounded.latency / RATE), int(unbounded.interval / RATE)
    assert found.latency <= limits[0] and found.interval <= limits[1]
    assert any(link.depth for link in sized.links)
    for link in sized.links:
        if link.depth:
            try:
                less = measure(sized.with_depths({link: link.depth - 1}))
            except DeadlockError:
                continue
            assert less.latency > limits[0] or less.interval > limits[1], f"{link} has an entry too many"
    # a node ends after what it takes from, and what they add up to on the way is the latency
    ends = {"": found.ends[""]} | {n.name: found.ends[n.name] for n in sized.nodes}
    for node, cost in zip(sized.nodes, built.costs, strict=True):
        assert cost.cycles == ends[node.name] - max(ends[link.producer] for link in sized.inputs(node.name))
    assert built.latency == max(ends.values()) + 1


def test_a_pipeline_that_stops_is_refused_by_name() -> None:
    sized = build(residual(), budget=ROOM).pipeline
    skip = skip_of(sized)
    with pytest.raises(DeadlockError) as caught:
        measure(sized.with_depths({skip: 1}))
    message = str(caught.value)
    assert message.startswith("graph residual stops: ")
    assert f"the FIFO of 1 from {skip.producer} to {skip.consumer}" in message and "fork of first waits for" in message
    assert message.endswith("a deeper FIFO on one of these links lets it go on")
    with pytest.raises(DeadlockError, match="graph residual stops: add waits for"):
        size(sized, pins={skip: 0})
    into = next(link for link in sized.links if link.consumer == skip.producer)
    with pytest.raises(DeadlockError) as caught:
        measure(sized.with_depths(dict.fromkeys(sized.links, UNBOUNDED) | {skip: 1, into: 0}))
    assert "the unbounded FIFO from b to add" in str(caught.value) and str(UNBOUNDED) not in str(caught.value)
    place = (skip.producer, skip.consumer, skip.port)
    with pytest.raises(DeadlockError, match="waits for"):
        build(residual(), budget=ROOM, pins=Pinned(read_back(sized).nodes, {place: 2}))
    with pytest.raises(TooSlowError, match="graph residual: not done after 50 cycles"):
        measure(sized, limit=50)
    first = next(node for node in sized.nodes if isinstance(node, ConvNode))
    nodes = tuple(replace(node, capacity=3) if node is first else node for node in sized.nodes)
    with pytest.raises(DeadlockError, match="the line buffer of first is too small for its window"):
        measure(replace(sized, nodes=nodes))
    with pytest.raises(GraphError, match="FIFO depths: there is no link from here to there"):
        size(sized, pins={Link("here", "there"): 1})


def read_back(pipeline: Pipeline) -> Pinned:
    """The choices of the nodes that a compile writes."""
    return Pinned(yaml.safe_load(write(pipeline))["nodes"])


@pytest.mark.parametrize("wishes", [{}, {"objective": "area", "rate": 600}], ids=["latency", "area"])
@pytest.mark.parametrize("shape", ["residual", "chain", "alone", "bare", "array0"])
def test_the_file_of_choices_makes_the_same_pipeline(tmp_path: Path, shape: str, wishes: dict) -> None:
    """Given back with the objective that it was made for, or with none."""
    file = tmp_path / "folding.yaml"
    graphs = {
        "residual": residual,
        "chain": lambda: network([24, 12, 9, 5], table=True, argmax=True),
        "alone": lambda: network([24, 12], argmax=True),
        "bare": dense_only,
        "array0": lambda: dense_only("array0"),
    }
    graph = graphs[shape]()
    built = build(graph, budget=ROOM, **wishes)
    file.write_text(write(built.pipeline))
    for objective in ({}, wishes):
        again = build(graph, budget=ROOM, pins=read(file), **objective)
        assert (again.pipeline.nodes, again.pipeline.links) == (built.pipeline.nodes, built.pipeline.links)
        assert (again.latency, again.interval, again.total) == (built.latency, built.interval, built.total)


def test_a_part_of_a_file_of_choices_is_obeyed(tmp_path: Path) -> None:
    file = tmp_path / "folding.yaml"
    file.write_text("nodes:\n  a: {pe: 2, simd: 1, taps: 9, memory: lut}\n")
    node = build(residual(), budget=ROOM, pins=read(file)).pipeline.node("a")
    assert isinstance(node, ConvNode)
    assert (node.pe, node.simd, node.taps, node.memory) == (2, 1, 9, "lut")


def dense_only(first: str = "one") -> Graph:
    net = Writer(Tensor("x", (24,), IntType(0, 15)), IntType(0, 15), IntType(-7, 7))
    return net.graph("dense", net.dense(net.dense("x", first, 12), "two", 5, active=False))


def refused(graph: Graph, file: Path, wrong: dict[str, str]) -> None:
    """Each text as the file of pins is an error that begins with the file's name and the message."""
    for text, message in wrong.items():
        file.write_text(text)
        with pytest.raises(GraphError) as caught:
            build(graph, budget=ROOM, pins=read(file))
        assert str(caught.value).startswith(f"{file}: {message}"), str(caught.value)


def test_wrong_pins_say_where_and_what_would_do(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    fifo = "FIFO from a to b"
    wrong = {
        "nodes: {none: {}}": "there is no node 'none'; there are first, a, b, add, dense",
        "nodes: {a: {pe: 9}}": "a: pe must be an integer from 1 to 8, not 9",
        "nodes: {a: {taps: 10}}": "a: taps must be an integer from 1 to 9, not 10",
        "nodes: {a: {memory: uram}}": "a: memory must be bram or lut, not 'uram'",
        "nodes: {a: {capacity: 5}}": "a: capacity must be an integer from 23 to 123, not 5",
        "nodes: {a: {pe: 2.0}}": "a: pe must be an integer from 1 to 8, not 2.0",
        "nodes: {a: {taps: true}}": "a: taps must be an integer from 1 to 9, not True",
        "nodes: {a: {capacity: 24.0}}": "a: capacity must be an integer from 23 to 123, not 24.0",
        "nodes: {a: {drain: 1.0}}": "a: drain must be 1, 2, 4 or 8, not 1.0",
        "nodes: {a: {memory: true}}": "a: memory must be bram or lut, not True",
        "nodes: {add: {lanes: 2.0}}": "add: lanes must be 1, 2 or 4, not 2.0",
        "nodes: {dense: {pe: 2.0}}": "dense: pe must be an integer from 1 to 65535, not 2.0",
        "nodes: {dense: {array: a}}": "dense: array is no choice here: with the objective area, or where",
        "nodes: {a: {pe: 2, drain: 4}}": "a: pe 2 must be a multiple of drain 4",
        "nodes: {add: {simd: 1}}": "add: there is no choice 'simd'; there are lanes",
        "nodes: [a]": "nodes must map names to values",
        "fifos: [{from: a, to: b}]": "a FIFO has from, to, depth and maybe port, not {'from': 'a', 'to': 'b'}",
        "fifos: [{from: a, to: b, depth: -1}]": f"{fifo}: depth must be an integer from 0 to 1048575, not -1",
        "fifos: [{from: a, to: b, depth: 1.0}]": f"{fifo}: depth must be an integer from 0 to 1048575, not 1.0",
        "fifos: [{from: a, to: b, depth: true}]": f"{fifo}: depth must be an integer from 0 to 1048575, not True",
        "fifos: [{from: a, to: b, depth: 1, port: x}]": f"{fifo}: port must be an integer from 0 to 1023, not 'x'",
        "fifos: [{from: a, to: b, depth: 1}, {from: a, to: b, depth: 2}]": f"{fifo}: port 0 has two depths, 1 and 2",
        "fifos: 3": "fifos must be a list, not 3",
        "fifos: {from: a, to: b, depth: 1}": "fifos must be a list, not {'from': 'a', 'to': 'b', 'depth': 1}",
        "nodes: {a: {pe: 1}, a: {taps: 1}}": "is no YAML: 'a' is there twice",
        "nodes: {a: {pe: 1, pe: 2}}": "is no YAML: 'pe' is there twice",
        "3": "must have the keys nodes and fifos, and no others",
        "fifos: [{from: b, to: a, depth: 1}]": "there is no link from b to a, port 0; there are ",
        "more: 1": "must have the keys nodes and fifos, and no others",
        "nodes: {": "is no YAML: ",
    }
    refused(residual(), file, wrong)
    with pytest.raises(GraphError, match="cannot be read: No such file"):
        read(tmp_path / "missing.yaml")
    of_chains = {
        "nodes: {none: {}}": "pins: there is no dense layer 'none'; there are one, two",
        "nodes: {one: {pe: true}}": "pins of one: pe must be an integer from 1 to 65535, not True",
        "nodes: {one: {simd: 4.0}}": "pins of one: simd must be an integer from 1 to 65535, not 4.0",
        "nodes: {one: {memory: 1}}": "pins of one: memory must be bram or lut, not 1",
        "nodes: {one: {array: 1}}": "pins of one: array must be a name, not 1",
        "nodes: {one: {lanes: 4, array: a}}": "one: array is no choice here: with the objective area, or where",
        "nodes: {one: {lanes: 4.0}}": "one: lanes must be an integer from 1 to 65535, not 4.0",
    }
    refused(dense_only(), file, of_chains)


def test_what_compares_bits_has_no_choice_of_multipliers() -> None:
    bipolar = IntType.bipolar()
    net = Writer(Tensor("x", (4, 4, 4), bipolar), bipolar, bipolar)
    graph = net.graph("bits", net.conv("x", "conv", 4, 2, pads=(0, 0, 0, 0)))
    with pytest.raises(GraphError, match=r"^pins: conv: multiplier must be lut, not 'dsp'$"):
        build(graph, budget=ROOM, pins={"conv": {"multiplier": "dsp"}})
    node = build(graph, budget=ROOM, pins={"conv": {"multiplier": "lut"}}).pipeline.node("conv")
    assert isinstance(node, ConvNode) and node.multiplier == "lut"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["rn07", "cnv-w1a1", "resnet8-w4a4", "dscnn-w4a4"])
def test_fifos_of_whole_networks_in_rtl(data: Path, tmp_path: Path, model: str) -> None:
    """The gateware takes the cycles of the token simulation: sized, with FIFOs that never fill, with an entry less."""
    shipped = Path(__file__).parent.parent / "models" / "shipped" / f"{model}.onnx"
    graph = lower(load(shipped if shipped.is_file() else data / "models" / f"{model}.onnx"))
    sized = build(graph, budget=Budget(24_000, 124_400, 103.5, 230, name="arty")).pipeline
    endless = sized.with_depths(dict.fromkeys(sized.links, UNBOUNDED))
    enough = sized.with_depths({link: held + 1 for link, held in zip(sized.links, measure(endless).held, strict=True)})
    pipelines = [sized, enough]
    if any(link.depth for link in sized.links):
        deepest = skip_of(sized)
        pipelines.append(sized.with_depths({deepest: deepest.depth - 1}))
    kind = graph.input.type
    x = np.random.default_rng(1).integers(kind.lo, kind.hi + 1, (3, graph.input.size))
    y = graph.run(x.reshape(3, *graph.input.shape)).reshape(3, -1)
    times = []
    for i, pipeline in enumerate(pipelines):
        try:
            expected = measure(pipeline)
        except DeadlockError:
            times.append((UNBOUNDED, UNBOUNDED))  # one entry less stops it
            continue
        result = Simulator(pipeline, tmp_path / str(i)).run(x)
        assert np.array_equal(result.outputs, y)
        times.append((int(result.last[0] - result.first[0] + 1), int(result.last[2] - result.last[1])))
        assert times[-1] == (expected.latency, expected.interval)
    assert all(mine <= best / RATE for mine, best in zip(times[0], times[1], strict=True))
    assert all(any(more > best / RATE for more, best in zip(less, times[1], strict=True)) for less in times[2:])
