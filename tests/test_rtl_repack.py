"""Repack: every element once and in order, whatever the widths and the handshakes."""

from __future__ import annotations

import gc
import random

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator, SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.dataflow.pipeline import Stream
from accel.dataflow.timing import repack_beats
from accel.graph import GraphError, IntType
from accel.rtl.repack import Repack

BYTE = IntType(0, 255)


@settings(max_examples=40, deadline=None)
@given(
    elements=st.integers(1, 50),
    lanes_in=st.integers(1, 12),
    lanes_out=st.integers(1, 12),
    pace=st.sampled_from([1.0, 0.5]),
    seed=st.integers(0, 1 << 32),
)
def test_order(*, elements: int, lanes_in: int, lanes_out: int, pace: float, seed: int) -> None:
    repack = Repack(Stream(elements, BYTE, lanes_in), Stream(elements, BYTE, lanes_out))
    rng = random.Random(seed)
    frames = [[rng.randrange(256) for _ in range(elements)] for _ in range(3)]
    received: list[list[int]] = []
    cycles = 0

    async def send(ctx: SimulatorContext) -> None:
        for frame in frames:
            for at in range(0, elements, lanes_in):
                while rng.random() >= pace:
                    await ctx.tick()
                beat = frame[at : at + lanes_in]
                ctx.set(repack.input.payload, beat + [0xEE] * (lanes_in - len(beat)))
                ctx.set(repack.input.valid, 1)
                await ctx.tick().until(repack.input.ready)
                ctx.set(repack.input.valid, 0)

    async def receive(ctx: SimulatorContext) -> None:
        nonlocal cycles
        offered = None
        while len(received) < 3 or len(received[-1]) < elements:
            ready = rng.random() < pace
            ctx.set(repack.output.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(repack.output.valid, repack.output.payload)
            cycles += 1
            beat = list(payload) if valid else None
            assert offered in (None, beat)  # what is offered stands
            offered = None if ready else beat
            if valid and ready:
                if not received or len(received[-1]) == elements:
                    received.append([])
                received[-1] += beat[: elements - len(received[-1])]

    m = Module()
    m.domains.sync = ClockDomain()  # equal widths have no registers
    m.submodules.repack = repack
    sim = Simulator(m)
    sim.add_clock(1e-8)
    sim.add_testbench(send)
    sim.add_testbench(receive)
    sim.run()
    assert received == frames
    beats_in, beats_out = -(-elements // lanes_in), -(-elements // lanes_out)
    if pace == 1.0 and (lanes_in % lanes_out == 0 or lanes_out % lanes_in == 0):
        assert cycles <= 3 * max(beats_in, beats_out) + 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 12), st.integers(0, 1 << 32))
def test_times(elements: int, lanes_in: int, lanes_out: int, seed: int) -> None:
    """Each beat leaves in the cycle that the schedule says, when input comes at the given times and output is ready."""
    source, sink = Stream(elements, BYTE, lanes_in), Stream(elements, BYTE, lanes_out)
    repack = Repack(source, sink)
    rng = random.Random(seed)
    ready = [rng.randrange(3) * rng.randrange(5) for _ in range(source.beats)]
    times: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        sent = cycle = 0
        ctx.set(repack.output.ready, 1)
        while len(times) < sink.beats:
            ctx.set(repack.input.valid, sent < source.beats and cycle >= int(arrivals[sent]))
            if ctx.get(repack.output.valid):
                times.append(cycle)
            if ctx.get(repack.input.valid) and ctx.get(repack.input.ready):
                sent = sent + 1
            cycle += 1
            await ctx.tick()

    arrivals = np.cumsum(ready)
    m = Module()
    m.domains.sync = ClockDomain()
    m.submodules.repack = repack
    sim = Simulator(m)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()
    assert times == list(repack_beats(arrivals, lanes_in, sink))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_what_is_no_change_of_lanes() -> None:
    for sink in (Stream(5, BYTE, 2), Stream(4, IntType(0, 3), 2)):
        with pytest.raises(GraphError, match=r"^a repack changes lanes only, so it cannot make Stream.* of Stream"):
            Repack(Stream(4, BYTE, 1), sink)
    gc.collect()  # while the filter of warnings holds
