"""The line buffer: its tables as logic, its schedule, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator, SimulatorContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel.dataflow.pipeline import ConvNode, Image, Pipeline
from accel.dataflow.timing import FETCH, FIFO, WRITTEN, lent_places, serial, unit_latency_alone, window_latency
from accel.dataflow.tokens import measure
from accel.dataflow.windows import least_capacity, needs
from accel.graph import GraphError, IntType, Tensor, Window
from accel.rtl.images import ConvPlan
from accel.rtl.lookup import look_up
from accel.rtl.rom import changing, packed
from accel.rtl.window import pixels_of
from tests.pipelines import check, pipeline_of, stream_of
from tests.windows import bipolar_conv, convs, depthwises, pools


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(0, 1 << 32))
def test_tables_as_logic(rows: int, columns: int, values: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(-3, 4, values)[rng.integers(0, values, (rows, columns))]
    if seed % 2:
        table[:, 1:] = table[:1, :1]
    m = Module()
    row, column = Signal(range(rows)), Signal(range(columns))
    value = Signal(4)
    m.d.comb += value.eq(look_up(m, "table", table, row, column))

    async def bench(ctx: SimulatorContext) -> None:
        for at in np.ndindex(rows, columns):
            ctx.set(row, at[0])
            ctx.set(column, at[1])
            await ctx.delay(1e-9)
            assert ctx.get(value) == table[at] % 16

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def node_of(window: Window, image: Image, *, outputs: int, pe: int, drain: int, **options: object) -> ConvNode:
    """A bipolar convolution without activation that takes all channels of a pixel in a beat."""
    conv = bipolar_conv(image.channels, outputs, window, image, np.random.default_rng(1))
    x = Tensor("x", (image.height, image.width, image.channels), IntType.bipolar())
    y = conv.infer(x)
    return ConvNode(
        "conv", conv, None, image, stream_of(x, image.channels), stream_of(y, drain), pe=pe, simd=image.channels,
        drain=drain, multiplier="lut", **options,  # type: ignore[arg-type]
    )  # fmt: skip


def times(node: ConvNode, frames: int = 3) -> np.ndarray:
    """Cycles of the output beats, frames back to back without pauses; the outputs are checked too."""
    x = Tensor("x", (node.image.height, node.image.width, node.image.channels), node.source.type)
    return np.array(check(pipeline_of(x, (node.conv,), (node,)), frames=frames))


@pytest.mark.parametrize("memory", ["bram", "lut"])
def test_the_schedule_of_a_window_with_room(memory: str) -> None:
    window, image = Window((3, 3), (1, 1), (1, 1), (1, 0, 1, 1)), Image(5, 6, 4)
    node = node_of(window, image, outputs=8, pe=4, drain=2, capacity=90, memory=memory, buffer=memory)
    needed, _ = needs(window, image.height, image.width)
    tiles, each = node.folds
    assert (tiles, each) == (2, 9)
    ready = np.concatenate([needed + 30 * frame for frame in range(3)]) - 1 + WRITTEN
    last = serial(ready, tiles * each)[:, None] + np.arange(1, tiles + 1) * each - 1
    through = window_latency(4) + FETCH + unit_latency_alone(None) + FIFO
    assert (times(node) == ((last + through)[:, :, None] + np.arange(2)).ravel()).all()


def test_tiles_wait_for_the_ones_before() -> None:
    """One step a tile of four beats: a tile every four cycles, in the FIFO without a pause."""
    node = node_of(Window((1, 1)), Image(4, 4, 3), outputs=4, pe=4, drain=1, capacity=64)
    first = WRITTEN + window_latency(3) + FETCH + unit_latency_alone(None) + FIFO
    assert (times(node) == np.arange(3 * 16 * 4) + first).all()


def test_the_least_room_keeps_going_and_more_of_it_is_faster() -> None:
    window, image = Window((3, 3)), Image(6, 6, 2)
    least = least_capacity(window, image)
    node = node_of(window, image, outputs=2, pe=2, drain=2)
    ends = [times(replace(node, capacity=least + more))[-1] for more in (0, 1, 2, 36)]
    assert ends == sorted(ends, reverse=True)
    assert ends[0] > ends[-1]


def test_places_are_those_that_are_needed() -> None:
    assert lent_places(5, 1, 1) == 7
    assert lent_places(5, 1, 7) == 1
    assert lent_places(5, 4, 100) == 4
    assert lent_places(5, 4, 1) == 4 + 4 + 2


def test_what_cannot_be_built_says_why() -> None:
    node = node_of(Window((3, 3)), Image(5, 5, 4), outputs=4, pe=2, drain=1)
    with pytest.raises(GraphError, match="conv: its windows need a capacity of 13 pixels, not 12"):
        pixels_of("conv", node.window, node.image, 12)
    for wrong, message in (
        ({"drain": 4}, "drain must divide pe, but 4 does not divide 2"),
        ({"pe": 3, "drain": 3}, "gives 3 elements at once, but its sink has 1"),
        ({"simd": 2}, "takes 2 elements at once, but its source has 4 lanes"),
        ({"sink": replace(node.sink, type=IntType(0, 1))}, r"gives .*, but its sink takes u1"),
    ):
        with pytest.raises(GraphError, match=message):
            ConvPlan(replace(node, **wrong))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(1, 90), st.integers(0, 1 << 32))
def test_bits_that_are_equal_are_stored_once(depth: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [int(rng.integers(0, 1 << 62)) % (1 << width) | (1 << (width - 1)) for _ in range(depth)]
    for once in (True, False):
        columns, places = changing(words, 0, width, once=once)
        assert len(columns) <= ((1 << depth) - 2 if once else width)
        bits = [[0] * depth, [1] * depth, *columns.tolist()]
        assert [bits[place] for place in places] == [[word >> i & 1 for word in words] for i in range(width)]
        assert packed(columns) == [sum(int(c[n]) << i for i, c in enumerate(columns)) for n in range(depth)]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(convs(), depthwises(), pools()))
def test_cycles_are_those_of_the_token_simulation(pipeline: Pipeline) -> None:
    ends = np.array(check(pipeline, frames=3)).reshape(3, -1)[:, -1]
    measured = measure(pipeline)
    assert (ends[0] + 1, ends[2] - ends[1]) == (measured.latency, measured.interval)
