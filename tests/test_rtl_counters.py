"""Stall counters: exact, whenever they are read."""

from __future__ import annotations

import gc
import random

import pytest
from amaranth.sim import Simulator, SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.rtl.counters import StallCounters


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([1, 2, 3, 5, 17]), st.sampled_from([0.0, 0.05, 1.0]), st.integers(0, 1 << 30))
def test_every_cycle_counts_once(streams: int, reading: float, seed: int) -> None:
    """Two runs with a clear between them; every stream stalls all the time, at times, or never; reads as they come."""
    counters = StallCounters(streams)
    rng = random.Random(seed)
    chances = [(rng.choice([0, 0.5, 1]), rng.choice([0, 0.5, 1])) for _ in range(streams)]

    async def bench(ctx: SimulatorContext) -> None:
        expected = [[0, 0] for _ in range(streams)]
        before, counted, asked, found = expected, expected, None, None
        for cycle in range(12 * streams + 150):
            counting = cycle % 101 < 60
            clearing = cycle in (3, 80)
            read = asked is None and (rng.random() < reading or not counting)
            stream = rng.randrange(streams)
            ctx.set(counters.count, counting)
            ctx.set(counters.clear, clearing)
            ctx.set(counters.read, read)
            ctx.set(counters.stream, stream)
            for i, (valid, ready) in enumerate(chances):
                ctx.set(counters.monitor[i].valid, rng.random() < valid)
                ctx.set(counters.monitor[i].ready, rng.random() < ready)
            if found is not None and cycle > 4:
                assert [ctx.get(counters.starved), ctx.get(counters.blocked)] == found, cycle
            found = None if asked is None else counted[asked]
            counted = before
            after = [list(pair) for pair in before]
            if counting:
                for i in range(streams):
                    valid, ready = ctx.get(counters.monitor[i].valid), ctx.get(counters.monitor[i].ready)
                    after[i][0] += ready and not valid
                    after[i][1] += valid and not ready
            before = [[0, 0] for _ in range(streams)] if clearing else after
            asked = stream if read else None
            await ctx.tick()

    simulator = Simulator(counters)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_arguments() -> None:
    with pytest.raises(ValueError, match=r"^there must be a positive number of streams to count, not 0$"):
        StallCounters(0)
    gc.collect()  # while the filter of warnings holds
