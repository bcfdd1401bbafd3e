"""The least area at a rate: the rate is kept, what binds is said, and a rate that is out of reach is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_networks import Writer
from test_dataflow_fifos import ROOM, read_back, residual
from test_dataflow_folding import network

from accel.dataflow.budget import Budget
from accel.dataflow.build import build
from accel.dataflow.folding import FoldingError
from accel.dataflow.network import RATE
from accel.dataflow.parts import parts
from accel.dataflow.pins import Pinned
from accel.dataflow.pipeline import ArrayNode, Pipeline, Stream
from accel.dataflow.timing import array_interval
from accel.dataflow.tokens import measure
from accel.frontends import load
from accel.graph import GraphError, IntType, Tensor
from accel.passes import lower

PLENTY = Budget(200_000, 400_000, 300, 400, name="plenty")
SHIPPED = Path(__file__).parent.parent / "models" / "shipped"


@pytest.mark.parametrize("seed", range(40))
def test_the_interval_of_an_array_is_that_of_the_token_simulation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [int(size) for size in rng.integers(1, 60, rng.integers(2, 6))]
    net = Writer(Tensor("x", (sizes[0],), IntType(0, 15)), IntType(0, 63 if seed % 2 else 15), IntType(-7, 7))
    name = "x"
    for i, size in enumerate(sizes[1:]):
        name = net.dense(name, f"dense{i}", size)
    graph = net.graph("net", name)
    (part,) = parts(graph)
    drain, lanes = (int(rng.choice(values)) for values in ((1, 2, 4), (1, 2, 4)))
    source, sink = Stream(sizes[0], graph.input.type, lanes), Stream(sizes[-1], part.output.type, drain)
    pe, simd = drain * int(rng.integers(1, 8)), int(rng.integers(1, 30))
    node = ArrayNode("array", part.layers, source, sink, pe, simd, drain)
    assert array_interval(node) == measure(Pipeline(graph, (node,)), frames=8).interval


def test_the_rate_is_kept_and_less_of_it_is_smaller() -> None:
    mnist = lower(load(SHIPPED / "mnist-w2a2.onnx"))
    cases = ((network([24, 12, 9, 5]), (30, 45, 60, 300)), (residual(), (100, 150, 1000)), (mnist, (250, 400)))
    for graph, rates in cases:
        last = float("inf")
        for rate in rates:
            built = build(graph, budget=PLENTY, objective="area", rate=rate)
            assert built.interval <= rate and measure(built.pipeline, frames=12).interval <= rate
            assert built.total.lut <= last
            last = built.total.lut


def test_what_binds_is_the_rate_where_another_one_is_smaller() -> None:
    graph = network([24, 12, 9, 5])
    assert build(graph, budget=PLENTY, objective="area", rate=30).binding == RATE
    smallest = build(graph, budget=PLENTY, objective="area", rate=5000)
    assert smallest.binding is None and smallest.interval < 2500


def test_a_rate_out_of_reach_is_refused_with_one_that_is_not() -> None:
    graph, image = network([24, 12, 9, 5]), residual()
    with pytest.raises(
        FoldingError, match=r"^dense0: cannot take a frame every 12 cycles within plenty; every (\d+) at best$"
    ):
        build(graph, budget=PLENTY, objective="area", rate=12)
    with pytest.raises(
        FoldingError, match=r"^residual: cannot take a frame every 99 cycles; its input alone takes 100$"
    ):
        build(image, budget=PLENTY, objective="area", rate=99)
    with pytest.raises(GraphError, match="graph net: the rate must be a positive number of cycles a frame, not 0"):
        build(graph, budget=PLENTY, objective="area", rate=0)
    # each part is fast enough by itself, but not all of them fit
    tight = replace(ROOM, lut=4000, dsp=4, name="tight")
    with pytest.raises(
        FoldingError, match=r"^residual: no folding within tight takes a frame every 800 cycles;"
    ) as caught:
        build(image, budget=tight, objective="area", rate=800)
    fits = int(str(caught.value).split()[-2])
    assert str(caught.value).endswith(f" cycles; without FIFOs it fits from {fits} on") and fits > 800
    assert build(image, budget=tight, objective="area", rate=fits * 5 // 4).interval <= fits * 5 // 4
    with pytest.raises(
        FoldingError, match=r"residual does not fit the budget none: its smallest folding needs \d+ lut"
    ):
        build(image, budget=replace(tight, lut=900, name="none"), objective="area", rate=4000)


def test_parts_that_wait_for_each_other_do_not_break_the_rate() -> None:
    """Each part is fast enough, but the FIFO of the skip branch is too shallow."""
    found = build(residual(), budget=PLENTY, objective="area", rate=150).pipeline
    skip = max(found.links, key=lambda link: link.depth)
    pins = Pinned(read_back(found).nodes, {(skip.producer, skip.consumer, skip.port): skip.depth * 2 // 3})
    slow = build(residual(), budget=PLENTY, pins=pins).interval
    assert slow > 150
    with pytest.raises(FoldingError) as caught:
        build(residual(), budget=PLENTY, objective="area", rate=150, pins=pins)
    assert str(caught.value) == (
        "residual: no folding within plenty takes a frame every 150 cycles, with all that its parts wait for each "
        f"other; one every {slow} is possible"
    )
