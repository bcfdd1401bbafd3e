"""Requantization with and without a turn: each number that passes gives what the graph's operator gives."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from accel.graph import IntType, Requantize
from accel.rtl.activate import Activate, ActivationPlan


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
    kind, channels = IntType(-900, 700), 6
    pass_through(function(rng, kind, channels, turned=turned, ties=ties), kind, rng)


@pytest.mark.parametrize("lo", [-(1 << 9), -(1 << 33)])
def test_ties_that_are_nearly_met(lo: int) -> None:
    """Halves of 100 and 50,000 to even, by multipliers that are no exact ratio; of products of 70 bits as well."""
    scale, multiplier, shift, near = (100, 41943, 22, 16) if lo > -(1 << 20) else (50_000, 2814749767, 47, 32)
    kind, out = IntType(lo, -lo - 1), IntType(-(1 << 15), (1 << 15) - 1)
    constants = [np.full(2, number, dtype=object) for number in (multiplier, (1 << shift | 1 << near) // 2)]
    op = Requantize("r", ("x",), "y", *constants, shift, out, True, near=near)
    ties = np.arange(-(1 << 15), 1 << 15) * scale + scale // 2
    near_by = np.clip(np.concatenate([ties, ties - 1, ties + 1]), kind.lo, kind.hi)[:, None]
    expected = [min(max(round(Fraction(v, scale)), out.lo), out.hi) for v in near_by[:, 0].tolist()]
    assert op.run(np.repeat(near_by, 2, axis=1)).tolist() == [[v, v] for v in expected]
    pass_through(op, kind, np.random.default_rng(0), near_by.ravel())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("offset", [0, 5 << 16])
@pytest.mark.parametrize("zeros", [0, 3])
def test_operands_of_one_dsp(zeros: int, offset: int, turned: bool) -> None:
    """Wide numbers are clamped, some after an offset; steep channels have a shift of their own."""
    rng = np.random.default_rng(zeros + offset + turned)
    kind, channels = IntType(-(1 << 21), (1 << 21) - 1), 6
    steep = np.arange(channels) % 2 * zeros
    multiplier = rng.integers(3 << 21, 1 << 23, channels) + 0 << steep
    bias = rng.integers(-(1 << 31), 1 << 31, channels) + offset * multiplier >> steep << steep
    turns: tuple[np.ndarray, ...] = ()
    if turned:
        turns = (rng.integers(-(1 << 15), 1 << 15, channels), rng.integers(0, 1 << 30, channels) >> steep << steep)
    op = Requantize("r", ("x",), "y", multiplier, bias, 32, IntType(-128, 127), False, *turns)
    image = ActivationPlan(op, kind, 4).requantization(op)
    assert (image.kept, image.multiplier_width) == (18, 24 + bool(zeros))
    assert (image.steep is None, image.offsets is None) == (zeros == 0, offset == 0)
    pass_through(op, kind, rng)


def pass_through(op: Requantize, kind: IntType, rng: np.random.Generator, chosen: np.ndarray | None = None) -> None:
    """Numbers out of ``chosen``, or some from around the middle of the result."""
    channels, lanes = len(op.bias), 4
    dut = Activate("r", op, kind=kind, sink=op.out, lanes=lanes)
    beats = 20 * dut.phases
    x = rng.integers(kind.lo, kind.hi + 1, (beats, lanes))
    x[0], x[1] = kind.lo, kind.hi
    if chosen is None:
        middle, half = -(op.bias // op.multiplier), (1 << op.shift) // op.multiplier // 2
        near = rng.integers(-300, 300, (beats * lanes // 2 // channels, channels)) * half
        x.reshape(-1, channels)[-len(near) :] = np.clip(middle + near, kind.lo, kind.hi)
    else:
        x[2:] = rng.choice(chosen, (beats - 2, lanes))
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
