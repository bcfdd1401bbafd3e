"""Repack: every element once and in order, whatever the widths and the handshakes."""

from __future__ import annotations

import gc
import random

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator, SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.rtl.repack import Repack


@settings(max_examples=40, deadline=None)
@given(
    elements=st.integers(1, 50),
    lanes_in=st.integers(1, 12),
    lanes_out=st.integers(1, 12),
    pace=st.sampled_from([1.0, 0.5]),
    seed=st.integers(0, 1 << 32),
)
def test_order(*, elements: int, lanes_in: int, lanes_out: int, pace: float, seed: int) -> None:
    repack = Repack(elements=elements, width=8, lanes_in=lanes_in, lanes_out=lanes_out)
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
                ctx.set(repack.i.payload, beat + [0xEE] * (lanes_in - len(beat)))
                ctx.set(repack.i.valid, 1)
                await ctx.tick().until(repack.i.ready)
                ctx.set(repack.i.valid, 0)

    async def receive(ctx: SimulatorContext) -> None:
        nonlocal cycles
        offered = None
        while len(received) < 3 or len(received[-1]) < elements:
            ready = rng.random() < pace
            ctx.set(repack.o.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(repack.o.valid, repack.o.payload)
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


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_arguments() -> None:
    for name, message in (
        ("elements", "Repack elements must be a positive integer, not 0"),
        ("width", "Repack width must be a positive integer, not 0"),
        ("lanes_in", "Repack lanes must be a positive integer, not 0"),
    ):
        with pytest.raises(ValueError) as caught:
            Repack(**({"elements": 4, "width": 8, "lanes_in": 1, "lanes_out": 2} | {name: 0}))
        assert str(caught.value) == message
    del caught
    gc.collect()  # while the filter of warnings holds
