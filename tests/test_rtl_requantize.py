"""Requantization with and without a turn: each number that passes gives what the graph's operator gives."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from accel.graph import IntType, Requantize
from accel.rtl.activate import Activate


def function(rng: np.random.Generator, kind: IntType, channels: int, *, turned: bool, ties: bool) -> Requantize:
    turns: tuple[np.ndarray, ...] = ()
    if turned:
        turn = rng.integers(kind.lo - 2, kind.hi + 3, channels)
        turns = (turn, rng.integers(-(1 << 9), 1 << 9, channels))
    multiplier, bias = rng.integers(1, 1 << 7, channels), rng.integers(-(1 << 12), 1 << 12, channels)
    return Requantize("r", ("x",), "y", multiplier, bias, 8, IntType(-100, 120), ties, *turns)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_numbers_that_pass(turned: bool, ties: bool) -> None:
    """A beat every cycle; the channels go round with the phase."""
    rng = np.random.default_rng(turned + 2 * ties)
    kind, channels, lanes = IntType(-900, 700), 6, 4
    op = function(rng, kind, channels, turned=turned, ties=ties)
    dut = Activate("r", op, kind=kind, sink=op.out, lanes=lanes)
    beats = 20 * dut.phases
    x = rng.integers(kind.lo, kind.hi + 1, (beats, lanes))
    x[0], x[1] = kind.lo, kind.hi
    if op.turn is not None:  # its neighbours, in the channel that they concern
        frame = x.reshape(-1, channels)
        for row, offset in enumerate((-1, 0, 1), 2):
            frame[row] = np.clip(op.turn + offset, kind.lo, kind.hi)
    seen = []

    async def bench(ctx: SimulatorContext) -> None:
        for cycle in range(beats + dut.latency + 1):
            ctx.set(dut.phase, cycle % dut.phases)
            if 0 < cycle <= beats:
                for lane in range(lanes):
                    ctx.set(dut.x[lane], int(x[cycle - 1, lane]))
            if cycle > dut.latency:
                seen.append([ctx.get(dut.y[lane]) for lane in range(lanes)])
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert np.array(seen).reshape(-1, channels).tolist() == op.run(x.reshape(-1, channels)).tolist()
