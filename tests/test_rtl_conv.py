"""Convolutions and depthwise ones in gateware: equal to the graph, whatever their geometry and sizes."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator, SimulatorContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel.dataflow.pipeline import ConvNode, Pipeline
from accel.dataflow.timing import tree_stages
from accel.rtl.images import ConvPlan
from accel.rtl.multiply import agreements
from tests.pipelines import check
from tests.windows import convs, depthwises

FEW, SOME, MANY = (
    settings(max_examples=n, deadline=None, suppress_health_check=list(HealthCheck)) for n in (12, 20, 400)
)


@SOME
@given(convs(), st.integers(0, 200))
def test_convolutions(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)


@FEW
@given(convs(bipolar=True), st.integers(0, 200))
def test_convolutions_of_bits(pipeline: Pipeline, seed: int) -> None:
    (node,) = pipeline.nodes
    assert isinstance(node, ConvNode) and ConvPlan(node).counts
    check(pipeline, seed)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 150), st.integers(0, 1 << 32))
def test_counting(size: int, seed: int) -> None:
    rng = random.Random(seed)
    m = Module()
    a, b, total = Signal(size), Signal(size), Signal(8)
    m.d.sync += total.eq(agreements(m, a, b, ""))

    async def bench(ctx: SimulatorContext) -> None:
        expected = []
        for cycle in range(12):
            values = [rng.choice([0, (1 << size) - 1, rng.getrandbits(size)]) for _ in "ab"]
            ctx.set(a, values[0])
            ctx.set(b, values[1])
            expected.append(size - (values[0] ^ values[1]).bit_count())
            await ctx.tick()
            stages = 1 + tree_stages(size)
            if cycle >= stages - 1:
                assert ctx.get(total) == expected[cycle - stages + 1]

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@FEW
@given(depthwises(), st.integers(0, 200))
def test_depthwise_convolutions(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)


@pytest.mark.slow
@MANY
@given(st.one_of(convs(), convs(bipolar=True), depthwises()), st.integers(0, 200))
def test_many_convolutions(pipeline: Pipeline, seed: int) -> None:
    check(pipeline, seed)
